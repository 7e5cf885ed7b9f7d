"""Small settings that every test of training and evaluation shares, and the policies trained with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from marlrobust.config import resolve
from marlrobust.defenses.methods import METHODS
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.registry import imported
from marlrobust.training.settings import SHORT, TrainSettings
from marlrobust.training.trainer import Trainer

TINY: dict[str, Any] = {
    "game": {"map_size": 16, "max_steps": 40},  # 6 a side
    "normal_rounds": 8,
    "opponent_rounds": 8,
    "gamma": 0.95,
    "loop_rounds": 8,
    "loops": 1,
    "parallel_rounds": 4,
    "hidden": 32,
    "embedding": 8,
    "batch_size": 128,
    "replay_size": 4000,
}
PURSUIT: dict[str, Any] = {"map_size": 20, "max_steps": 30, "predators": 4, "prey": 8}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a test, or a library in it, does to the environment's variables ends with it."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


def settings(**layer: Any) -> TrainSettings:
    return resolve(TrainSettings, TINY, layer)


def trainer(folder: Path, **layer: Any) -> Trainer:
    """The trainer of a tiny self-play, in the cast of its method."""
    made = settings(**layer)
    return Trainer(imported(METHODS[made.method].cast_name)(made), folder)


def train(folder: Path, **layer: Any) -> Trainer:
    """The same, trained to its end."""
    made = trainer(folder, **layer)
    made.resume()
    made.run()
    return made


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with mfac, romfac and a2c of a tiny battle, and mfac and a2c of a tiny pursuit."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    for method in ("mfac", "romfac", "a2c"):
        train(folder / "battle" / method, method=method)
    for method in ("mfac", "a2c"):
        train(folder / "pursuit" / method, method=method, scenario="pursuit", game=PURSUIT)
    return folder


@pytest.fixture(scope="session")
def fighters(tmp_path_factory: pytest.TempPathFactory) -> MeanFieldPolicy:
    """A team that has learned to fight: 6 a side, attacking free of charge."""
    folder = tmp_path_factory.mktemp("fighters") / "mfac"
    trained = train(
        folder,
        method="mfac",
        game={"max_steps": 100, "attack_penalty": 0.0},
        normal_rounds=400,
        loop_rounds=1,
        parallel_rounds=16,
        hidden=64,
        batch_size=256,
        replay_size=20_000,
        first_entropy=0.1,
        robust_entropy=0.05,
        learning_rate=1e-3,
        replay_ratio=1.0,
        **SHORT,
    )
    policy = trained.students["soldier"].learner.policy
    assert isinstance(policy, MeanFieldPolicy)
    return policy
