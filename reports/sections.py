"""The page's tables: every number, the attacks beside each other, the training runs, and what is in doubt."""

from __future__ import annotations

from typing import Any

import pandas as pd

from marlrobust.metrics import REWARD, Metric
from marlrobust.reports import labels
from marlrobust.reports.cells import Cell
from marlrobust.reports.comparisons import marked
from marlrobust.reports.doubts import CHECKS, RAISED, STATES, UNCLEAR
from marlrobust.reports.labels import DASH, GROUP, attack_of, heading, label, measured, method_order, where, within
from marlrobust.reports.tables import Tables, groups, metrics_of, one_epsilon
from marlrobust.reports.text import WORDS, constant, headings, said_once, table1
from marlrobust.reports.trainings import few, improvements

CUT = 300
"""Lines of a table on the page, at most."""

PLACES = 20
"""Places that are listed for a check, at most."""


def full_table(every: pd.DataFrame) -> dict[str, Any]:
    """The lines of one scenario, ours beside the paper's; columns that say nothing, or are said once, are left out."""
    lines = every.head(CUT)
    text, columns = table1(lines), headings(lines)
    once = {"scenario", *constant(every)}
    if every["policy"].nunique() == every["method"].nunique():
        once.add("policy")
    names = [name for name in text.columns if name not in once and (text[name] != DASH).any()]
    intervals = {heading(m): m for m in metrics_of(lines)}
    body, before = [], None
    for line, words in zip(lines.to_dict("records"), text.to_dict("records"), strict=True):
        group = [line[name] for name in ("setting", *GROUP, "attacked_agents")]
        cells = [_cell(line, words[name], name, columns[name], intervals.get(name)) for name in names]
        body.append({"first": group != before, "cells": cells})
        before = group
    heads = [(name, name in WORDS) for name in names]
    return {"caption": said_once(every), "columns": heads, "body": body, "total": len(every)}


def _cell(line: dict[Any, Any], text: str, name: str, column: str, metric: Metric | None) -> dict[str, Any]:
    """Text, the small print below it (a metric's interval), its mark, and what the column sorts by."""
    value, small, mark = line[column], "", ""
    if name == "method" and value in labels.METHODS:
        value = list(labels.METHODS).index(value)
    if metric and not pd.isna(line[f"{metric.short}_low"]):
        text, small = text.partition(" [")[0], "[" + measured(line, metric).partition(" [")[2]
    if metric:
        mark = line[f"{metric.short}_mark"]
    sort = "" if pd.isna(value) else value
    return {"text": text, "small": small, "mark": mark, "sort": sort, "words": name in WORDS, "paper": "paper" in name}


def strength_table(lines: pd.DataFrame, cells: dict[str, Cell]) -> dict[str, Any]:
    """The attacks of one scenario and setting as columns: what each policy has left, the strongest attack marked.

    cells: by the column `cell`."""
    attacked = lines[lines["attacked_agents"] > 0]
    ways = groups(attacked)
    attacked = attacked.assign(mark=marked(attacked, cells, ["policy", "attacked_agents"], REWARD, wanted=-1))
    several = attacked["policy"].nunique() > attacked["method"].nunique()
    clean = lines[lines["attacked_agents"] == 0].drop_duplicates("policy", keep="last").set_index("policy")[REWARD.mean]
    body: list[dict[str, Any]] = []
    for place, own in attacked.groupby(["attacked_agents", "method", "policy"], sort=False):
        count, name, policy = place[0], label(str(place[1])), place[2]
        at = {tuple(line[name] for name in GROUP): line for line in own.to_dict("records")}
        body.append(
            {
                "count": count,
                "first": not body or body[-1]["count"] != count,
                "method": name,
                "name": f"{name} ({policy})" if several else name,
                "clean": labels.number(clean.get(policy, float("nan")), REWARD.digits),
                "cells": [_strength(at.get(way)) for way in ways],
            }
        )
    heads = [labels.attack_label(*way) for way in ways]
    return {"scenario": where(lines.iloc[0]), "heads": heads, "body": body[:CUT], "total": len(body)}


def _strength(line: dict[Any, Any] | None) -> dict[str, Any]:
    if line is None:
        return {"text": DASH, "small": DASH, "mark": "", "checks": "", "interval": ""}
    return {
        "text": labels.number(line[REWARD.mean], REWARD.digits),
        "small": _left(line),
        "mark": line["mark"],
        "checks": line["checks"],
        "interval": measured(line, REWARD).partition(" ")[2],
    }


def _left(line: dict[Any, Any]) -> str:
    """The share of the clean reward that is kept, or where there is no such thing the difference to it."""
    change = line[f"{REWARD.short}_change"]
    if not pd.isna(line[f"{REWARD.short}_kept"]) or pd.isna(change):
        return labels.percent(line[f"{REWARD.short}_kept"])
    return f"{change:+.{REWARD.digits}f}"


def training_table(tables: Tables, over_runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The methods that have several training runs, a line per metric: each run's mean, and what all together say.

    over_runs: of `trainings.over_runs`."""
    shown = one_epsilon(over_runs)
    body = []
    for line in shown[shown["trainings"] > 1].to_dict("records"):
        about = {"scenario": where(line), "attack": attack_of(line) if line["attacked_agents"] else "not attacked"}
        about |= {"attacked": line["attacked_agents"], "method": label(line["method"])}
        for m in (m for m in tables.metrics if isinstance(line.get(f"{m.short}_runs"), str)):
            iqm, low, high = (line[f"{m.short}_iqm{end}"] for end in ("", "_low", "_high"))
            told = {"what": heading(m), "each run": line[f"{m.short}_runs"]}
            told |= {"mean over runs": measured(line, m, over="_train"), "mean over rounds": measured(line, m)}
            body.append({**about, **told, "middle half of runs": within(iqm, low, high, m.digits)})
    return body


def ranking(tables: Tables) -> dict[str, Any]:
    """Which methods train better policies, where enough of each were trained; else why nothing is said."""
    found = improvements(tables, REWARD)
    lines = [
        {
            "scenario": where(line),
            "attack": attack_of(line) if line["attacked_agents"] else "not attacked",
            "attacked": line["attacked_agents"],
            "a run of": label(line["better"]),
            "earns more than one of": label(line["other"]),
            "in": within(line["probability"], line["low"], line["high"]),
            "so": "better" if line["low"] > 0.5 else "not told apart",
        }
        for line in found.to_dict("records")
    ]
    return {"lines": lines, "few": [label(method) for method in method_order(few(tables))]}


def doubts(lines: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The `CHECKS` of the attacked lines by their state: raised, too few rounds to tell, passed, or not run."""
    attacked = lines[lines["attacked_agents"] > 0].drop_duplicates("cell")
    at = {
        state: attacked[column].str.get_dummies("; ").reindex(columns=list(CHECKS), fill_value=0) > 0
        for column, state in STATES.items()
    }
    found: dict[str, list[dict[str, Any]]] = {state: [] for state in (*STATES.values(), "not run")}
    for name, check in CHECKS.items():
        state = next((state for state in at if at[state][name].any()), "not run")
        made = sum(int(of[name].sum()) for of in at.values())
        told: dict[str, Any] = {"name": name, "meaning": check.meaning, "run": check.run}
        told |= {"made": f"made on {made} of {len(attacked)} attacked lines", "open": int(at[UNCLEAR][name].sum())}
        told["places"] = _places(attacked[at[RAISED][name]])
        found[state].append(told)
    return found


def _places(lines: pd.DataFrame) -> list[str]:
    """`battle, MFAC, PGD, ε = 0.075: 8, 16 attacked`."""
    places = []
    for _, part in lines.groupby(["scenario", "setting", "policy", "method", *GROUP], sort=False):
        line = part.iloc[0]
        who = label(line["method"]) + ("" if line["policy"] == line["method"] else f" ({line['policy']})")
        counts = ", ".join(map(str, part["attacked_agents"]))
        places.append(f"{where(line)}, {who}, {attack_of(line)}: {counts} attacked")
    more = len(places) - PLACES
    return [*places[:PLACES], *([f"and {more} more: see the column checks of table.csv"] if more > 0 else [])]
