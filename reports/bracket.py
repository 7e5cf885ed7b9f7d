"""The bracket: the share of decisions that an attack changed, and the share that no proof protects.

What any attack could change lies between the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from marlrobust.errors import UserError
from marlrobust.files import set_aside, write_bytes
from marlrobust.reports import drawing
from marlrobust.reports.labels import in_order, label, number, within
from marlrobust.reports.statistics import wilson_interval
from marlrobust.reports.text import aligned

TABLE = "bracket.csv"
LINE = ["scenario", "policy", "method", "opponent", "epsilon", "attack"]
SHARES = ["flipped", "flipped_low", "flipped_high", "open", "open_low", "open_high", "by_intervals"]
NUMBERS = ["epsilon", "decisions", *SHARES]


def bracket_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per cell, from rows of `rows.DecisionFacts` and `rows.Decision`, one per decision.

    flipped: share that the attack changed; open: share that is not certified; by_intervals: share that intervals alone
    certify. The ends are Wilson's 95 % over decisions drawn from the same rounds, which are not quite independent. The
    share that any attack could change lies between flipped and open.
    """
    lines = []
    for cell, part in rows.groupby("cell", sort=False):
        line = {"cell": cell, **part.iloc[0][LINE].to_dict(), "decisions": len(part)}
        for name, share in (("flipped", part["flipped"]), ("open", ~part["certified"].astype(bool))):
            low, high = wilson_interval(int(share.sum()), len(part))
            line |= {name: share.mean(), f"{name}_low": low, f"{name}_high": high}
        lines.append(line | {"by_intervals": part["by_intervals"].mean()})
    return in_order(pd.DataFrame(lines), ["scenario", "method", "policy", "opponent", "attack", "epsilon"])


def write_bracket(rows: pd.DataFrame, out: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Write bracket.csv and the figure `bracket` into `out`; returns the table, and their paths."""
    table = bracket_table(rows)
    figure = bracket_figure(table)
    files = {TABLE: table.to_csv(index=False).encode()}
    files |= {"bracket.png": drawing.png(figure), "bracket.svg": drawing.svg(figure)}
    return table, [write_bytes(out / name, content) for name, content in files.items()]


def stored_bracket(out: Path) -> tuple[pd.DataFrame | None, str]:
    """The table that `write_bracket` left in `out`, and a sentence for the report.

    None where there is no table; one that is damaged is set aside, and the sentence says so. Raises UserError where
    the file cannot be read at all.
    """
    path = out / TABLE
    try:
        table = pd.read_csv(path)
        if missing := [name for name in ["cell", *LINE, *NUMBERS] if name not in table.columns]:
            raise ValueError(f"it has no column {', '.join(missing)}")
        table = table.astype(dict.fromkeys(NUMBERS, float)).astype(dict.fromkeys(["cell", "policy", "method"], str))
        shares = (table[SHARES] >= 0) & (table[SHARES] <= 1)
        if table.empty or table[["scenario", *NUMBERS]].isna().any(axis=None) or not shares.all(axis=None):
            raise ValueError("it holds no shares of decisions")
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): change its permissions, or move it away") from None
    except (ValueError, TypeError, OverflowError) as error:
        aside = set_aside(path)
        why = " ".join(str(error).split())
        return None, f"{TABLE} is damaged ({why}) and is now {aside.name}: 'marlrobust certify' makes it again."
    return table, ""


def bracket_text(table: pd.DataFrame) -> pd.DataFrame:
    """The lines as text, for the terminal and the page; what all lines share, of opponent and attack, is left out."""
    text: dict[str, Any] = {
        "method": table["method"].map(label),
        "epsilon": table["epsilon"].map("{:g}".format),
        "changed by the attack": _within(table, "flipped"),
        "not certified": _within(table, "open"),
        "certified by intervals alone": table["by_intervals"].map(number),
    }
    about = table[["scenario", "method", "policy", "opponent", "attack", "epsilon"]]
    return about.drop(columns=_alike(table)).assign(**text)


def terminal(table: pd.DataFrame) -> str:
    """The lines as text of at most 80 columns: without what the policy's name says, and what stands in bracket.csv."""
    text = bracket_text(table).drop(columns=["method", "certified by intervals alone"]).astype(str)
    blocks = []
    for scenario, part in text.groupby("scenario", sort=False):
        columns = part.drop(columns="scenario").to_dict("list")
        blocks.append("\n".join([str(scenario), *aligned({str(name): texts for name, texts in columns.items()})]))
    return "\n\n".join(blocks)


def _alike(table: pd.DataFrame) -> list[str]:
    return [name for name in ("opponent", "attack") if table[name].nunique() == 1]


def _within(table: pd.DataFrame, name: str) -> list[str]:
    ends = table[[name, f"{name}_low", f"{name}_high"]]
    return [within(*line) for line in ends.itertuples(index=False)]


def bracket_figure(table: pd.DataFrame, narrow: bool = False) -> Figure:
    """A band per policy over epsilon, between what was changed and what is not certified; a panel per scenario.

    narrow: for a phone."""
    styles = drawing.method_style(list(table["method"].unique()))
    key = [name for name in ("policy", "opponent", "attack") if name not in _alike(table)]
    shown: dict[str, drawing.Style] = {}
    with matplotlib.rc_context(drawing.settings()):
        figure, panels = drawing.grid(table, ["scenario"], narrow)
        for panel, part in panels:
            order = sorted(part["epsilon"].unique())
            drawing.dress(panel, part, "changed to not certified", "epsilon", "Share of decisions")
            panel.set_xticks(range(len(order)), [f"{epsilon:g}" for epsilon in order])
            panel.set_ylim(-0.04, 1.04)
            for name, own in part.groupby(key, sort=False):
                own = own.sort_values("epsilon")
                colour, marker = shown[", ".join(map(str, name))] = styles[own["method"].iloc[0]]
                x = own["epsilon"].map(order.index)
                panel.fill_between(x, own["flipped"], own["open"], color=colour, alpha=0.14, linewidth=0, zorder=1)
                look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6.5, "zorder": 3}
                look["markeredgecolor"] = drawing.LIGHT["face"]
                panel.plot(x, own["flipped"], linewidth=2, **look)
                panel.plot(x, own["open"], **look | drawing.DASHED)
        drawing.legend(figure, shown, pd.Series([1]), "not certified")
    return figure
