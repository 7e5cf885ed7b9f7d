"""What all figures share: colours, a grid of panels, curves, one legend, files.

Figures are plain `Figure` objects: neither pyplot's state nor matplotlib's settings outlive a call.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from marlrobust.metrics import Metric
from marlrobust.reports.labels import method_order

Style = tuple[str, str]
"""Colour and marker."""

# Okabe and Ito's colours, told apart with every common colour blindness; the marker says it again.
STYLES: dict[str, Style] = {
    "mfac": ("#D55E00", "o"),
    "sa-mfac": ("#E69F00", "s"),
    "sa-mfac3": ("#CC79A7", "D"),
    "romfac1": ("#56B4E9", "^"),
    "romfac": ("#0072B2", "v"),
    "certified": ("#009E73", "P"),
    "a2c": ("#7F7F7F", "X"),
}
OTHERS = [("#999933", "h"), ("#AA4499", "<"), ("#882255", ">"), ("#44AA99", "p")]

# Tol's bright colours, none of which is a method's.
ATTACKS = [
    *[("#4477AA", "o"), ("#EE6677", "s"), ("#228833", "^"), ("#CCBB44", "D")],
    *[("#AA3377", "v"), ("#66CCEE", "P"), ("#999999", "X"), ("#B5651D", "h")],
]

WIDE = 3
"""Panels beside each other, at most; on a phone they are below each other."""

MOST = 12
"""Panels of a figure, at most."""

LETTERS = 12
"""Letters of small print in an inch, about."""

DENSE = 25
"""Points of a curve above which its intervals are a band, and its points have no markers."""

LIGHT = {"ink": "#1f2430", "faint": "#5c6370", "grid": "#e4e7ec", "face": "#ffffff", "shade": "#f2f4f7"}
DARK = {"ink": "#e6e8ec", "faint": "#a3a9b5", "grid": "#343a45", "face": "#1b1f27", "shade": "#232833"}

DASHED: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 2.5)), "alpha": 0.85}
"""The paper's curves."""


@dataclass(frozen=True)
class Shown:
    """A figure on the page. file: its name without ending; alt: what it shows, for who cannot see it; wide, narrow: its
    SVG for a desk, and for a phone."""

    file: str
    title: str
    alt: str
    wide: bytes
    narrow: bytes


def method_style(methods: Sequence[str]) -> dict[str, Style]:
    """Style of each method: fixed for the known ones, the others take turns by name."""
    turns = cycle(OTHERS)
    return {method: STYLES.get(method) or next(turns) for method in method_order(methods)}


def grid(lines: pd.DataFrame, names: list[str], narrow: bool = False) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A figure, and a panel for each part of `lines` that agrees in `names`, in their order. narrow: for a phone.

    Scenarios are below each other, unless each has one panel; the panels of one share an axis. Of more than `MOST`
    panels the first of each scenario are drawn, and the figure says so.
    """
    pages = [[part for _, part in own.groupby(names, sort=False)] for _, own in lines.groupby("scenario", sort=False)]
    total, each = sum(map(len, pages)), max(MOST // len(pages), 1)
    pages = [page[:each] for page in pages[:MOST]]
    shared = any(len(page) > 1 for page in pages)
    if not shared:
        pages = [[part for page in pages for part in page]]
    most = max(map(len, pages))
    wide = 1 if narrow else math.ceil(most / math.ceil(most / WIDE))
    rows = [(p, page[i : i + wide]) for p, page in enumerate(pages) for i in range(0, len(page), wide)]
    figure = made(4.3 if narrow else 10.0 if wide < 3 else 4.4 * wide, 0.9 + (3.0 if narrow else 3.5) * len(rows))
    cells = figure.add_gridspec(len(rows), wide)
    first: dict[int, Axes] = {}
    panels = []
    for row, (page, parts) in enumerate(rows):
        for column, part in enumerate(parts):
            panel = figure.add_subplot(cells[row, column], sharey=first.get(page))
            if shared:
                first.setdefault(page, panel)
            panels.append((panel, part))
    if len(panels) < total:
        figure.suptitle(f"{len(panels)} of {total} panels; the numbers of all are in table.csv", fontsize=10)
    return figure, panels


def made(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08)
    return figure


def _title(scenario: str) -> str:
    """A game's name as a title; one that says where the game is made stays as it is, its last part alone."""
    return scenario.rpartition(".")[2] if ":" in scenario else scenario.capitalize()


def dress(panel: Axes, part: pd.DataFrame, subtitle: str, x: str, y: str) -> None:
    """Titles and axes of a panel about `part`; where both titles do not fit beside each other, the game is above."""
    title, place = _title(str(part["scenario"].iloc[0])), panel.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    room = int((_width(panel) / columns - 0.9) * LETTERS)
    lines = [line for text in subtitle.split("\n") for line in textwrap.wrap(text, max(room, 20))]
    above = bool(lines) and 1.4 * len(title) + len(lines[-1]) + 2 > room
    panel.set_title(title + "\n" * len(lines) * above, loc="left", fontweight="bold")
    panel.set_title("\n".join(lines), loc="right", fontsize=10, color=LIGHT["faint"])
    panel.set(xlabel=x, ylabel=y)
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.grid(axis="x", visible=False)
    sns.despine(ax=panel, left=True)


def _width(panel: Axes) -> float:
    """Of the panel's figure, in inches."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    return float(figure.get_figwidth())


def ticks(panel: Axes, values: Sequence[float]) -> None:
    """Ticks at these values, without those whose numbers would run into each other."""
    least = (max(values) - min(values)) / (3.5 * _width(panel))
    shown = [max(values)]  # it is looked for, and so is the first
    for value in sorted(values, reverse=True):
        if shown[-1] - value >= least and (value - min(values) >= least or value == min(values)):
            shown.append(value)
    panel.set_xticks(shown[::-1])


def curves(panel: Axes, part: pd.DataFrame, x: str, metric: Metric, styles: Mapping[str, Style]) -> None:
    """A line for each `curve` of `part`; a little beside each other, so that none hides another, but for what stands
    at 0: there all begin."""
    names = list(part["curve"].unique())
    step = (float(part[x].max()) or 1.0) / 90
    for index, name in enumerate(names):
        own = part[part["curve"] == name].sort_values(x)
        dense = len(own) > DENSE
        at = own[x] + (0 if dense else step * (index - (len(names) - 1) / 2)) * (own[x] > 0)
        colour, marker = styles[name]
        bars, bands = ((own[f"{metric.short}{by}_low"], own[f"{metric.short}{by}_high"]) for by in ("", "_train"))
        faint: dict[str, Any] = {"color": colour, "alpha": 0.14, "linewidth": 0, "zorder": 1}
        if dense:
            panel.fill_between(at, *bars, **faint)
        else:
            panel.vlines(at, *bars, color=colour, linewidth=1.6, alpha=0.65, zorder=2)
        if (own["trainings"] > 1).any():
            panel.fill_between(at, *bands, **faint)
        look: dict[str, Any] = {"color": colour, "marker": "" if dense else marker, "markersize": 6.5, "linewidth": 2}
        panel.plot(at, own[metric.mean], label=name, zorder=3, markeredgecolor=LIGHT["face"], **look)
    if metric.share:
        panel.set_ylim(-0.04, 1.04)


def legend(
    figure: Figure, styles: Mapping[str, Style], trainings: pd.Series[int], dashed: str = "", rings: bool = False
) -> None:
    """One legend for all panels, below them. trainings: of all lines; dashed: what dashed lines are, if there are;
    rings: whether each run is drawn too."""
    keys: list[Artist] = [
        Line2D([], [], color=colour, marker=marker, markersize=6.5, linewidth=2, label=name)
        for name, (colour, marker) in styles.items()
    ]
    if dashed:
        keys.append(Line2D([], [], color=LIGHT["faint"], label=f"{dashed}, same colour", **DASHED))
    if (trainings > 1).any():
        keys.append(Patch(color=LIGHT["faint"], alpha=0.3, linewidth=0, label="band: 95 % over training runs"))
    if rings and (trainings > 1).any():
        ring: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "markersize": 4.5, "linewidth": 0}
        keys.append(Line2D([], [], color=LIGHT["faint"], label="ring: one training run", **ring))
    room = int(figure.get_figwidth() * LETTERS) - 6  # letters in a line, marks and gaps included
    columns = max(1, min(len(keys), room // (6 + max(len(str(key.get_label())) for key in keys))))
    columns = math.ceil(len(keys) / math.ceil(len(keys) / columns))  # lines of about one length
    figure.legend(handles=keys, loc="outside lower center", ncols=columns, frameon=False)


def settings() -> Any:
    """Seaborn's white grid in our colours, in the font that comes with matplotlib: alike on every machine."""
    ink, face = LIGHT["ink"], LIGHT["face"]
    settings: Any = dict(sns.axes_style("whitegrid"))
    settings |= {key: ink for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")}
    settings |= {key: face for key in ("figure.facecolor", "axes.facecolor", "savefig.facecolor")}
    settings |= {"axes.edgecolor": LIGHT["faint"], "grid.color": LIGHT["grid"]}
    settings |= {
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": 10.5,
    }
    return settings | {"axes.titlesize": 12.5, "axes.labelsize": 10.5, "axes.titlepad": 10}


def svg(figure: Figure) -> bytes:
    """The same figure gives the same bytes: no date, no random names. Text is text, and light on a dark screen."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "marlrobust", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().replace(b"<defs>", f"<style>{_darkened()}</style>\n <defs>".encode(), 1)


def _darkened() -> str:
    """CSS that turns ink and paper for a dark screen; paper stays white in print."""
    rules = [
        f'[style*="{what}: {colour}"]{{{what}:{DARK[name]}!important}}'
        for name, colour in LIGHT.items()
        for what in ("fill", "stroke")
    ]
    return f"@media screen and (prefers-color-scheme: dark){{{''.join(rules)}}}"


def png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as PNG; 160 dots per inch make it 1600 wide."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
