"""Figure 4 of the paper, the same for the other metrics, the attacks beside each other, and reward over epsilon.

The numbers are those of `tables.Tables`.
"""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marlrobust.reports.drawing import (
    ATTACKS,
    DASHED,
    LIGHT,
    Style,
    curves,
    dress,
    grid,
    legend,
    method_style,
    settings,
)
from marlrobust.reports.labels import GROUP, attack_label, attack_name, label, method_order, unusual
from marlrobust.reports.tables import Tables, groups, one_epsilon
from marlrobust.rows import NOT_ATTACKED, REWARD, Metric

ALIKE = ["scenario", "setting"]
OVER_EPSILON = [name for name in GROUP if name != "epsilon"]


@dataclass(frozen=True)
class Picture:
    """file: its name without ending; title, over, lines: what it shows, over what, and what a line is."""

    file: str
    title: str
    figure: Figure
    over: str = "the number of attacked agents"
    lines: str = "method"


def pictures(tables: Tables) -> list[Picture]:
    """Every figure of a report, the most telling first."""
    drawn = [Picture(m.file, m.title, figure(tables, m)) for m in tables.metrics]
    more = []
    if tables.strength is not None and len(groups(_attacked(one_epsilon(tables.lines)))) > 1:
        more.append(Picture("attacks", "The attacks beside each other", attack_figure(tables), lines="attack"))
    if several_epsilons(tables.trained):
        title = "Reward over epsilon, with most agents attacked"
        more.append(Picture("epsilon", title, epsilon_figure(tables), over="epsilon"))
    return [*drawn[:1], *more, *drawn[1:]]


def figure(tables: Tables, metric: Metric = REWARD, *, paper: bool = True) -> Figure:
    """One line per method over attacked agents, with 95 % intervals over rounds.

    A panel per attack (with one epsilon, see `tables.one_epsilon`), setting and scenario in which there is the metric;
    those of a scenario are beside each other and share an axis. Of a method with several training runs the mean of
    their means is shown, with a band for the 95 % interval over runs: see `tables.over_trainings`.
    paper: draw Table 1 of the paper, thin and dashed, where the paper's protocol was played.
    """
    if metric not in tables.metrics:
        raise ValueError(f"the rows have no {metric.column}")
    lines = one_epsilon(tables.trained)
    lines = lines[lines[metric.mean].notna()]
    with matplotlib.rc_context(settings()):
        methods = method_style(list(lines["method"].unique()))
        drawn, panels = grid(_pages(lines, [*ALIKE, *GROUP]))
        dashed = False
        for panel, part in panels:
            first = part.iloc[0]
            _over_counts(panel, part, metric, attack_label(*first[GROUP]), str(first["setting"]))
            if paper:
                dashed = _paper_curves(panel, part, metric, methods) or dashed
            curves(panel, _by_method(part), "attacked_agents", metric, {label(m): s for m, s in methods.items()})
        legend(drawn, {label(m): s for m, s in methods.items()}, dashed=dashed, banded=_banded(lines))
    return drawn


def attack_figure(tables: Tables) -> Figure:
    """The attacks beside each other: a panel per scenario, setting and method, a line per attack."""
    lines = one_epsilon(tables.trained)
    lines = lines[lines["attack"].str.partition(" ")[0] != NOT_ATTACKED]
    lines = lines.assign(curve=[attack_label(*way) for way in lines[GROUP].itertuples(index=False, name=None)])
    names = dict.fromkeys(attack_label(*way) for way in groups(lines))
    styles: dict[str, Style] = {name: ATTACKS[i % len(ATTACKS)] for i, name in enumerate(names)}
    lines = lines.assign(place=[method_order(lines["method"]).index(method) for method in lines["method"]])
    with matplotlib.rc_context(settings()):
        drawn, panels = grid(_pages(lines, [*ALIKE, "place"]))
        for panel, part in panels:
            first = part.iloc[0]
            _over_counts(panel, part, REWARD, label(str(first["method"])), str(first["setting"]))
            curves(panel, part, "attacked_agents", REWARD, styles)
        legend(drawn, styles, dashed=False, banded=_banded(lines))
    return drawn


def several_epsilons(lines: pd.DataFrame) -> bool:
    """Whether any attack was played with more than one epsilon."""
    attacked = _attacked(lines)
    return bool((attacked.groupby([*ALIKE, *OVER_EPSILON])["epsilon"].nunique() > 1).any())


def epsilon_figure(tables: Tables) -> Figure:
    """Mean reward over epsilon with most agents attacked; a panel per attack and scenario.

    The clean rounds stand at 0.
    """
    parts = []
    for _, part in tables.trained.groupby([*ALIKE, *OVER_EPSILON]):
        attacked = _attacked(part)
        most = attacked[attacked["attacked_agents"] == attacked["attacked_agents"].max()]
        if most["epsilon"].nunique() > 1:
            clean = part[part["attacked_agents"] == 0].drop_duplicates("method").assign(epsilon=0.0)
            parts.append(pd.concat([clean, most], ignore_index=True))
    lines = pd.concat(parts, ignore_index=True)
    methods = method_style(list(lines["method"].unique()))
    styles = {label(method): style for method, style in methods.items()}
    with matplotlib.rc_context(settings()):
        drawn, panels = grid(_pages(lines, [*ALIKE, *OVER_EPSILON]))
        for panel, part in panels:
            first, count = part.iloc[0], int(part["attacked_agents"].max())
            how = unusual(*(first[name] for name in OVER_EPSILON[1:]))
            what = ", ".join([attack_name(str(first["attack"])), *how, f"{count} attacked"])
            dress(panel, _title(part), "\n".join(filter(None, (what, first["setting"]))), "epsilon", REWARD.title)
            curves(panel, _by_method(part), "epsilon", REWARD, styles)
        legend(drawn, styles, dashed=False, banded=_banded(lines))
    return drawn


def _attacked(lines: pd.DataFrame) -> pd.DataFrame:
    return lines[lines["attacked_agents"] > 0]


def _banded(lines: pd.DataFrame) -> bool:
    return bool((lines["trainings"] > 1).any())


def _title(part: pd.DataFrame) -> str:
    return str(part["scenario"].iloc[0]).capitalize()


def _pages(lines: pd.DataFrame, names: list[str]) -> list[list[pd.DataFrame]]:
    """For each scenario the parts of its lines that agree in `names`."""
    return [[part for _, part in own.groupby(names)] for _, own in lines.groupby("scenario")]


def _by_method(part: pd.DataFrame) -> pd.DataFrame:
    """With a curve per method, in their order."""
    order = method_order(part["method"])
    placed = part.assign(place=[order.index(method) for method in part["method"]])
    return placed.sort_values("place").assign(curve=lambda lines: lines["method"].map(label))


def _over_counts(panel: Axes, part: pd.DataFrame, metric: Metric, what: str, setting: str) -> None:
    """Titles and axes of a panel over attacked agents, with a shade where a count means the whole team."""
    dress(panel, _title(part), "\n".join(filter(None, (what, setting))), "Attacked agents", metric.title)
    counts, team = sorted(part["attacked_agents"].unique()), int(part["team_size"].max())
    panel.set_xticks(counts)
    pad = max(counts[-1], 1) * 0.05
    panel.set_xlim(-pad, counts[-1] + pad)
    if counts[-1] > team:
        # The team's size itself is in the shade; the margin keeps the words off the curves.
        panel.axvspan(team - pad, counts[-1] + pad, color=LIGHT["shade"], linewidth=0, zorder=0)
        panel.margins(y=0.13)
        words = f"  whole team of {team}"
        at = panel.get_xaxis_transform()
        panel.text(team - pad, 0.98, words, transform=at, fontsize=8.5, color=LIGHT["faint"], va="top")


def _paper_curves(panel: Axes, part: pd.DataFrame, metric: Metric, styles: dict[str, Style]) -> bool:
    """The paper's lines for the methods of this panel; False if it has none. A gap stays a gap."""
    column = f"paper_{metric.mean}"
    if _attacked(part)[column].isna().all():
        return False
    for method in method_order(part["method"]):
        own = part[part["method"] == method].sort_values("attacked_agents")
        # Without a dot, a value between two gaps would not be seen.
        look = DASHED | {"color": styles[method][0], "marker": ".", "markersize": 5}
        panel.plot(own["attacked_agents"], own[column], label=f"{label(method)}, paper", zorder=1.5, **look)
    return True
