"""The report: one HTML file with everything inside, which asks nothing of the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from marlrobust.reports import figures
from marlrobust.reports.bracket import bracket_figure, bracket_text
from marlrobust.reports.checks import CHECKS
from marlrobust.reports.tables import (
    DASH,
    GROUP,
    METHODS,
    SHOWN,
    USUAL,
    attack_label,
    groups,
    label,
    method_order,
    number,
    over_trainings,
    table1,
    within,
)

STANDS, FALLS = 0.9, 0.6
"""Share of its clean reward with which a method stands, and below which it falls."""

FIGURES = {
    "reward": "Average total reward (Figure 4)",
    "win": "Win rate",
    "kills": "Average kills",
}

FACTS = {
    "command": "Command",
    "seeds": "Seeds",
    "rounds": "Rounds a line",
    "steps": "Steps a round",
    "victims": "Attacked agents",
    "greedy": "Agents act",
    "features": "Perturbed part of the state",
    "norm": "Norm",
}
"""Key of `about` to what the page calls it."""

APART = ["title", "date", "summary", "config", "notes", "policies", "versions"]
"""Keys of `about` that have their own place on the page."""


def render(
    rows: pd.DataFrame, table: pd.DataFrame, about: Mapping[str, Any], bracket: pd.DataFrame | None = None
) -> str:
    """The page. rows: one a round; table: `tables.table(rows)`; about: what was run, every key optional; bracket:
    `bracket.bracket_table` of the same policies.

    title, date, summary (str); command (str); config (YAML text); seeds, rounds, steps, victims, features,
    norm (str, number, list or dict); greedy (bool or str); notes (list of sentences);
    policies (list of dicts); versions (dict). Other keys are listed too: nothing given is left out.
    """
    loader = jinja2.PackageLoader("marlrobust.reports", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    styles = figures.method_style(list(table["method"].unique()))
    return environment.get_template("report.html.j2").render(
        title=about.get("title", "Robustness report"),
        date=about.get("date", date.today().isoformat()),
        summary=about.get("summary") or summary(table),
        cards=[headline(rows, table, scenario) for scenario in table["scenario"].unique()],
        colours={label(method): colour for method, (colour, _) in styles.items()},
        stands=f"{100 * STANDS:.0f}",
        falls=f"{100 * FALLS:.0f}",
        doubts=doubts(table),
        trainings=training_table(table),
        pictures=_pictures(rows, table),
        strengths=[strength_table(table, scenario) for scenario in _several(table)],
        tables=[full_table(table[table["scenario"] == name]) for name in table["scenario"].unique()],
        bracket=None if bracket is None else _bracket(bracket),
        facts=_facts(rows, about),
        config=about.get("config", ""),
        notes=[*about.get("notes", []), *_own_notes(table), *_searches(rows)],
        policies=_grid(about.get("policies", [])),
        versions={str(key): _text(value) for key, value in about.get("versions", {}).items()},
    )


def summary(table: pd.DataFrame) -> str:
    """One sentence: what was measured."""
    counts = table["attacked_agents"]
    attacks = [attack_label(*pair) for pair in groups(table[table["attack"] != "none"])]
    methods = ", ".join(map(label, method_order(table["method"])))
    what = f"{methods} in {' and '.join(table['scenario'].unique())}, {_rounds(table)} a line"
    if not attacks:
        return f"{what}, not attacked."
    return f"{what}, with {counts.min()} to {counts.max()} agents under {'; '.join(attacks)}."


def headline(rows: pd.DataFrame, table: pd.DataFrame, scenario: str) -> dict[str, Any]:
    """Who stands, who falls: clean against the most attacked agents, under the attack that hurts most."""
    lines = table[table["scenario"] == scenario]
    most = int(lines["attacked_agents"].max())
    sizes = rows.loc[rows["scenario"] == scenario, "team_size"] if "team_size" in rows.columns else None
    team = int(sizes.max()) if sizes is not None and sizes.notna().any() else None
    whole = team is not None and most >= team
    several = lines["policy"].nunique() > lines["method"].nunique()
    return {
        "scenario": scenario,
        "heading": f"all {team} attacked" if whole else f"{most} attacked" if most else "not attacked",
        "attacked": most > 0,
        "wins": bool(lines["win_rate"].notna().any()),
        "name_attack": len(groups(lines)) > 1,
        "lines": [
            _fate(lines[lines["policy"] == policy], most, policy if several else "")
            for policy in lines["policy"].unique()
        ],
    }


def _fate(lines: pd.DataFrame, most: int, policy: str) -> dict[str, Any]:
    """One policy of the headline."""
    fate: dict[str, Any] = {"method": label(lines["method"].iloc[0]), "policy": policy, "attack": ""}
    clean = lines[lines["attacked_agents"] == 0]
    hurt = lines[(lines["attacked_agents"] == most) & (most > 0)]
    before = clean.iloc[0] if len(clean) else None
    after = hurt.sort_values("reward_mean").iloc[0] if len(hurt) else None
    for name, line in (("clean", before), ("hurt", after)):
        fate[f"{name}_win"] = DASH if line is None else within(line.win_rate, line.win_low, line.win_high)
        fate[f"{name}_reward"] = DASH if line is None else number(line.reward_mean, 1)
    fate["kept"] = fate["paper"] = None
    fate["checks"] = "" if after is None else after.checks
    if before is not None and after is not None:
        fate["attack"] = attack_label(*after[GROUP])
        fate["kept"] = _kept(before.reward_mean, after.reward_mean)
        fate["paper"] = _kept(before.paper_reward_mean, after.paper_reward_mean)
    return fate | {"verdict": _verdict(fate["kept"])}


def _verdict(kept: float | None) -> str:
    if kept is None:
        return ""
    return "stands" if kept >= STANDS else "bends" if kept >= FALLS else "falls"


def _kept(clean: float, attacked: float) -> float | None:
    """Share of the clean reward that is left; None where a share has no meaning."""
    return float(attacked / clean) if pd.notna(clean) and pd.notna(attacked) and clean > 0 else None


def full_table(lines: pd.DataFrame) -> dict[str, Any]:
    """Every line of one scenario, ours beside the paper's; columns that say nothing are left out."""
    text = table1(lines)
    said = [name for name in text.columns if name != "scenario" and (text[name] != DASH).any()]
    if lines["policy"].nunique() == lines["method"].nunique():
        said.remove("policy")
    caption = lines["scenario"].iloc[0]
    ways = groups(lines)
    if len(ways) == 1:
        caption += f": {attack_label(*ways[0])}"
    alike = [name for name in GROUP if lines[name].nunique() == 1 and (len(ways) == 1 or name in ("victims", "budget"))]
    if len(ways) > 1:  # what all lines share, and is not as usual, is said once
        caption += "".join(f", {name} {lines[name].iloc[0]}" for name in alike if lines[name].iloc[0] != USUAL[name])
    said = [name for name in said if name not in alike]
    if lines["rounds"].nunique() == 1:
        said.remove("rounds")
        caption += f", {_rounds(lines)} a line"
    body = []
    before = None
    for line, shown in zip(lines.to_dict("records"), text.to_dict("records"), strict=True):
        group = [line[name] for name in (*GROUP, "attacked_agents")]
        body.append({"first": group != before, "cells": [_cell(line, shown, name) for name in said]})
        before = group
    return {"caption": caption, "columns": [(name, name in LETTERS) for name in said], "body": body}


def _several(table: pd.DataFrame) -> list[str]:
    """The scenarios in which several attacks can be set beside each other."""
    attacked = table[table["attacked_agents"] > 0]
    return [name for name in attacked["scenario"].unique() if len(groups(attacked[attacked["scenario"] == name])) > 1]


def strength_table(table: pd.DataFrame, scenario: str) -> dict[str, Any]:
    """The attacks of one scenario as columns: what each policy is left with, the strongest attack of a row marked."""
    lines = table[table["scenario"] == scenario]
    attacked = lines[lines["attacked_agents"] > 0]
    clean = lines[lines["attacked_agents"] == 0].groupby("policy")["reward_mean"].first()
    ways = groups(attacked)
    several = attacked["policy"].nunique() > attacked["method"].nunique()
    body = []
    before = None
    for (count, method, policy), own in attacked.groupby(["attacked_agents", "method", "policy"], sort=False):
        at = {tuple(line[name] for name in GROUP): line for line in own.to_dict("records")}
        least = own["reward_mean"].min()
        cells = []
        for way in ways:
            line = at.get(way)
            kept = _kept(clean.get(policy, float("nan")), line["reward_mean"]) if line else None
            cells.append(
                {
                    "text": number(line["reward_mean"], 1) if line else DASH,
                    "small": DASH if kept is None else f"{100 * kept:.0f} %",
                    "most": line is not None and len(at) > 1 and line["reward_mean"] == least,
                    "checks": line["checks"] if line else "",
                    "interval": within(line["reward_mean"], line["reward_low"], line["reward_high"], 1) if line else "",
                }
            )
        name = f"{label(str(method))} ({policy})" if several else label(str(method))
        unhurt = number(clean.get(policy, float("nan")), 1)
        first = count != before
        body.append({"count": count, "first": first, "method": label(str(method)), "name": name,
                     "clean": unhurt, "cells": cells})  # fmt: skip
        before = count
    return {"scenario": scenario, "heads": [attack_label(*way) for way in ways], "body": body}


LETTERS = ("attack", "victims", "method", "policy", "checks")
"""Columns of words, not numbers."""


def _cell(line: dict[Any, Any], shown: dict[Any, Any], name: str) -> dict[str, Any]:
    """Text, the small print below it, and what the column sorts by."""
    value = line[SHOWN[name]]
    if name == "method":
        value = list(METHODS).index(value) if value in METHODS else value
    text, small = str(shown[name]), ""
    if name == "reward" and pd.notna(line["reward_low"]):
        small = f"[{line['reward_low']:.1f}, {line['reward_high']:.1f}]"
    if name == "win rate" and " [" in text:
        text, _, rest = text.partition(" [")
        small = f"[{rest}"
    sort = "" if pd.isna(value) else value
    return {"text": text, "small": small, "sort": sort, "words": name in LETTERS, "paper": "paper" in name}


def training_table(table: pd.DataFrame) -> dict[str, Any]:
    """The methods that have several training runs: their means, with intervals over runs and over rounds."""
    lines = over_trainings(table)
    lines = lines[lines["trainings"] > 1]
    won = bool(lines["win_rate"].notna().any())
    body = []
    for line in lines.to_dict("records"):
        cells = [
            within(line["reward_mean"], line[f"reward{by}_low"], line[f"reward{by}_high"], 1) for by in ("_train", "")
        ]
        if won:
            cells += [within(line["win_rate"], line[f"win{by}_low"], line[f"win{by}_high"]) for by in ("_train", "")]
        words = [line["scenario"], attack_label(*(line[name] for name in GROUP)), label(line["method"])]
        body.append({"words": words, "numbers": [line["attacked_agents"], line["trainings"], *cells]})
    what = [f"{name}, over {by}" for name in ("reward", "win rate")[: 1 + won] for by in ("runs", "rounds")]
    return {"words": ["scenario", "attack", "method"], "numbers": ["attacked", "runs", *what], "body": body}


def doubts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Every check: its name, its sentence, and the lines on which it is raised, each policy and attack once."""
    return [
        {"name": name, "sentence": sentence, "places": _places(table[[name in c.split("; ") for c in table["checks"]]])}
        for name, sentence in CHECKS.items()
    ]


def _places(lines: pd.DataFrame) -> list[str]:
    """`battle, MFAC, PGD, ε = 0.075: 8, 16 attacked`."""
    places = []
    for _, part in lines.groupby(["scenario", "policy", "method", *GROUP], sort=False):
        line = part.iloc[0]
        who = (
            label(line["method"]) if line["policy"] == line["method"] else f"{label(line['method'])} ({line['policy']})"
        )
        counts = ", ".join(map(str, part["attacked_agents"]))
        places.append(f"{line['scenario']}, {who}, {attack_label(*line[GROUP])}: {counts} attacked")
    return places


def _pictures(rows: pd.DataFrame, table: pd.DataFrame) -> list[dict[str, str]]:
    """Each figure for a light and a dark page; a figure without a number is left out."""
    pictures = []
    drawn = [
        (title, "a line for each method", partial(figures.figure, rows, metric, table))
        for metric, title in FIGURES.items()
        if table[figures.METRICS[metric].mean].notna().any()
    ]
    if _several(table):
        drawn.insert(
            1, ("The attacks beside each other", "a line for each attack", partial(figures.attack_figure, rows, table))
        )
    for title, what, draw in drawn:
        pictures.append({"title": title, "what": what, **_both(draw)})
    return pictures


def _both(draw: Callable[..., Figure]) -> dict[str, str]:
    """A figure for a light and a dark page."""
    return {name: base64.b64encode(figures.svg(draw(dark=name == "dark"))).decode() for name in ("light", "dark")}


def _bracket(table: pd.DataFrame) -> dict[str, Any]:
    return {
        **_both(partial(bracket_figure, table)),
        **_grid(_records(bracket_text(table))),
    }


def _facts(rows: pd.DataFrame, about: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """(name, value, is code): what was run; what `about` does not say, the rows may."""
    facts = []
    for key, name in FACTS.items():
        value = about.get(key)
        if value is None and key in rows.columns and key != "steps":
            value = sorted({_text(item) for item in rows[key].dropna()} - {"{}"})  # the clean cells have no attack
        if key == "greedy":
            value = {"True": "greedily (argmax)", "False": "by sampling from their policy"}.get(_text(value), value)
        if value not in (None, [], ""):
            facts.append((name, _text(value), key == "command"))
    facts += [(f"Parameters of {attack}", text, False) for attack, text in _parameters(rows)]
    others = [key for key in about if key not in FACTS and key not in APART]
    return facts + [(key.replace("_", " ").capitalize(), _text(about[key]), False) for key in others]


def _parameters(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(attack, its own parameters), a line for each set of them; the threat has its own place on the page."""
    if "attack_parameters" not in rows.columns:
        return []
    used = rows.loc[rows["attack"] != "none", ["attack", "attack_parameters"]].drop_duplicates()
    lines = []
    for attack, parameters in sorted(used.itertuples(index=False, name=None)):
        own = {k: v for k, v in json.loads(parameters).items() if k != "threat" and v is not None}
        lines.append((attack, _text(own)))
    return [line for line in dict.fromkeys(lines) if line[1]]


def _own_notes(table: pd.DataFrame) -> list[str]:
    """What the reader must know and the lines themselves tell."""
    notes = []
    silent = [name for name in table["scenario"].unique() if _no_winner(table, name)]
    if silent:
        notes.append(f"Nobody died in {', '.join(silent)}: there are no wins and no kills to show.")
    trained = over_trainings(table)
    runs = set(trained.loc[trained["trainings"] > 1, "method"])
    if runs:
        notes.append(
            f"Figures show the mean of the training runs of {', '.join(map(label, method_order(list(runs))))}: "
            "rounds of several runs are never pooled."
        )
    named = set(table.loc[~table["method"].isin(trained["method"]), "method"])
    if named:
        notes.append(
            f"The policies of {', '.join(map(label, sorted(named)))} have equal or unknown training seeds: they are no "
            "runs of one training, and figures show each by its name."
        )
    return notes


def _searches(rows: pd.DataFrame) -> list[str]:
    """What it cost to find the victims, where they were searched for."""
    if "search_rounds" not in rows.columns:
        return []
    searched = rows[rows["search_rounds"] > 0]
    notes = []
    for name, part in searched.groupby("victims"):
        many = ", ".join(map(str, sorted(part["search_rounds"].unique())))
        notes.append(
            f"Victims '{name}' were searched for in {many} rehearsed rounds a line, of other seeds than those shown."
        )
    return notes


def _no_winner(table: pd.DataFrame, scenario: str) -> bool:
    return bool(table.loc[table["scenario"] == scenario, "win_rate"].isna().all())


def _grid(records: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of dicts as heads and rows of text; a missing entry is a dash."""
    heads = list(dict.fromkeys(key for record in records for key in record))
    body = [[(head, _text(record.get(head, DASH))) for head in heads] for record in records]
    return {"heads": [str(head).replace("_", " ") for head in heads], "body": body}


def _records(text: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(text.columns, line, strict=True)) for line in text.itertuples(index=False)]


def _rounds(lines: pd.DataFrame) -> str:
    low, high = int(lines["rounds"].min()), int(lines["rounds"].max())
    many = str(low) if low == high else f"{low} to {high}"
    return f"{many} round" if high == 1 else f"{many} rounds"


def _text(value: Any) -> str:
    """Lists with commas, dicts as `key = value`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(_text(item) for item in value)
    return str(value)
