"""Rounds per hour of a robust training, ours beside the same learner without what makes it fast.

    python -m benchmarks.training

All learn from the same replay, of rounds that the bundled plain policy plays against itself: "plain" on dense states
and with the inner attack by autograd in float32; "integers" on compressed states and with the attack in 8-bit integers;
"ours" also with layers in the precision that the processor is fast in, and the defence's loss on a part of each batch.
Processor time of one thread, in turns. An hour is made of what a batch of rounds costs to play and to learn from.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch

from benchmarks import trained
from marlrobust.attacks.gradient import PGD
from marlrobust.config import resolve
from marlrobust.defenses import losses
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.checkpoint import load_policy
from marlrobust.streams import stream, torch_stream
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.replay import Batch
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.training.trainer import Trainer

FULL: dict[str, Any] = {"precision": "float32", "defended_share": 1.0}
FORMS: dict[str, dict[str, Any]] = {"plain": FULL, "integers": FULL, "ours": {}}
"""Settings of each, beside those of a training."""


def measure(repeats: int = 6) -> pd.DataFrame:
    """One row per form: milliseconds per update, updates and seconds per batch of rounds, rounds per hour, ratio."""
    torch.set_num_threads(1)
    settings = resolve(TrainSettings, Battle.preset, {"normal_rounds": 0})
    with tempfile.TemporaryDirectory() as folder:
        cast = SelfPlay(settings)
        trainer, student = Trainer(cast, Path(folder)), cast.students["soldier"]
        policy, _ = load_policy(trained(), scenario="battle")
        student.learner.policy.load_state_dict(policy.state_dict())
        student.past.load_state_dict(policy.state_dict())
        began = time.thread_time()
        learner = student.learner
        assert isinstance(learner, MeanFieldLearner)
        with mock.patch.object(learner, "after_step", return_value=[]):
            trainer.play(cast.matchup(0))
        play = time.thread_time() - began
        updates = int(learner.replay.owed // settings.batch_size)
        phase = replace(cast.phase(0), mu=settings.mu_max)

        def update(form: str, n: int) -> None:
            batch = learner.replay.sample(settings.batch_size, stream(0, "replay", n))
            batch = _dense(batch) if form == "plain" else batch
            attack = partial(PGD, precision="float32") if form == "plain" else PGD
            learner.settings = settings.model_copy(update=FORMS[form])
            with mock.patch.object(losses, "PGD", attack):
                learner.update(batch, phase, torch_stream(0, "attack", n))

        seconds = dict.fromkeys(FORMS, np.inf)
        for n in range(repeats):
            for form in seconds:
                began = time.thread_time()
                update(form, n)
                seconds[form] = min(seconds[form], time.thread_time() - began)
    rows = []
    for form, each in seconds.items():
        whole = play + updates * each
        rows.append(
            {
                "form": form,
                "ms per update": 1e3 * each,
                "updates": updates,
                "seconds to play": play,
                "seconds in all": whole,
                "rounds per hour": 3600 * settings.parallel_rounds / whole,
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(ratio=table["rounds per hour"] / table["rounds per hour"].iloc[0])


def _dense(batch: Batch) -> Batch:
    now, after = _Dense(batch.states.dense()), _Dense(batch.next_states.dense())
    dense: Batch = batch._replace(states=now, next_states=after)  # type: ignore[arg-type]
    return dense


class _Dense(torch.Tensor):
    """States that are dense already."""

    @staticmethod
    def __new__(cls, data: torch.Tensor) -> _Dense:
        return torch.Tensor._make_subclass(cls, data)

    def dense(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)

    def first(self, n: int) -> torch.Tensor:
        return self.dense()[:n]


if __name__ == "__main__":
    print(measure().to_string(index=False, float_format=lambda x: f"{x:.3g}"))
