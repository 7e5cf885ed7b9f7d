"""The bracket: what an attack turned is at most the truth, what is not certified is at least that."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from marlrobust.evaluation.statistics import wilson_interval
from marlrobust.files import write_bytes
from marlrobust.reports import figures
from marlrobust.reports.tables import label, method_order, number, within

TABLE = "bracket.csv"
LINE = ["scenario", "policy", "method", "epsilon"]


def bracket_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a policy and epsilon, from rows one a decision (see `evaluation.certify`).

    flipped: share that the attack turned, from below; open: share that is not certified, from above; by_intervals:
    share that intervals alone certify. The ends are Wilson's 95 % over decisions drawn from the same rounds, which are
    not quite independent. The share that any adversary could turn lies between flipped and open.
    """
    lines = []
    for key, part in rows.groupby(LINE, sort=False):
        n = len(part)
        line = dict(zip(LINE, key, strict=True)) | {"attack": part["attack"].iloc[0], "decisions": n}
        for name, share in (("flipped", part["flipped"]), ("open", ~part["certified"].astype(bool))):
            low, high = wilson_interval(int(share.sum()), n)
            line |= {name: share.mean(), f"{name}_low": low, f"{name}_high": high}
        lines.append(line | {"by_intervals": part["by_intervals"].mean()})
    table = pd.DataFrame(lines)
    place = {method: index for index, method in enumerate(method_order(table["method"]))}
    order = ["scenario", "place", "policy", "epsilon"]
    return table.assign(place=table["method"].map(place)).sort_values(order, ignore_index=True).drop(columns="place")


def write_bracket(rows: pd.DataFrame, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Write bracket.csv and the figure `bracket` into `out`; returns the table, and their paths."""
    table = bracket_table(rows)
    written = [write_bytes(out / TABLE, table.to_csv(index=False).encode())]
    return table, [*written, *figures.save(bracket_figure(table), out / "bracket")]


def stored_bracket(out: Path) -> pd.DataFrame | None:
    """The table that `write_bracket` left in `out`; None where there is none."""
    path = out / TABLE
    return pd.read_csv(path) if path.exists() else None


def bracket_text(table: pd.DataFrame) -> pd.DataFrame:
    """The lines as text, for the terminal and the page."""
    return pd.DataFrame(
        {
            "scenario": table["scenario"],
            "method": table["method"].map(label),
            "policy": table["policy"],
            "epsilon": table["epsilon"].map("{:g}".format),
            "turned by the attack": _shares(table, "flipped"),
            "not certified": _shares(table, "open"),
            "certified by intervals alone": table["by_intervals"].map(number),
        }
    )


def _shares(table: pd.DataFrame, name: str) -> list[str]:
    ends = table[[name, f"{name}_low", f"{name}_high"]]
    return [within(*line) for line in ends.itertuples(index=False)]


def bracket_figure(table: pd.DataFrame, *, dark: bool = False) -> Figure:
    """A band a policy over epsilon, between what was turned and what is not certified; a panel a scenario."""
    colours = figures.DARK if dark else figures.LIGHT
    scenarios = list(table["scenario"].unique())
    styles = figures.method_style(list(table["method"].unique()))
    with matplotlib.rc_context(figures.settings(colours)):
        figure = Figure(figsize=(5.2 * max(len(scenarios), 2), 4.2))
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, len(scenarios), squeeze=False, sharey=True)[0]
        for panel, scenario in zip(panels, scenarios, strict=True):
            part = table[table["scenario"] == scenario]
            for policy in part["policy"].unique():
                own = part[part["policy"] == policy].sort_values("epsilon")
                colour, marker = styles[own["method"].iloc[0]]
                x = own["epsilon"].map("{:g}".format)
                panel.fill_between(x, own["flipped"], own["open"], color=colour, alpha=0.16, linewidth=0)
                panel.plot(x, own["flipped"], color=colour, marker=marker, label=policy)
                panel.plot(x, own["open"], color=colour, marker=marker, linestyle="--", markerfacecolor="none")
            panel.set_title(scenario.capitalize(), loc="left", fontweight="bold")
            panel.set(xlabel="epsilon", ylim=(-0.03, 1.03))
            panel.legend(frameon=False)
        panels[0].set_ylabel("Share of decisions: turned (solid),\nnot certified (dashed)")
    return figure
