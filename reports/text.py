"""The lines of a table as text: all of it for the page, what fits 80 columns for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from marlrobust.metrics import WIN, Metric
from marlrobust.reports.comparisons import LEVEL
from marlrobust.reports.labels import DASH, GROUP, USUAL, attack_name, heading, label, measured, number
from marlrobust.reports.tables import metrics_of
from marlrobust.rows import NOT_ATTACKED

WIDTH = 80
"""Columns of a terminal."""

MOST = 60
"""Lines of a scenario that the terminal shows."""

DIFFERS = "attack changes"
"""What the same rounds without the attack have otherwise, as far as paired tests tell."""

WORDS = {
    *("scenario", "setting", "attack", "norm", "features", "victims", "method", "policy", "opponent", "checks"),
    DIFFERS,
}
"""Columns of words, not numbers."""

FORMATS: dict[str, Callable[[Any], str]] = {
    "epsilon": "{:g}".format,
    "method": label,
    "draws": number,
    "flips": number,
    "moved": number,
    "proven": number,
    "steps": lambda steps: number(steps, 0),
    **dict.fromkeys(("setting", "budget", "decisions", "checks"), lambda value: str(value or DASH)),
}
"""How the columns of a text are written, but for metrics and what is text or a whole number already."""


def headings(lines: pd.DataFrame) -> dict[str, str]:
    """Heading of each column of `table1` to the column of `tables.table` that it shows."""
    metrics = metrics_of(lines)
    found = {name: name for name in ("scenario", "setting", *GROUP)}
    found |= {"attacked": "attacked_agents", "method": "method", "policy": "policy", "rounds": "rounds"}
    for m in metrics:
        found |= {heading(m): m.mean, f"{heading(m)} (paper)": f"paper_{m.mean}"}
    found[DIFFERS] = f"{metrics[0].short}_p"
    draws = {"draws": "draw_rate"} if WIN in metrics else {}
    turned = {name: column for name, column in TURNED.items() if shown(lines, column)}
    return found | draws | {"decisions": "decisions", **turned, "steps": "steps_mean", "checks": "checks"}


TURNED = {"flips": "flip_rate", "moved": "displacement", "proven": "proven_rate"}
"""What an attack did to decisions: to choices, and to vectors; and what no attack can do."""


def shown(lines: pd.DataFrame, column: str) -> bool:
    """Whether the column has anything to show; of choices it is shown in any case, where there are no vectors."""
    vectors = "displacement" in lines.columns
    return column in lines.columns and (not vectors or bool(lines[column].notna().any()))


def table1(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of `tables.table` as text; what is not known is an en dash.

    A share has its interval, any other metric its standard deviation; the paper gives no intervals.
    """
    metrics = metrics_of(lines)
    text = {name: lines[column].map(FORMATS.get(name, str)) for name, column in headings(lines).items()}
    for m in metrics:
        for name, whose in ((heading(m), ""), (f"{heading(m)} (paper)", "paper_")):
            means = lines[f"{whose}{m.mean}"].map(number)
            if not m.share:
                spread = " ± " + lines[f"{whose}{m.short}_std"].map(number)
                text[name] = means + spread.where(means != DASH, "")
            else:
                text[name] = means if whose else lines.apply(measured, axis=1, metric=m)
    text[DIFFERS] = lines.apply(_changed, axis=1, metrics=metrics)
    return pd.DataFrame(text, dtype="str").reset_index(drop=True)


def _changed(line: Any, metrics: Sequence[Metric]) -> str:
    """`reward, kills`: the metrics of which a test, corrected for all lines, says that the attack changes them."""
    return ", ".join(heading(m) for m in metrics if line[f"{m.short}_p"] < LEVEL) or DASH


def constant(lines: pd.DataFrame) -> list[str]:
    """The columns about setting, attack and rounds that are the same in all lines: said once, not in each."""
    return [name for name in ("setting", *GROUP, "rounds") if lines[name].nunique() == 1]


def said_once(lines: pd.DataFrame) -> str:
    """`battle, PGD, epsilon 0.075, 50 rounds per line`: what all lines share, but for what is usual."""
    line, same = lines.iloc[0], constant(lines)
    words = [str(line["scenario"])]
    if "setting" in same and line["setting"]:
        words.append(line["setting"])
    if "attack" in same:
        words.append("not attacked" if line["attack"] == NOT_ATTACKED else attack_name(line["attack"]))
    if "epsilon" in same and line["epsilon"]:
        words.append(f"epsilon {line['epsilon']:g}")
    words += [f"{name} {line[name]}" for name, usual in USUAL.items() if name in same and line[name] != usual]
    return ", ".join([*words, *([f"{rounds_of(lines)} per line"] if "rounds" in same else [])])


def rounds_of(lines: pd.DataFrame) -> str:
    """`50 rounds`, or `6 to 50 rounds`."""
    low, high = int(lines["rounds"].min()), int(lines["rounds"].max())
    many = str(low) if low == high else f"{low} to {high}"
    return f"{many} round" if high == 1 else f"{many} rounds"


def terminal(lines: pd.DataFrame) -> str:
    """The lines as text of at most `WIDTH` columns, each scenario under a sentence of what its lines share.

    What does not fit is left out: all of it stands in table.csv.
    """
    empty = {name: lines[name].astype(object).fillna("") for name in ("setting", "checks")}  # NaN, from a CSV
    blocks = [_block(part) for _, part in lines.assign(**empty).groupby("scenario", sort=False)]
    return "\n\n".join([*blocks, "Brackets are 95 % intervals over rounds. All columns are in table.csv."])


def _block(every: pd.DataFrame) -> str:
    same, metrics, lines = constant(every), metrics_of(every), every.head(MOST)
    text = table1(lines)
    about = [name for name in ("setting", *GROUP) if name not in same]
    who = "policy" if len(lines[["policy", "method"]].drop_duplicates()) > lines["method"].nunique() else "method"
    names = [*about, "attacked", who, *(["rounds"] if "rounds" not in same else [])]
    columns = {name: text[name].tolist() for name in names}
    records = lines.to_dict("records")
    numbers = {heading(m): [measured(line, m) for line in records] for m in metrics[:2]}
    numbers |= {name: text[name].tolist() for name in TURNED if name in text}
    numbers |= {heading(m): [number(mean, m.digits) for mean in lines[m.mean]] for m in metrics[2:]}
    first = heading(metrics[0])
    numbers[first] = [told + "?" * bool(line["checks"]) for told, line in zip(numbers[first], records, strict=True)]
    shorten(columns, WIDTH - 3 - _width({first: numbers[first]}))
    for name, texts in numbers.items():
        if _width(columns | {name: texts}) < WIDTH:
            columns[name] = texts
    told = [textwrap.fill(said_once(every), WIDTH - 1), *aligned(columns)]
    if len(every) > MOST:
        told.append(f"… and {len(every) - MOST} more lines")
    if doubted := sorted(set("; ".join(lines["checks"]).split("; ")) - {""}):
        told.append(textwrap.fill(f"? is doubted, see Doubts in the report: {', '.join(doubted)}", WIDTH - 1))
    return "\n".join(told)


def _wide(name: str, texts: list[str]) -> int:
    return max(map(len, [name, *texts]))


def _width(columns: dict[str, list[str]]) -> int:
    return sum(_wide(*column) + 2 for column in columns.items()) - 2


def shorten(columns: dict[str, list[str]], room: int) -> None:
    """Cut the longest texts, in their middle, until the columns fit into `room`."""
    while _width(columns) > room:
        widest = max(columns, key=lambda name: max(map(len, columns[name])))
        limit = max(map(len, columns[widest])) - 1
        if limit < 8:
            return
        half = limit // 2
        columns[widest] = [
            text if len(text) <= limit else f"{text[: limit - half - 1]}…{text[-half:]}" for text in columns[widest]
        ]


def aligned(columns: dict[str, list[str]]) -> list[str]:
    """Columns of words to the left, of numbers to the right."""
    padded = []
    for name, texts in columns.items():
        wide = _wide(name, texts)
        padded.append([text.ljust(wide) if name in WORDS else text.rjust(wide) for text in (name, *texts)])
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
