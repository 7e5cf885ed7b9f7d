"""How the policies were trained: reward over the rounds of a training, with its schedules of mu and epsilon below.

The schedules are Figure 1 of Zhou and Liu.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marlrobust.reports import drawing
from marlrobust.reports.drawing import Shown
from marlrobust.reports.labels import label
from marlrobust.rows import Record

SHOWN = {"reward": "Reward per round", "mu": "mu", "epsilon": "epsilon"}
"""Column of a training's log to its axis."""

POINTS = 300
"""Of a curve, at most: those between are in the mean of the nearest."""


def stored_curves(folder: Path, record: Record) -> pd.DataFrame:
    """The logs of the policies that have one in `folder`: scenario, policy, method, rounds, and the columns of `SHOWN`.

    One that cannot be read, or is no log, is left out: it tells of no result.
    """
    found = []
    for policy in {p.log: p for p in record.policies if p.log}.values():
        try:
            log = pd.read_csv(folder / policy.log)[["rounds", *SHOWN]].astype(float)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(log.assign(scenario=policy.scenario, policy=policy.name, method=policy.method))
    columns = ["scenario", "policy", "method", "rounds", *SHOWN]
    return pd.concat([pd.DataFrame(columns=columns), *found], ignore_index=True) if found else pd.DataFrame()


def shown(curves: pd.DataFrame) -> Shown:
    """As the page shows them."""
    alt = "Reward over the rounds of each training, with mu and epsilon below"
    return Shown("training", "How they were trained", alt, *(drawing.svg(figure(curves, n)) for n in (False, True)))


def figure(curves: pd.DataFrame, narrow: bool = False) -> Figure:
    """A column of panels per game, on a phone below each other; a line per policy."""
    styles = drawing.method_style(list(curves["method"].unique()))
    games = list(curves.groupby("scenario", sort=False))
    with matplotlib.rc_context(drawing.settings()):
        wide = 1 if narrow else len(games)
        drawn = drawing.made(4.3 if narrow else max(10.0, 4.4 * wide), (0.9 + 6.2) * (len(games) if narrow else 1))
        cells = drawn.add_gridspec(
            3 * (len(games) if narrow else 1), wide, height_ratios=[2, 1, 1] * (len(games) if narrow else 1)
        )
        for place, (_, own) in enumerate(games):
            for row, (column, title) in enumerate(SHOWN.items()):
                panel = drawn.add_subplot(cells[3 * place + row, 0] if narrow else cells[row, place])
                drawing.dress(panel, own, "", "", title)
                if row:
                    panel.set_title("", loc="left")
                if row == len(SHOWN) - 1:
                    panel.set_xlabel("Rounds of the training")
                for _, one in own.groupby("policy", sort=False):
                    colour = styles[one["method"].iloc[0]][0]
                    panel.plot(*thinned(one["rounds"], one[column]), color=colour, linewidth=1.6, alpha=0.85)
        named = {label(method): (colour, "") for method, (colour, _) in styles.items()}
        drawing.legend(drawn, named, pd.Series([1]))
    return drawn


def thinned(x: pd.Series[float], y: pd.Series[float]) -> tuple[list[float], list[float]]:
    """At most `POINTS` points of a curve, each the mean of as many."""
    parts = np.array_split(np.arange(len(x)), min(len(x), POINTS))
    a, b = x.to_numpy(float), y.to_numpy(float)
    return [float(a[part].mean()) for part in parts], [float(b[part].mean()) for part in parts]
