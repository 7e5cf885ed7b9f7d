"""Table 1 of the paper (Zhou and Liu 2022, RoMFAC), and what was run for it, as data to set beside ours."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

EPSILON = 0.075
"""Radius of every attack of the paper, in state units."""

GAMES: dict[str, dict[str, Any]] = {
    "battle": {
        **{"max_steps": 400, "map_size": 40},
        **{"step_reward": -0.005, "attack_opponent_reward": 0.2, "kill_reward": 5.0},
        **{"attack_penalty": -0.1, "dead_penalty": -0.1},
    },
    "pursuit": {
        **{"max_steps": 400, "map_size": 45, "predators": 32, "prey": 64, "wall_share": 0.03},
        **{"tag_reward": 1.0, "tagged_penalty": -0.1, "attack_penalty": -0.2},
    },
}
"""Every setting of the two games."""

PLAYED = {"greedy": False, "opponent_method": "a2c"}
"""What holds for every round."""

ATTACKED = {
    **{"attack": "pgd", "epsilon": EPSILON, "norm": "l_inf", "features": "all", "victims": "random", "budget": 0},
}
"""What holds for every attacked round."""

PARAMETERS = {"steps": 10, "restarts": 1, "start": "state", "step_size": None, "low": None, "high": None}
"""Of the attack; what an attack does not say is None."""


def played(facts: Mapping[str, Any], game: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether rounds are what the paper ran, so that its numbers may stand beside them.

    facts: of `rows.Facts`; game, parameters: the game's settings and the attack's parameters, from their JSON.
    """
    holds = GAMES.get(facts["scenario"]) == game and all(facts[name] == value for name, value in PLAYED.items())
    if facts["attacked_agents"] == 0 or not holds:
        return holds
    return all(facts[name] == value for name, value in ATTACKED.items()) and all(
        parameters.get(name) == value for name, value in PARAMETERS.items()
    )


def load() -> pd.DataFrame:
    """Table 1: scenario, attacked_agents, method, win_rate, kills_mean/std, reward_mean/std.

    What the paper does not give (or what cannot be read) is NaN, and stays so: nothing is filled in.
    """
    return _read().copy()


def numbers(scenario: str, count: int, method: str) -> dict[str, float]:
    """The paper's numbers for one line of its table; empty where it has none."""
    return _lines().get((scenario, count, method), {})


@cache
def _read() -> pd.DataFrame:
    text = resources.files("marlrobust.reports").joinpath("table1.csv").read_text(encoding="utf-8")
    return pd.read_csv(io.StringIO(text))


@cache
def _lines() -> dict[tuple[str, int, str], dict[str, float]]:
    keys = ["scenario", "attacked_agents", "method"]
    lines = {}
    for line in _read().to_dict("records"):
        scenario, count, method = (line.pop(name) for name in keys)
        lines[str(scenario), int(count), str(method)] = {str(name): float(value) for name, value in line.items()}
    return lines
