"""What a round of a game may measure: columns of a row, with their direction and their range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A number that each round of a game may have.

    column: in a row; mean: in a table; short: what its interval's columns begin with; file: its figure's name; title:
    its axis; better: whether the team wants much or little of it; least, most: the smallest and the largest value that
    are possible, None where there is no such thing, or the column that holds it; digits: to show of it.
    """

    column: str
    mean: str
    short: str
    file: str
    title: str
    better: Literal["higher", "lower"] = "higher"
    least: float | str | None = None
    most: float | str | None = None
    digits: int = 2

    @property
    def share(self) -> bool:
        """Whether a round either has it or not."""
        return (self.least, self.most) == (0.0, 1.0)

    @property
    def sign(self) -> int:
        """1 where more is better, else -1: times this, more is always better."""
        return 1 if self.better == "higher" else -1

    def ends(self, facts: Any) -> tuple[float, float]:
        """The smallest and the largest value that are possible in rounds of these facts; infinite where none is."""
        low, high = (facts[end] if isinstance(end, str) else end for end in (self.least, self.most))
        return -np.inf if low is None else float(low), np.inf if high is None else float(high)

    @property
    def words(self) -> str:
        """`win (0 to 1, higher is better)`."""
        low, high = self.range
        span = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}" if high else ""
        return f"{self.column} ({', '.join(filter(None, (span, f'{self.better} is better')))})"

    @property
    def range(self) -> tuple[str, str]:
        """Smallest and largest value as text: a number, the column that holds it, or nothing."""
        ends = self.least, self.most
        low, high = ("" if end is None else f"{end:g}" if isinstance(end, float) else end for end in ends)
        return low, high


REWARD = Metric("reward", "reward_mean", "reward", "figure4", "Average total reward", digits=1)
WIN = Metric("win", "win_rate", "win", "win_rate", "Win rate", least=0.0, most=1.0)
KILLS = Metric("kills", "kills_mean", "kills", "kills", "Average kills", least=0.0, most="opponents")
CAPTURES = Metric("captures", "captures_mean", "captures", "captures", "Average captures", least=0.0)
SUCCESS = Metric("success", "success_rate", "success", "success", "Success rate", least=0.0, most=1.0)
METRICS = (REWARD, WIN, KILLS, CAPTURES, SUCCESS)
"""All that reports show, in their order; a game's own columns are empty in a game that has not got them."""
