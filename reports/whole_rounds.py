"""Proven rounds: the share of rounds whose outcome no adversary inside epsilon can change, by how many it attacks."""

from __future__ import annotations

from math import comb
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marlrobust.files import write_bytes
from marlrobust.reports import drawing
from marlrobust.reports.labels import in_order, number
from marlrobust.reports.statistics import mean_interval
from marlrobust.reports.text import aligned

TABLE = "whole_rounds.csv"
LINE = ["scenario", "policy", "method", "opponent", "epsilon"]
SHOWN = (1, 2, 4, 8, 16, 32)
"""Counts of attacked agents that the terminal shows, and the size of the team."""


def whole_rounds_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per cell and count of attacked agents, 1 to all, from rows of `rows.DecisionFacts` and
    `rows.WholeRound`.

    proven: the share of rounds that are proven, if the agents are drawn at random: of a round in which all decisions of
    g of N agents are proven, that is the share of its sets of k agents that lie among those g, exactly; low, high: the
    95 % interval of its mean over rounds; any: the share of rounds proven whichever k agents are chosen, which are
    those in which every decision of the team is proven.
    """
    lines = []
    for cell, part in rows.groupby("cell", sort=False):
        about = {"cell": cell, **part.iloc[0][LINE].to_dict(), "rounds": len(part)}
        sizes, proven = part["agents"].tolist(), part["proven_agents"].tolist()
        for k in range(1, max(sizes) + 1):
            shares = np.array([comb(g, k) / comb(n, k) for g, n in zip(proven, sizes, strict=True)])
            spread = shares.std(ddof=1) if len(shares) > 1 else np.nan
            low, high = mean_interval(shares.mean(), spread, len(shares), within=(0.0, 1.0))
            everybody = (part["proven_agents"] == part["agents"]).mean()
            found = {"attacked_agents": k, "proven": shares.mean(), "low": low, "high": high, "any": everybody}
            lines.append(about | found)
    return in_order(pd.DataFrame(lines), ["scenario", "method", "policy", "opponent", "epsilon", "attacked_agents"])


def write_whole_rounds(rows: pd.DataFrame, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Write whole_rounds.csv and the figure `whole_rounds` into `out`; returns the table, and their paths."""
    table = whole_rounds_table(rows)
    figure = whole_rounds_figure(table)
    files = {TABLE: table.to_csv(index=False).encode()}
    files |= {"whole_rounds.png": drawing.png(figure), "whole_rounds.svg": drawing.svg(figure)}
    return table, [write_bytes(out / name, content) for name, content in files.items()]


def terminal(table: pd.DataFrame) -> str:
    """The shares as text: a line per policy and epsilon, a column per count."""
    most = int(table["attacked_agents"].max())
    counts = sorted({k for k in (*SHOWN, most) if k <= most})
    blocks = []
    for scenario, part in table.groupby("scenario", sort=False):
        some = part[part["attacked_agents"].isin(counts)]
        wide = some.pivot_table(
            index=["policy", "epsilon"], columns="attacked_agents", values="proven", sort=False
        ).reset_index()
        columns = {"policy": wide["policy"].tolist(), "epsilon": [f"{epsilon:g}" for epsilon in wide["epsilon"]]}
        columns |= {f"{k}": [number(share) for share in wide[k]] for k in counts if k in wide}
        title = f"{scenario}: share of rounds that are proven, by attacked agents"
        blocks.append("\n".join([title, *aligned(columns)]))
    return "\n\n".join(blocks)


def whole_rounds_figure(table: pd.DataFrame) -> Figure:
    """The share over the count of attacked agents, a line per policy and epsilon; a panel per scenario."""
    styles = drawing.method_style(list(table["method"].unique()))
    dashes = ["-", "--", "-.", ":"]
    with matplotlib.rc_context(drawing.settings()):
        figure, panels = drawing.grid(table, ["scenario"])
        for panel, part in panels:
            drawing.dress(panel, part, "", "Attacked agents", "Share of rounds that are proven")
            panel.set_xscale("log", base=2)
            panel.set_ylim(-0.03, 1.03)
            epsilons = sorted(part["epsilon"].unique())
            for (policy, epsilon), own in part.groupby(["policy", "epsilon"], sort=False):
                colour, _ = styles[own["method"].iloc[0]]
                dash = dashes[epsilons.index(epsilon) % len(dashes)]
                x = own["attacked_agents"]
                panel.fill_between(x, own["low"], own["high"], color=colour, alpha=0.1, linewidth=0)
                panel.plot(x, own["proven"], color=colour, linestyle=dash, label=f"{policy}, epsilon {epsilon:g}")
            panel.legend(frameon=False)
    return figure
