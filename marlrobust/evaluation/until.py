"""More rounds, until a mean is known well enough: batches that go on where a cell ends, by a rule for any time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from marlrobust.errors import UserError
from marlrobust.evaluation.plan import Cell
from marlrobust.metrics import Metric
from marlrobust.rows import Batch
from marlrobust.sequence import confidence_sequence

Play = Callable[[Sequence[Cell], Mapping[str, Batch]], object]
"""Plays cells; is told all batches so far, theirs included."""


def bounded(cell: Cell) -> Metric:
    """The first metric of the cell's game that has a smallest and a largest value; raises UserError where none has."""
    found = [m for m in cell.game.metrics if m.least is not None and m.most is not None]
    if not found or len(cell.team) > 1:
        whose = "of several teams together" if len(cell.team) > 1 else f"of {cell.policy.scenario}"
        raise UserError(
            f"--until needs something that has a smallest and a largest value, such as a win, and a round {whose} "
            "tells nothing like that: leave it out, and give --rounds"
        )
    return found[0]


def reach(rows: pd.DataFrame, metric: Metric, aim: float) -> float:
    """How far the interval of the mean of `metric` goes to either side, as a share of the metric's range.

    Raises UserError where a round does not tell it.
    """
    values = rows[metric.column]
    if values.isna().any():
        raise UserError(f"--until needs the column {metric.column}, and these rounds do not tell it: give --rounds")
    least, most = metric.ends(rows.iloc[0])
    low, high = confidence_sequence(((values.astype(float) - least) / (most - least)).tolist(), aim)
    return (high - low) / 2


def more_rounds(rows: pd.DataFrame, metric: Metric, aim: float, most: int) -> int:
    """How many rounds to add to these: as many as seem to be missing, a half to all of those that there are; 0 where
    it is enough, or where there would be more than `most`."""
    n = len(rows)
    wide = reach(rows, metric, aim)
    if wide <= aim or n >= most:
        return 0
    missing = math.ceil(n * ((wide / aim) ** 2 - 1))
    return min(max(missing, (n + 1) // 2), n, most - n)


def grow(cells: Iterable[Cell], stored: Mapping[str, pd.DataFrame], aim: float, most: int, play: Play) -> None:
    """Play batches of the cells until the interval of each reaches no further than `aim`, or it has `most` rounds.

    stored: the rows of all that was played, by the cell's name; `play` adds to it.
    """
    families = [(cell, [cell.name]) for cell in cells]
    batches: dict[str, Batch] = {}
    while True:
        wave = []
        for head, names in families:
            rows = pd.concat([stored[name] for name in names])
            if more := more_rounds(rows, bounded(head), aim, most):
                cell = replace(head, first=len(rows), rounds=more)
                batches[cell.name] = Batch(of=head.name, first=len(rows), rounds=more)
                names.append(cell.name)
                wave.append(cell)
        if not wave:
            return
        play(wave, batches)


def told(cells: Iterable[Cell], rows: pd.DataFrame, aim: float, most: int) -> str:
    """One sentence: how many rounds were needed. rows: of all cells, with their batches."""
    by_cell = rows.groupby("cell", sort=False)
    metrics = {cell.id: bounded(cell) for cell in cells}
    rounds = by_cell.size()
    short = [name for name, own in by_cell if reach(own, metrics[str(name)], aim) > aim]
    columns = " or ".join(dict.fromkeys(metric.column for metric in metrics.values()))
    low, high = int(rounds.min()), int(rounds.max())
    many = f"{low}" if low == high else f"{low} to {high}"
    sentence = (
        f"Rounds were added until the interval of the mean of {columns} reached at most {aim:g} of its range to either "
        f"side: {many} rounds per cell were needed. It is a confidence sequence, which holds whenever one stops; all "
        "other intervals are as if the number of rounds had been fixed before."
    )
    if short:
        sentence += f" In {len(short)} of {len(rounds)} cells it still reached further at the limit of {most} rounds."
    return sentence
