"""Memory of a training: the peak of a process of its own."""

from __future__ import annotations

import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from marlrobust.config import resolve
from marlrobust.games.magent.battle import Battle
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.training.trainer import Trainer

LIMIT = 3.0  # GB


def measure() -> pd.DataFrame:
    """One row: how full the replay was, and the peak of the resident memory in GB beside its limit.

    To be called before a program has used much memory: a process starts with its parent's peak.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        full, peak = pool.submit(train).result()
    return pd.DataFrame([{"replay full": f"{full:.0%}", "peak GB": round(peak, 2), "limit GB": LIMIT}])


def train() -> tuple[float, float]:
    """Train battle at the default settings; returns the share of the replay that is full, and the peak in GB.

    One batch of rounds as all methods begin, a checkpoint, and one batch with the action loss.
    """
    torch.set_num_threads(1)
    short = {"normal_rounds": 8, "loop_rounds": 8, "loops": 1}
    settings = resolve(TrainSettings, Battle.preset, short)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(SelfPlay(settings), Path(folder))
        trainer.run()
    (student,) = trainer.students.values()
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    learner = student.learner
    assert isinstance(learner, MeanFieldLearner)
    return len(learner.replay) / settings.replay_size, peak
