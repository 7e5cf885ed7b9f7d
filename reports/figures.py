"""Figure 4 of the paper, the same for win rate and kills, and the attacks beside each other.

The numbers are those of `tables.table`. Figures are plain `Figure` objects: neither pyplot's state nor
matplotlib's settings outlive a call.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from marlrobust.files import write_bytes
from marlrobust.reports.tables import GROUP, attack_label, groups, label, method_order, over_trainings, papers, table


class Metric(NamedTuple):
    """What a figure shows: a title, and columns of `over_trainings`, the mean and those that start with `name`."""

    title: str
    mean: str
    name: str


METRICS = {
    "reward": Metric("Average total reward", "reward_mean", "reward"),
    "win": Metric("Win rate", "win_rate", "win"),
    "kills": Metric("Average kills", "kills_mean", "kills"),
}

# Okabe and Ito's colours, told apart with every common colour blindness; the marker says it again.
STYLES = {
    "mfac": ("#D55E00", "o"),
    "sa-mfac": ("#E69F00", "s"),
    "sa-mfac3": ("#CC79A7", "D"),
    "romfac1": ("#56B4E9", "^"),
    "romfac": ("#0072B2", "v"),
    "a2c": ("#7F7F7F", "X"),
}
OTHERS = [("#009E73", "P"), ("#999933", "h"), ("#AA4499", "<"), ("#882255", ">"), ("#44AA99", "p")]

# Tol's bright colours, none of which is a method's.
ATTACKS = [
    *[("#4477AA", "o"), ("#EE6677", "s"), ("#228833", "^"), ("#CCBB44", "D")],
    *[("#AA3377", "v"), ("#66CCEE", "P"), ("#999999", "X"), ("#B5651D", "h")],
]

WIDE = 3
"""Panels beside each other, at most."""

LIGHT = {"ink": "#1f2430", "faint": "#5c6370", "grid": "#e4e7ec", "face": "#ffffff", "shade": "#f2f4f7"}
DARK = {"ink": "#e6e8ec", "faint": "#a3a9b5", "grid": "#343a45", "face": "#1b1f27", "shade": "#232833"}

DASHED: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 2.5)), "alpha": 0.85}
"""The paper's curves."""


def method_style(methods: list[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) of each method: fixed for the known ones, the others take turns by name."""
    others = [method for method in method_order(methods) if method not in STYLES]
    turns = {method: OTHERS[index % len(OTHERS)] for index, method in enumerate(others)}
    return {method: STYLES.get(method) or turns[method] for method in method_order(methods)}


def figure4(rows: pd.DataFrame, *, paper: bool = True, dark: bool = False) -> Figure:
    """Figure 4 of the paper: average total reward over the number of attacked agents."""
    return figure(rows, "reward", paper=paper, dark=dark)


def figure(
    rows: pd.DataFrame, metric: str, lines: pd.DataFrame | None = None, *, paper: bool = True, dark: bool = False
) -> Figure:
    """One line per method over attacked agents, with 95 % intervals over rounds.

    rows: one a round; metric: "reward", "win" or "kills"; lines: `table(rows)`, where it is at hand. A panel per
    attack (and epsilon, victims, budget) and scenario in which the metric means something; those of a scenario are
    beside each other and share an axis.
    Of a method with several training runs the mean of their means is shown, with a band for the 95 % interval over
    runs: see `tables.over_trainings`.
    paper: draw Table 1 of the paper, thin and dashed, where attack and epsilon are the paper's.
    """
    if rows.empty:
        raise ValueError("no rows to draw")
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose one of {', '.join(METRICS)}")
    lines = over_trainings(table(rows) if lines is None else lines)
    known = lines[lines[METRICS[metric].mean].notna()]
    lines = lines if known.empty else known
    colours = DARK if dark else LIGHT
    with matplotlib.rc_context(settings(colours)):
        return _draw(lines, METRICS[metric], _team_sizes(rows), paper, colours)


def _team_sizes(rows: pd.DataFrame) -> dict[str, int]:
    """Scenario to the size of the tested team, where the rows say it."""
    if "team_size" not in rows.columns:
        return {}
    sizes = rows.dropna(subset=["team_size"]).groupby("scenario")["team_size"].max()
    return {str(scenario): int(size) for scenario, size in sizes.items()}


def attack_figure(rows: pd.DataFrame, lines: pd.DataFrame | None = None, *, dark: bool = False) -> Figure:
    """The attacks beside each other: a panel per scenario and method, a line per attack, of the mean reward.

    lines: `table(rows)`, where it is at hand.
    """
    colours = DARK if dark else LIGHT
    lines = over_trainings(table(rows) if lines is None else lines)
    lines = lines[lines["attack"] != "none"]
    ways = groups(lines)
    styles = {attack_label(*way): ATTACKS[i % len(ATTACKS)] for i, way in enumerate(ways)}
    metric, teams = METRICS["reward"], _team_sizes(rows)
    pages = [
        [part for method in method_order(own["method"]) if len(part := own[own["method"] == method])]
        for _, own in lines.groupby("scenario")
    ]
    with matplotlib.rc_context(settings(colours)):
        figure, panels = _grid(pages)
        for panel, part in panels:
            _dress(panel, part, metric, label(part["method"].iloc[0]), teams, colours)
            named = part.assign(curve=[attack_label(*way) for way in part[GROUP].itertuples(index=False, name=None)])
            _curves(panel, named, metric, styles)
        _legend(figure, styles, False, _banded(lines), colours)
    return figure


def _draw(lines: pd.DataFrame, metric: Metric, teams: dict[str, int], paper: bool, colours: dict[str, str]) -> Figure:
    pages = [
        [own[(own[GROUP] == list(way)).all(axis=1)] for way in groups(own)] for _, own in lines.groupby("scenario")
    ]
    methods = method_style(list(lines["method"].unique()))
    styles = {label(method): style for method, style in methods.items()}
    figure, panels = _grid(pages)
    dashed = False
    for panel, part in panels:
        way = groups(part)[0]
        _dress(panel, part, metric, attack_label(*way), teams, colours)
        if paper:
            dashed = _paper_curves(panel, part, metric, methods) or dashed
        part = part.assign(place=part["method"].map({name: i for i, name in enumerate(methods)}))
        _curves(panel, part.sort_values("place").assign(curve=part["method"].map(label)), metric, styles)
    _legend(figure, styles, dashed, _banded(lines), colours)
    return figure


def _banded(lines: pd.DataFrame) -> bool:
    return bool((lines["trainings"] > 1).any())


def _grid(pages: list[list[pd.DataFrame]]) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A figure, and a panel for each part of each page. Pages are below each other, unless each has one part."""
    if all(len(page) == 1 for page in pages):
        pages, shared = [[part for page in pages for part in page]], False
    else:
        shared = True
    most = max(map(len, pages))
    wide = -(-most // -(-most // WIDE)) if shared else most
    rows = [page[i : i + wide] for page in pages for i in range(0, len(page), wide)]
    page_of = [p for p, page in enumerate(pages) for _ in range(0, len(page), wide)]
    figure = Figure(figsize=(10.0 if wide < 3 else 4.4 * wide, 0.9 + 3.5 * len(rows)))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08)
    first: dict[int, Axes] = {}
    panels = []
    cells = figure.add_gridspec(len(rows), wide)
    for row, parts in enumerate(rows):
        for column, part in enumerate(parts):
            panel = figure.add_subplot(cells[row, column], sharey=first.get(page_of[row]))
            if shared:
                first.setdefault(page_of[row], panel)
            panels.append((panel, part))
    return figure, panels


def _curves(panel: Axes, part: pd.DataFrame, metric: Metric, styles: dict[str, tuple[str, str]]) -> None:
    """A line for each `curve` of `part`; the intervals a little beside each other, so that none hides another."""
    names = list(part["curve"].unique())
    step = max(float(part["attacked_agents"].max()), 1.0) / 90
    for index, name in enumerate(names):
        own = part[part["curve"] == name].sort_values("attacked_agents")
        x = own["attacked_agents"] + step * (index - (len(names) - 1) / 2)
        colour, marker = styles[name]
        low, high = own[f"{metric.name}_low"], own[f"{metric.name}_high"]
        panel.vlines(x, low, high, color=colour, linewidth=1.6, alpha=0.65, zorder=2)
        if (own["trainings"] > 1).any():
            band = own[f"{metric.name}_train_low"], own[f"{metric.name}_train_high"]
            panel.fill_between(x, *band, color=colour, alpha=0.14, linewidth=0, zorder=1)
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6.5, "linewidth": 2}
        # Seaborn rims markers in white, whatever the page.
        look["markeredgecolor"] = panel.get_facecolor()
        sns.lineplot(x=x, y=own[metric.mean], ax=panel, label=name, legend=False, errorbar=None, zorder=3, **look)


def _paper_curves(panel: Axes, part: pd.DataFrame, metric: Metric, styles: dict[str, tuple[str, str]]) -> bool:
    """The paper's lines for the methods of this panel; False if it has none. A gap stays a gap."""
    column = f"paper_{metric.mean}"
    if not papers(part).all() or part[column].isna().all():
        return False
    for method in method_order(part["method"]):
        own = part[part["method"] == method].sort_values("attacked_agents")
        # Without a dot, a value between two gaps would not be seen.
        look: dict[str, Any] = DASHED | {"color": styles[method][0], "marker": ".", "markersize": 5}
        panel.plot(own["attacked_agents"], own[column], label=f"{label(method)}, paper", zorder=1.5, **look)
    return True


def _dress(
    panel: Axes, part: pd.DataFrame, metric: Metric, title: str, teams: dict[str, int], colours: dict[str, str]
) -> None:
    """Titles, axes and the shade where a count means the whole team."""
    scenario = str(part["scenario"].iloc[0])
    team = teams.get(scenario)
    panel.set_title(scenario.capitalize(), loc="left", fontweight="bold")
    panel.set_title(title, loc="right", fontsize=10, color=colours["faint"])
    panel.set(xlabel="Attacked agents", ylabel=metric.title)
    counts = sorted(part["attacked_agents"].unique())
    panel.set_xticks(counts)
    pad = max(counts[-1], 1) * 0.05
    panel.set_xlim(-pad, counts[-1] + pad)
    if metric.mean == "win_rate":
        panel.set_ylim(-0.04, 1.04)
    panel.grid(axis="x", visible=False)
    sns.despine(ax=panel, left=True)
    if part[metric.mean].isna().all():
        panel.text(0.5, 0.5, "nobody died here", transform=panel.transAxes, ha="center")
    if team is not None and counts[-1] > team:
        # The team's size itself is in the shade; the margin keeps the words off the curves.
        panel.axvspan(team - pad, counts[-1] + pad, color=colours["shade"], linewidth=0, zorder=0)
        panel.margins(y=0.13)
        note: dict[str, Any] = {"fontsize": 8.5, "color": colours["faint"], "va": "top"}
        panel.text(team - pad, 0.98, f"  whole team of {team}", transform=panel.get_xaxis_transform(), **note)


def _legend(
    figure: Figure, styles: dict[str, tuple[str, str]], dashed: bool, banded: bool, colours: dict[str, str]
) -> None:
    """One legend for all panels, below them."""
    keys: list[Artist] = [
        Line2D([], [], color=colour, marker=marker, markersize=6.5, linewidth=2, label=name)
        for name, (colour, marker) in styles.items()
    ]
    if dashed:
        keys.append(Line2D([], [], color=colours["faint"], label="paper, same colour", **DASHED))
    if banded:
        keys.append(Patch(color=colours["faint"], alpha=0.3, linewidth=0, label="band: 95 % over training runs"))
    room = int(figure.get_figwidth() * 11)  # letters in a line, marks and gaps included
    columns = max(1, min(len(keys), room // (6 + max(len(str(key.get_label())) for key in keys))))
    columns = -(-len(keys) // -(-len(keys) // columns))  # lines of about one length
    figure.legend(handles=keys, loc="outside lower center", ncols=columns, frameon=False)


def settings(colours: dict[str, str]) -> Any:
    """Seaborn's white grid in our colours, in the font that comes with matplotlib: alike on every machine."""
    ink, face = colours["ink"], colours["face"]
    settings: Any = dict(sns.axes_style("whitegrid"))
    settings |= {key: ink for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")}
    settings |= {key: face for key in ("figure.facecolor", "axes.facecolor", "savefig.facecolor")}
    settings |= {"axes.edgecolor": colours["faint"], "grid.color": colours["grid"]}
    settings |= {"font.family": ["sans-serif"], "font.sans-serif": ["DejaVu Sans"], "font.size": 10.5}
    return settings | {"axes.titlesize": 12.5, "axes.labelsize": 10.5, "axes.titlepad": 10}


def svg(figure: Figure) -> bytes:
    """The same figure gives the same bytes: no date, no random names. Letters are drawn as paths."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "marlrobust", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as PNG; 160 dots an inch make it 1600 wide."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `stem`.png and `stem`.svg, each whole or not at all; return their paths."""
    return (
        write_bytes(stem.parent / f"{stem.name}.png", png(figure)),
        write_bytes(stem.parent / f"{stem.name}.svg", svg(figure)),
    )
