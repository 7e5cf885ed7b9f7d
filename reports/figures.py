"""Figure 4 of the paper, the same for the other metrics, the attacks beside each other, and reward over epsilon.

The numbers are those of `tables.Tables`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marlrobust.metrics import REWARD, Metric
from marlrobust.reports import drawing
from marlrobust.reports.drawing import Shown, Style
from marlrobust.reports.labels import GROUP, attack_label, attack_name, attack_of, in_order, label, unusual
from marlrobust.reports.tables import PANEL, Tables, by_training, groups, one_epsilon
from marlrobust.rows import NOT_ATTACKED

OVER_EPSILON = [name for name in PANEL if name != "epsilon"]


@dataclass(frozen=True)
class Picture:
    """file: its name without ending; title, over, lines: what it shows, over what, and what a line is; narrow: the same
    for a phone, its panels below each other."""

    file: str
    title: str
    figure: Figure
    narrow: Figure
    over: str = "the number of attacked agents"
    lines: str = "method"

    def shown(self) -> Shown:
        """As the page shows it."""
        alt = f"{self.title} over {self.over}, one line per {self.lines}; the numbers are in the table below"
        return Shown(self.file, self.title, alt, drawing.svg(self.figure), drawing.svg(self.narrow))


def pictures(tables: Tables) -> list[Picture]:
    """Every figure of a report, the most telling first."""
    drawn = [Picture(m.file, m.title, figure(tables, m), figure(tables, m, narrow=True)) for m in tables.metrics]
    more = []
    if len(groups(_attacked(one_epsilon(tables.lines)))) > 1:
        wide, narrow = attack_figure(tables), attack_figure(tables, narrow=True)
        more.append(Picture("attacks", "The attacks beside each other", wide, narrow, lines="attack"))
    if not over_epsilon(tables.trained).empty:
        wide, narrow = epsilon_figure(tables), epsilon_figure(tables, narrow=True)
        more.append(Picture("epsilon", "Reward over epsilon, with most agents attacked", wide, narrow, over="epsilon"))
    return [*drawn[:1], *more, *drawn[1:]]


def figure(tables: Tables, metric: Metric = REWARD, *, paper: bool = True, narrow: bool = False) -> Figure:
    """One line per method over attacked agents, with 95 % intervals over rounds.

    A panel per attack (with one epsilon, see `tables.one_epsilon`), setting and scenario in which there is the metric;
    those of a scenario are beside each other and share an axis. Of a method with several training runs the mean of
    their means is shown, with a band for the 95 % interval over runs, and a ring for each run: see
    `tables.over_trainings`. narrow: for a phone; paper: draw Table 1 of the paper, thin and dashed, where the paper's
    protocol was played.
    """
    if metric not in tables.metrics:
        raise ValueError(f"the rows have no {metric.column}")
    lines = one_epsilon(tables.trained)
    lines = _by_method(lines[lines[metric.mean].notna()])
    runs = by_training(tables.lines) if (lines["trainings"] > 1).any() else tables.lines.iloc[:0]
    styles = _styles(lines)
    with matplotlib.rc_context(drawing.settings()):
        drawn, panels = drawing.grid(lines, PANEL, narrow)
        dashed = ""
        for panel, part in panels:
            _over_counts(panel, part, metric, attack_of(part.iloc[0]))
            if paper and _attacked(part)[f"paper_{metric.mean}"].notna().any():
                dashed = "paper"
                _paper_curves(panel, part, metric, styles)
            drawing.curves(panel, part, "attacked_agents", metric, styles)
            _runs(panel, part, runs, metric, styles)
        drawing.legend(drawn, styles, lines["trainings"], dashed, rings=True)
    return drawn


def attack_figure(tables: Tables, *, narrow: bool = False) -> Figure:
    """The attacks beside each other: a panel per scenario, setting and method, a line per attack."""
    lines = one_epsilon(tables.trained)
    lines = lines[lines["attack"].str.partition(" ")[0] != NOT_ATTACKED]
    lines = in_order(lines, ["scenario", "setting", "method"])
    lines = lines.assign(curve=lines[GROUP].apply(attack_of, axis=1))
    styles = dict(zip((attack_label(*way) for way in groups(lines)), cycle(drawing.ATTACKS)))
    with matplotlib.rc_context(drawing.settings()):
        drawn, panels = drawing.grid(lines, ["scenario", "setting", "method"], narrow)
        for panel, part in panels:
            _over_counts(panel, part, REWARD, label(part["method"].iloc[0]))
            drawing.curves(panel, part, "attacked_agents", REWARD, styles)
        drawing.legend(drawn, styles, lines["trainings"])
    return drawn


def over_epsilon(lines: pd.DataFrame) -> pd.DataFrame:
    """Of each attack that was played with several epsilons the lines with most agents attacked, and the clean ones.

    lines: of `tables.over_trainings`. Clean rounds stand at epsilon 0.
    """
    parts = [lines.iloc[:0]]
    for _, part in lines.groupby(OVER_EPSILON):
        most = _attacked(part)
        most = most[most["attacked_agents"] == most["attacked_agents"].max()]
        if most["epsilon"].nunique() > 1:
            clean = part[part["attacked_agents"] == 0].drop_duplicates("method").assign(epsilon=0.0)
            parts += [clean, most]
    return pd.concat(parts, ignore_index=True)


def epsilon_figure(tables: Tables, *, narrow: bool = False) -> Figure:
    """Mean reward over epsilon with most agents attacked; a panel per attack and scenario."""
    lines = _by_method(over_epsilon(tables.trained))
    styles = _styles(lines)
    with matplotlib.rc_context(drawing.settings()):
        drawn, panels = drawing.grid(lines, OVER_EPSILON, narrow)
        for panel, part in panels:
            first, count = part.iloc[0], part["attacked_agents"].max()
            how = unusual(*first[["norm", "features", "victims", "budget"]])
            what = ", ".join([attack_name(first["attack"]), *how, f"{count} attacked"])
            drawing.dress(panel, part, "\n".join(filter(None, (what, first["setting"]))), "epsilon", REWARD.title)
            drawing.curves(panel, part, "epsilon", REWARD, styles)
        drawing.legend(drawn, styles, lines["trainings"])
    return drawn


def _attacked(lines: pd.DataFrame) -> pd.DataFrame:
    return lines[lines["attacked_agents"] > 0]


def _by_method(lines: pd.DataFrame) -> pd.DataFrame:
    """With a curve per method, in their order."""
    return in_order(lines, [*OVER_EPSILON, "method"]).assign(curve=lambda own: own["method"].map(label))


def _styles(lines: pd.DataFrame) -> dict[str, Style]:
    return {label(method): style for method, style in drawing.method_style(lines["method"].tolist()).items()}


def _over_counts(panel: Axes, part: pd.DataFrame, metric: Metric, what: str) -> None:
    """Titles and axes of a panel over attacked agents, with a shade where a count means the whole team."""
    subtitle = "\n".join(filter(None, (what, part["setting"].iloc[0])))
    drawing.dress(panel, part, subtitle, "Attacked agents", metric.title)
    counts, team = sorted(part["attacked_agents"].unique()), int(part["team_size"].max())
    drawing.ticks(panel, counts)
    pad = max(counts[-1], 1) * 0.05
    panel.set_xlim(-pad, counts[-1] + pad)
    if counts[-1] > team:
        # The team's size itself is in the shade; the margin keeps the words off the curves.
        panel.axvspan(team - pad, counts[-1] + pad, color=drawing.LIGHT["shade"], linewidth=0, zorder=0)
        panel.margins(y=0.13)
        words = f"  whole team of {team}"
        at = panel.get_xaxis_transform()
        panel.text(team - pad, 0.98, words, transform=at, fontsize=8.5, color=drawing.LIGHT["faint"], va="top")


def _runs(panel: Axes, part: pd.DataFrame, runs: pd.DataFrame, metric: Metric, styles: dict[str, Style]) -> None:
    """A ring for each run of the methods of this panel that have several."""
    several = part.loc[part["trainings"] > 1, "method"].unique()
    here = runs[(runs[PANEL] == part[PANEL].iloc[0]).all(axis=1) & runs["method"].isin(several)]
    for method, own in here.groupby("method", sort=False):
        look: dict[str, Any] = {"facecolors": "none", "edgecolors": styles[label(str(method))][0], "linewidths": 1.2}
        panel.scatter(own["attacked_agents"], own[metric.mean], s=20, zorder=2.5, **look)


def _paper_curves(panel: Axes, part: pd.DataFrame, metric: Metric, styles: dict[str, Style]) -> None:
    """The paper's lines for the methods of this panel. A gap stays a gap."""
    for method, own in part.groupby("method", sort=False):
        name, own = label(str(method)), own.sort_values("attacked_agents")
        # Without a dot, a value between two gaps would not be seen.
        look = drawing.DASHED | {"color": styles[name][0], "marker": ".", "markersize": 5}
        panel.plot(own["attacked_agents"], own[f"paper_{metric.mean}"], label=f"{name}, paper", zorder=1.5, **look)
