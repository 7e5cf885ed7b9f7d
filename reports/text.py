"""The lines of a table as text: all of it for the page, what fits 80 columns for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from marlrobust.reports.labels import DASH, GROUP, USUAL, attack_name, label, number, spread, within
from marlrobust.reports.tables import metrics_of
from marlrobust.rows import NOT_ATTACKED, WIN, Metric

WIDTH = 80
"""Columns of a terminal."""

MOST = 60
"""Lines of a scenario that the terminal shows."""

Line = dict[Any, Any]


def heading(metric: Metric) -> str:
    """`win rate`, `reward`."""
    return metric.mean.removesuffix("_mean").replace("_", " ")


def shown(metrics: Sequence[Metric]) -> dict[str, tuple[str, Callable[[Line], str]]]:
    """Heading to the column of `tables.table` by which it sorts, and to the text of a line."""
    found: dict[str, tuple[str, Callable[[Line], str]]] = {
        "scenario": ("scenario", lambda line: str(line["scenario"])),
        "setting": ("setting", lambda line: line["setting"] or DASH),
        "attack": ("attack", lambda line: str(line["attack"])),
        "epsilon": ("epsilon", lambda line: f"{line['epsilon']:g}"),
        "norm": ("norm", lambda line: str(line["norm"])),
        "features": ("features", lambda line: str(line["features"])),
        "victims": ("victims", lambda line: str(line["victims"])),
        "budget": ("budget", lambda line: str(line["budget"] or DASH)),
        "attacked": ("attacked_agents", lambda line: str(line["attacked_agents"])),
        "method": ("method", lambda line: label(line["method"])),
        "policy": ("policy", lambda line: str(line["policy"])),
        "rounds": ("rounds", lambda line: str(line["rounds"])),
    }
    for metric in metrics:
        found[heading(metric)] = metric.mean, lambda line, m=metric: measured(line, m)  # type: ignore[misc]
        found[f"{heading(metric)} (paper)"] = (
            f"paper_{metric.mean}",
            lambda line, m=metric: measured(line, m, "paper_"),  # type: ignore[misc]
        )
    if WIN in metrics:
        found["draws"] = "draw_rate", lambda line: number(line["draw_rate"])
    return found | {
        "decisions": ("decisions", lambda line: str(line["decisions"] or DASH)),
        "flips": ("flip_rate", lambda line: number(line["flip_rate"])),
        "steps": ("steps_mean", lambda line: number(line["steps_mean"], 0)),
        "checks": ("checks", lambda line: line["checks"] or DASH),
    }


def measured(line: Line, metric: Metric, whose: str = "") -> str:
    """A share with its interval, anything else with its standard deviation; the paper gives no intervals."""
    mean = line[f"{whose}{metric.mean}"]
    if not metric.share:
        return spread(mean, line[f"{whose}{metric.short}_std"])
    return number(mean) if whose else within(mean, line[f"{metric.short}_low"], line[f"{metric.short}_high"])


def table1(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of `tables.table` as text; what is not known is an en dash."""
    columns = shown(metrics_of(lines))
    told = [[text(line) for _, text in columns.values()] for line in lines.to_dict("records")]
    return pd.DataFrame(told, columns=list(columns), dtype="str")


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
    lines = lines.assign(
        **{name: lines[name].astype(object).fillna("") for name in ("setting", "checks")}
    )  # from a CSV
    blocks = [_block(part) for _, part in lines.groupby("scenario", sort=False)]
    return "\n\n".join([*blocks, "Brackets are 95 % intervals over rounds. All columns are in table.csv."])


def _block(lines: pd.DataFrame) -> str:
    every, metrics = shown(metrics_of(lines)), metrics_of(lines)
    same, records = constant(lines), lines.head(MOST).to_dict("records")
    about = [name for name in ("setting", *GROUP) if name not in same]
    if len({(line["policy"], line["method"]) for line in records}) > len({line["method"] for line in records}):
        who = ["policy"]
    else:
        who = ["method"]
    names = [*about, "attacked", *who, *(["rounds"] if "rounds" not in same else [])]
    columns = {name: [every[name][1](line) for line in records] for name in names}
    numbers = {
        heading(m): [
            within(line[m.mean], line[f"{m.short}_low"], line[f"{m.short}_high"], m.digits) for line in records
        ]
        for m in metrics[:2]
    }
    numbers["flips"] = [every["flips"][1](line) for line in records]
    numbers |= {heading(m): [number(line[m.mean], m.digits) for line in records] for m in metrics[2:]}
    first = heading(metrics[0])
    numbers[first] = [text + "?" * bool(line["checks"]) for text, line in zip(numbers[first], records, strict=True)]
    shorten(columns, WIDTH - 3 - _width({first: numbers[first]}))
    for name, texts in numbers.items():
        if _width(columns | {name: texts}) < WIDTH:
            columns[name] = texts
    words = {"setting", "attack", "norm", "features", "victims", "method", "policy"}
    told = [textwrap.fill(said_once(lines), WIDTH - 1), *aligned(columns, words)]
    if len(lines) > MOST:
        told.append(f"… and {len(lines) - MOST} more lines")
    if doubted := sorted({name for line in records for name in line["checks"].split("; ") if name}):
        told.append(textwrap.fill(f"? is doubted, see Doubts in the report: {', '.join(doubted)}", WIDTH - 1))
    return "\n".join(told)


def _width(columns: dict[str, list[str]]) -> int:
    return sum(max(map(len, [name, *texts])) + 2 for name, texts in columns.items()) - 2


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


def aligned(columns: dict[str, list[str]], words: set[str]) -> list[str]:
    """Columns of words to the left, of numbers to the right."""
    padded = []
    for name, texts in columns.items():
        wide = max(map(len, [name, *texts]))
        padded.append([text.ljust(wide) if name in words else text.rjust(wide) for text in (name, *texts)])
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
