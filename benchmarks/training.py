"""Rounds per hour of a robust training, ours beside the same learner without what makes it fast.

    python -m benchmarks.training

Both learn from the same replay, of rounds that the bundled plain policy plays against itself: "plain" on dense states
and with the inner attack by autograd in float32, "ours" on compressed states and with the attack in 8-bit integers.
Processor time of one thread, in turns. An hour is made of what a batch of rounds costs to play and to learn from.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

from benchmarks import trained
from marlrobust.attacks.gradient import PGD
from marlrobust.config import resolve
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.checkpoint import load_policy
from marlrobust.streams import stream, torch_stream
from marlrobust.training import actor_critic
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.replay import Batch
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.training.trainer import Trainer


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

        def update(dense: bool, n: int) -> None:
            batch = learner.replay.sample(settings.batch_size, stream(0, "replay", n))
            batch = _dense(batch) if dense else batch
            attack = partial(PGD, precision="float32") if dense else PGD
            with mock.patch.object(actor_critic, "PGD", attack):
                learner.update(batch, phase, torch_stream(0, "attack", n))

        seconds = {True: np.inf, False: np.inf}
        for n in range(repeats):
            for dense in seconds:
                began = time.thread_time()
                update(dense, n)
                seconds[dense] = min(seconds[dense], time.thread_time() - began)
    rows = []
    for form, dense in (("plain", True), ("ours", False)):
        whole = play + updates * seconds[dense]
        rows.append(
            {
                "form": form,
                "ms per update": 1e3 * seconds[dense],
                "updates": updates,
                "seconds to play": play,
                "seconds in all": whole,
                "rounds per hour": 3600 * settings.parallel_rounds / whole,
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(ratio=table["rounds per hour"] / table["rounds per hour"].iloc[0])


def _dense(batch: Batch) -> Batch:
    dense: Batch = batch._replace(states=_Dense(batch.states.dense()), next_states=batch.next_states.dense())  # type: ignore[arg-type]
    return dense


class _Dense(torch.Tensor):
    """States that are dense already."""

    @staticmethod
    def __new__(cls, data: torch.Tensor) -> _Dense:
        return torch.Tensor._make_subclass(cls, data)

    def dense(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


if __name__ == "__main__":
    print(measure().to_string(index=False, float_format=lambda x: f"{x:.3g}"))
