"""Continuous actions, as a user has them: trained elsewhere, in games of others, harmed by PGD more than by noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.run import evaluate
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.games import make_scenario
from marlrobust.policies.library import Library
from marlrobust.reports.tables import table
from marlrobust.reports.text import table1
from marlrobust.wrappers import wrap

SIMPLE, STEPS = "pettingzoo:mpe2.simple_v3", 25
GAME = {"continuous_actions": True, "max_steps": STEPS}


class Alone(gymnasium.Env[Any, Any]):
    """The one agent of simple_v3, as Stable-Baselines3 takes it: it goes to a landmark."""

    def __init__(self) -> None:
        from mpe2 import simple_v3

        self.env = simple_v3.parallel_env(max_cycles=STEPS, continuous_actions=True)
        (self.name,) = self.env.possible_agents
        self.observation_space = self.env.observation_space(self.name)
        self.action_space = self.env.action_space(self.name)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.env.reset(seed=seed)[0][self.name], {}

    def step(self, action: Any) -> Any:
        seen, reward, ended, cut, _ = self.env.step({self.name: action})
        return seen[self.name], reward[self.name], ended[self.name], cut[self.name], {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of PPO's, trained for some seconds."""
    sb3 = pytest.importorskip("stable_baselines3")
    pytest.importorskip("mpe2")
    from stable_baselines3.common.env_util import make_vec_env

    options = {"n_steps": 128, "batch_size": 256, "learning_rate": 1e-3, "gamma": 0.95, "n_epochs": 5}
    model = sb3.PPO("MlpPolicy", make_vec_env(Alone, 16, seed=0), seed=0, device="cpu", **options)
    model.learn(30_000)
    file = tmp_path_factory.mktemp("sb3") / "simple.zip"
    model.save(file)
    return file


def test_a_team_trained_elsewhere_is_harmed_by_pgd(trained: Path, tmp_path: Path) -> None:
    """From the command line's settings to rows and tables: noise costs little, PGD of the same size much."""
    how: dict[str, Any] = {
        "scenario": SIMPLE,
        "game": GAME,
        "policies": (str(trained),),
        "rounds": 12,
        "agents": (0, 1),
    }
    settings = SweepSettings(**how, attacks=("random", "pgd", "apgd-ce"), epsilons=(0.3,), greedy=True)
    done = evaluate(settings, Library(tmp_path, trust=True), tmp_path / "out", command="", say=lambda sentence: None)
    reward = done.rows.groupby("attack")["reward"].mean()
    moved = done.rows.groupby("attack")["displacement"].mean()
    assert reward["none"] > -12
    assert reward["pgd"] < reward["random"] - 3
    assert reward["apgd-ce"] < reward["random"] - 3
    assert moved["pgd"] > 1.3 * moved["random"]
    assert done.rows["flips"].isna().all()
    told = table1(table(done.rows))
    assert "moved" in told.columns
    assert "flips" not in told.columns


def controller(x: Tensor) -> Tensor:
    """Torque (n, 1) from what Pendulum shows (n, 3): pumps energy in, and balances near the top."""
    cos, sin, speed = x.unbind(1)
    energy = speed**2 / 6 + 5 * (cos - 1)
    near = torch.sigmoid(20 * (cos - 0.9))
    return (near * (-8 * sin - 2 * speed) + (1 - near) * (-2 * torch.tanh(speed * energy)))[:, None]


def test_a_controller_under_wrap_is_harmed_by_pgd() -> None:
    def cost(env: Any) -> float:
        total = 0.0
        for seed in range(8):
            seen, _ = env.reset(seed=seed)
            for _ in range(120):
                action = controller(torch.as_tensor(np.asarray(seen), dtype=torch.float32)[None])[0]
                seen, reward, *_ = env.step(action.clamp(-2, 2).numpy())
                total -= float(reward)
        return total

    env = gymnasium.make("Pendulum-v1")
    noise, pgd = (cost(wrap(env, controller, attack=name, epsilon=0.3)) for name in ("random", "pgd"))
    assert noise > cost(env)
    assert pgd > 1.2 * noise


def test_chance_is_paired() -> None:
    """A policy that spreads acts by the same chance with and without an attack that changes nothing."""
    game = make_scenario(SIMPLE, GAME)

    def spreads(states: Tensor) -> tuple[Tensor, Tensor]:
        return states[:, :1].expand(-1, 5), torch.zeros(5)

    attack = ATTACKS["pgd"](threat=Threat(epsilon=0.0))
    clean, still = (
        play_rounds(game.make(2), spreads, seed=4, adversary=adversary)  # type: ignore[arg-type]
        for adversary in (None, Adversary(attack, 1))
    )
    assert [r.reward for r in clean] == [r.reward for r in still]
