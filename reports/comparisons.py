"""Cells beside each other: what an attack takes from a policy, and which of several policies is the best.

All of it is paired by the round's number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.metrics import Metric
from marlrobust.reports import paired, statistics
from marlrobust.reports.cells import Cell, pairs

LEVEL = 0.05
"""How often all the tests of a table together may find a difference where there is none."""

BEST, SAME = "best", "same"
"""The marks of a line: the best of those it stands beside, and one that is not distinguishable from it."""


def p_value(metric: Metric, one: Cell, other: Cell) -> float:
    """The p-value of no difference: McNemar's exact test of a share, Student's t test of paired rounds else."""
    values = pairs(one, other, metric.column)
    if not len(values[0]):
        return math.nan
    return paired.mcnemar(*values) if metric.share else paired.mean_test(*values)


def loss_columns(metric: Metric) -> list[str]:
    """Of `losses`."""
    return [f"{metric.short}_{name}{end}" for name in ("kept", "change") for end in ("", "_low", "_high")] + [
        f"{metric.short}_scale"
    ]


def losses(cell: Cell, clean: Cell, numbers: dict[str, Any], whole: dict[str, Any], metric: Metric) -> dict[str, float]:
    """What an attacked cell has left of a metric of its clean rounds, over the rounds that both have.

    numbers, whole: mean and interval of both, as columns of a table. kept: the attacked mean as a share of the clean
    one, where that is above 0 and more is better; change: attacked - clean; both with 95 % intervals; scale: the length
    of the metric's range, or the usual size (root mean square) of a clean round's, by which a change is weighed.
    """
    part, own = pairs(cell, clean, metric.column)
    if not len(part):
        return {}
    low, high = metric.ends(cell)
    scale = high - low if math.isfinite(high - low) else math.sqrt(np.mean(own**2))
    found = {f"{metric.short}_scale": scale or math.nan, f"{metric.short}_change": float(part.mean() - own.mean())}
    ends = [(of[f"{metric.short}_low"], of[f"{metric.short}_high"]) for of in (numbers, whole)]
    names = metric.mean, "_low", "_high"
    if metric.share:
        together = statistics.correlation_of_means(*(one.rounds[metric.column].dropna() for one in (cell, clean)))
        means = numbers[names[0]], whole[names[0]]
        change = paired.share_change_interval(means[0], ends[0], means[1], ends[1], together)
        kept = statistics.ratio_interval(means[0], ends[0], means[1], ends[1], together) if means[1] > 0 else None
    else:
        change = paired.change_interval(part, own, within=(low - high, high - low))
        kept = paired.kept_interval(part, own) if own.mean() > 0 else None
    found |= dict(zip((f"{metric.short}_change_low", f"{metric.short}_change_high"), change, strict=True))
    if kept is not None and metric.better == "higher":
        found[f"{metric.short}_kept"] = float(part.mean() / own.mean())
        least = 0.0 if low == 0 else -math.inf
        found |= {f"{metric.short}_kept_low": max(kept[0], least), f"{metric.short}_kept_high": kept[1]}
    return found


def marks(groups: Iterable[Sequence[Cell]], metric: Metric, wanted: int = 1) -> Callable[[Cell, int], str]:
    """Which cells of each group are the best: a function of a cell and its group's number.

    groups: cells that one table sets beside each other; wanted: 1 to look for the best for the team, -1 for the worst.
    Every pair of a group is tested, and Holm's correction holds over all pairs of all groups, so that the choice of
    the best is part of it. A cell alone has no mark.
    """
    groups = [[cell for cell in group if len(cell.values(metric.column))] for group in groups]
    every = {frozenset(two): two for group in groups for two in combinations(dict.fromkeys(group), 2)}
    corrected = dict(zip(every, paired.holm([p_value(metric, *two) for two in every.values()]), strict=True))
    means = {cell: wanted * metric.sign * cell.values(metric.column).mean() for group in groups for cell in group}
    best = [max(group, key=means.__getitem__) if len(set(group)) > 1 else None for group in groups]

    def mark(cell: Cell, number: int) -> str:
        first = best[number]
        if first is None or cell not in means:
            return ""
        if cell is first:
            return BEST
        p = corrected[frozenset((cell, first))]
        return SAME if math.isnan(p) or p >= LEVEL else ""

    return mark


def marked(
    lines: pd.DataFrame, cells: dict[str, Cell], by: Sequence[str], metric: Metric, wanted: int = 1
) -> pd.Series[str]:
    """The mark of each line beside those with which it agrees in the columns `by`; cells: by the column `cell`."""
    parts = [part["cell"] for _, part in lines.groupby(list(by), sort=False, dropna=False)]
    mark = marks([[cells[name] for name in part] for part in parts], metric, wanted)
    found = [part.map(lambda name, number=number: mark(cells[name], number)) for number, part in enumerate(parts)]
    marks_: pd.Series[str] = pd.concat(found)
    return marks_
