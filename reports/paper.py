"""Table 1 of the paper (Zhou and Liu 2022, RoMFAC), and what was run for it, as data to set beside ours."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from marlrobust.reports.cells import Cell, read

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

ATTACKED = {"attack": "pgd", "epsilon": EPSILON, "norm": "l_inf", "features": "all", "victims": "random", "budget": 0}
"""What holds for every attacked round."""

PARAMETERS = {"steps": 10, "restarts": 1, "start": "state", "step_size": None, "low": None, "high": None}
"""Of the attack; what an attack does not say is None."""


def load() -> pd.DataFrame:
    """Table 1: scenario, attacked_agents, method, win_rate, kills_mean/std, reward_mean/std.

    What the paper does not give (or what cannot be read) is NaN, and stays so: nothing is filled in.
    """
    with resources.files("marlrobust.reports").joinpath("table1.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def numbers_of(cell: Cell, count: int) -> dict[str, float]:
    """The paper's numbers at `count`, as columns of a table, where the cell is what the paper ran."""
    return _lines().get((cell["scenario"], count, cell["method"]), {}) if _played(cell) else {}


@cache
def _lines() -> dict[Any, dict[Any, float]]:
    return load().set_index(["scenario", "attacked_agents", "method"]).add_prefix("paper_").to_dict("index")


def _played(cell: Cell) -> bool:
    facts = cell.facts.items()
    game = GAMES.get(cell["scenario"]) == read(cell["game"]) and PLAYED.items() <= facts
    if cell.clean or not game:
        return game
    return ATTACKED.items() <= facts and all(cell.parameters.get(name) == value for name, value in PARAMETERS.items())
