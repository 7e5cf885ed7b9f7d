"""Table 1 of the paper (Zhou and Liu 2022, RoMFAC), as data, to set beside ours."""

from __future__ import annotations

import io
from functools import cache
from importlib import resources

import pandas as pd

ATTACK = "pgd"
"""The attack of every attacked line of the paper: PGD with 10 steps in the l_inf ball."""

STEPS = 10

EPSILON = 0.075
"""Its radius, in state units."""


def load() -> pd.DataFrame:
    """Table 1: scenario, attacked_agents, method, win_rate, kills_mean/std, reward_mean/std.

    What the paper does not give (or what cannot be read) is NaN, and stays so: nothing is filled in.
    """
    return _read().copy()


@cache
def _read() -> pd.DataFrame:
    text = resources.files("marlrobust.reports").joinpath("table1.csv").read_text(encoding="utf-8")
    return pd.read_csv(io.StringIO(text))
