"""The page's tables: every number, the attacks beside each other, the training runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from marlrobust.reports.labels import DASH, GROUP, METHODS, attack_label, label, number, percent, within
from marlrobust.reports.tables import groups, metrics_of
from marlrobust.reports.text import constant, heading, said_once, shown, table1
from marlrobust.rows import REWARD, Metric

CUT = 300
"""Lines of a table on the page, at most."""

LETTERS = {"attack", "setting", "norm", "features", "victims", "method", "policy", "checks"}
"""Columns of words, not numbers."""


def more(lines: pd.DataFrame, name: str) -> str:
    """A sentence about lines that are not shown; empty where all are."""
    return f"{CUT} of {len(lines)} lines are shown here; all of them are in {name}." if len(lines) > CUT else ""


def full_table(lines: pd.DataFrame) -> dict[str, Any]:
    """The lines of one scenario, ours beside the paper's; columns that say nothing, or are said once, are left out."""
    every = lines
    lines = lines.head(CUT)
    text, columns = table1(lines), shown(metrics_of(lines))
    once = {"scenario", *constant(every)}
    if every["policy"].nunique() == every["method"].nunique():
        once.add("policy")
    names = [name for name in text.columns if name not in once and (text[name] != DASH).any()]
    intervals = {heading(m): m for m in metrics_of(lines)}
    body, before = [], None
    for line, words in zip(lines.to_dict("records"), text.to_dict("records"), strict=True):
        group = [line[name] for name in ("setting", *GROUP, "attacked_agents")]
        cells = [_cell(line, str(words[name]), name, columns[name][0], intervals.get(name)) for name in names]
        body.append({"first": group != before, "cells": cells})
        before = group
    heads = [(name, name in LETTERS) for name in names]
    return {"caption": said_once(every), "columns": heads, "body": body, "more": more(every, "table.csv")}


def _cell(line: dict[Any, Any], text: str, name: str, column: str, metric: Metric | None) -> dict[str, Any]:
    """Text, the small print below it (a metric's interval), and what the column sorts by."""
    value, small = line[column], ""
    if name == "method":
        value = list(METHODS).index(value) if value in METHODS else value
    if metric is not None and not pd.isna(line[f"{metric.short}_low"]):
        ends = (number(line[f"{metric.short}_{end}"], metric.digits) for end in ("low", "high"))
        text, small = text.partition(" [")[0], f"[{', '.join(ends)}]"
    sort = "" if pd.isna(value) else value
    return {"text": text, "small": small, "sort": sort, "words": name in LETTERS, "paper": "paper" in name}


def strength_table(lines: pd.DataFrame) -> dict[str, Any]:
    """The attacks of one scenario and setting as columns: what each policy has left, the strongest attack marked."""
    attacked = lines[lines["attacked_agents"] > 0]
    ways = groups(attacked)
    several = attacked["policy"].nunique() > attacked["method"].nunique()
    clean = {line["policy"]: line[REWARD.mean] for line in lines[lines["attacked_agents"] == 0].to_dict("records")}
    body, before = [], None
    for (count, method, policy), own in attacked.groupby(["attacked_agents", "method", "policy"], sort=False):
        at = {tuple(line[name] for name in GROUP): line for line in own.to_dict("records")}
        name = f"{label(str(method))} ({policy})" if several else label(str(method))
        body.append(
            {
                "count": count,
                "first": count != before,
                "method": label(str(method)),
                "name": name,
                "clean": number(clean.get(policy, float("nan")), REWARD.digits),
                "cells": [_strength(at.get(way), own, len(at)) for way in ways],
            }
        )
        before = count
    title = ", ".join(filter(None, lines[["scenario", "setting"]].iloc[0]))
    heads = [attack_label(*way) for way in ways]
    return {"scenario": title, "heads": heads, "body": body[:CUT], "more": more(pd.DataFrame(body), "strength.csv")}


def _strength(line: dict[Any, Any] | None, own: pd.DataFrame, attacks: int) -> dict[str, Any]:
    """One attack's cell; own: the lines of all attacks, of which the strongest is marked."""
    if line is None:
        return {"text": DASH, "small": DASH, "most": False, "checks": "", "interval": ""}
    mean = line[REWARD.mean]
    return {
        "text": number(mean, REWARD.digits),
        "small": percent(line["reward_kept"]),
        "most": attacks > 1 and mean == own[REWARD.mean].min(),
        "checks": line["checks"],
        "interval": within(mean, line["reward_low"], line["reward_high"], REWARD.digits),
    }


def training_table(trained: pd.DataFrame, metrics: Sequence[Metric]) -> dict[str, Any]:
    """The methods that have several training runs: their means, with intervals over runs and over rounds."""
    every = trained[trained["trainings"] > 1]
    body = []
    for line in every.head(CUT).to_dict("records"):
        cells = [
            within(line[m.mean], line[f"{m.short}{by}_low"], line[f"{m.short}{by}_high"], m.digits)
            for m in metrics
            for by in ("_train", "")
        ]
        where = ", ".join(filter(None, (line["scenario"], line["setting"])))
        words = [where, attack_label(*(line[name] for name in GROUP)), label(line["method"])]
        body.append({"words": words, "numbers": [line["attacked_agents"], line["trainings"], *cells]})
    what = [f"{heading(m)}, over {by}" for m in metrics for by in ("runs", "rounds")]
    return {
        "words": ["scenario", "attack", "method"],
        "numbers": ["attacked", "runs", *what],
        "body": body,
        "more": more(every, "trainings.csv"),
    }
