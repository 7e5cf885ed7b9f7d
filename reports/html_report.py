"""The report: one HTML file with everything inside, which asks nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from marlrobust.reports import drawing, hidden
from marlrobust.reports.bracket import bracket_figure, bracket_text
from marlrobust.reports.cells import read
from marlrobust.reports.doubts import CHECKS, overall
from marlrobust.reports.figures import Picture
from marlrobust.reports.headline import headlines
from marlrobust.reports.labels import DASH, GROUP, attack_label, attack_name, label, method_order
from marlrobust.reports.sections import CUT, full_table, strength_table, training_table
from marlrobust.reports.tables import Tables, groups, one_epsilon
from marlrobust.reports.text import rounds_of
from marlrobust.reports.verdict import BANDS
from marlrobust.rows import WIN, Record

PLACES = 20
"""Places that are listed for a check, at most."""

Drawn = Sequence[tuple[Picture, bytes]]
"""Figures, each with its SVG."""


def render(
    tables: Tables, record: Record, drawn: Drawn, bracket: pd.DataFrame | None = None, notes: Sequence[str] = ()
) -> str:
    """The page. drawn: `figures.pictures` of the tables; bracket: `bracket.bracket_table` of the same policies; notes:
    sentences beside the record's."""
    loader = jinja2.PackageLoader("marlrobust.reports", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    here = Path.cwd()
    styles = drawing.method_style(list(tables.lines["method"].unique()))
    shown = one_epsilon(tables.lines)
    return environment.get_template("report.html.j2").render(
        title="Robustness report",
        date=record.created.replace("T", " "),
        summary=summary(tables.lines),
        wins=WIN in tables.metrics,
        cards=headlines(tables),
        colours={label(method): colour for method, (colour, _) in styles.items()},
        stands=f"{100 * BANDS['bends']:.0f}",
        falls=f"{100 * BANDS['falls']:.0f}",
        doubts=doubts(tables.lines),
        trainings=training_table(one_epsilon(tables.trained), tables.metrics),
        pictures=[
            {"title": picture.title, "over": picture.over, "lines": picture.lines, **_both(svg)}
            for picture, svg in drawn
        ],
        one_epsilon=len(shown) < len(tables.lines),
        strengths=[
            strength_table(part)
            for _, part in shown.groupby(["scenario", "setting"], sort=False)
            if len(groups(part[part["attacked_agents"] > 0])) > 1
        ],
        tables=[full_table(part) for _, part in tables.lines.groupby("scenario", sort=False)],
        bracket=None if bracket is None else _bracket(bracket),
        facts=_facts(tables.rows, record, here),
        config=yaml.safe_dump(hidden.value(record.settings, here), sort_keys=False, allow_unicode=True)
        if record.settings
        else "",
        notes=[*(hidden.sentence(note, here) for note in (*record.notes, *notes)), *_own_notes(tables)],
        policies=_grid([policy.model_dump() for policy in record.policies]),
        versions=record.versions,
    )


def summary(lines: pd.DataFrame) -> str:
    """One sentence: what was measured."""
    counts, attacked = lines["attacked_agents"], lines[lines["attacked_agents"] > 0]
    methods = ", ".join(map(label, method_order(lines["method"])))
    what = f"{methods} in {' and '.join(lines['scenario'].unique())}, {rounds_of(lines)} per line"
    if attacked.empty:
        return f"{what}, not attacked."
    attacks = []
    for attack, part in attacked.groupby("attack"):
        ways = groups(part)
        low, high = part["epsilon"].min(), part["epsilon"].max()
        alone = attack_label(*ways[0]) if len(ways) == 1 else f"{attack_name(str(attack))}, ε = {low:g}"
        attacks.append(alone if low == high else f"{attack_name(str(attack))}, ε from {low:g} to {high:g}")
    return f"{what}, with {counts.min()} to {counts.max()} agents under {'; '.join(attacks)}."


def doubts(lines: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Each check with its state, in the order of `CHECKS`, by state: raised, passed, not run."""
    attacked = lines[lines["attacked_agents"] > 0].drop_duplicates("cell")
    found: dict[str, list[dict[str, Any]]] = {"raised": [], "passed": [], "not run": []}
    for name, state in overall(attacked.to_dict("records")).items():
        is_raised, is_passed = (
            [name in names.split("; ") for names in attacked[column]] for column in ("checks", "passed")
        )
        made = sum(is_raised) + sum(is_passed)
        check = CHECKS[name]
        found[state].append(
            {
                "name": name,
                "meaning": check.meaning,
                "run": check.run,
                "made": f"made on {made} of {len(attacked)} attacked lines",
                "places": _places(attacked[np.array(is_raised, bool)]),
            }
        )
    return found


def _places(lines: pd.DataFrame) -> list[str]:
    """`battle, MFAC, PGD, ε = 0.075: 8, 16 attacked`."""
    places = []
    for _, part in lines.groupby(["scenario", "setting", "policy", "method", *GROUP], sort=False):
        line = part.iloc[0]
        name = label(line["method"])
        who = name if line["policy"] == line["method"] else f"{name} ({line['policy']})"
        counts = ", ".join(map(str, part["attacked_agents"]))
        where = ", ".join(filter(None, (line["scenario"], line["setting"])))
        places.append(f"{where}, {who}, {attack_label(*line[GROUP])}: {counts} attacked")
    more = len(places) - PLACES
    return [*places[:PLACES], *([f"and {more} more: see the column checks of table.csv"] if more > 0 else [])]


def _both(svg: bytes) -> dict[str, str]:
    """A figure for a light and a dark page."""
    return {name: base64.b64encode(drawn).decode() for name, drawn in (("light", svg), ("dark", drawing.darkened(svg)))}


def _bracket(table: pd.DataFrame) -> dict[str, Any]:
    text = bracket_text(table).head(CUT)
    more = len(table) - len(text)
    return {
        **_both(drawing.svg(bracket_figure(table))),
        **_grid([dict(zip(text.columns, line, strict=True)) for line in text.itertuples(index=False)]),
        "more": f"{more} more lines stand in bracket.csv." if more else "",
    }


def _facts(rows: pd.DataFrame, record: Record, here: Path) -> list[tuple[str, str, bool]]:
    """(name, value, is code): what was run."""
    attacked = rows[rows["attacked_agents"] > 0]
    acts = {True: "take their likeliest action", False: "draw their action from the policy"}
    facts = {
        "Seed": rows["seed"],
        "Opponent": rows["opponent"],
        "Steps per round, at most": rows["game"].map(lambda text: read(text).get("max_steps", DASH)),
        "Agents": rows["greedy"].map(acts),
        "Attacked agents are chosen by": attacked["victims"],
        "Part of the state that may be moved": attacked["features"],
        "Norm": attacked["norm"],
        "Processor's instructions": rows["instructions"],
    }
    told = [("Command", hidden.command(record.command, here), True)] if record.command else []
    told += [(name, _text(sorted(values.unique().tolist())), False) for name, values in facts.items() if len(values)]
    return told + _parameters(attacked, here)


def _parameters(attacked: pd.DataFrame, here: Path) -> list[tuple[str, str, bool]]:
    """Each attack's own parameters, a line for each set of them; the threat has its own place on the page."""
    used = attacked[["attack", "attack_parameters"]].drop_duplicates()
    lines: dict[tuple[str, str], None] = {}
    for attack, parameters in sorted(used.itertuples(index=False, name=None)):
        own = {k: v for k, v in read(parameters).items() if k != "threat" and v is not None}
        if own:
            lines[attack, _text(hidden.value(own, here))] = None
    return [(f"Parameters of {attack}", text, False) for attack, text in list(lines)[:PLACES]]


def _own_notes(tables: Tables) -> list[str]:
    """What the reader must know and the lines themselves tell."""
    notes = []
    lines, trained = tables.lines, tables.trained
    silent = [name for name, part in lines.groupby("scenario") if WIN.mean not in part or part[WIN.mean].isna().all()]
    if silent:
        notes.append(f"In {', '.join(map(str, silent))} nobody can win: there is no win rate to show.")
    runs = set(trained.loc[trained["trainings"] > 1, "method"])
    if runs:
        notes.append(
            f"Figures show the mean of the training runs of {', '.join(map(label, method_order(runs)))}. "
            "Rounds of several runs are never put together."
        )
    named = set(lines.loc[~lines["method"].isin(trained["method"]), "method"])
    if named:
        notes.append(
            f"The policies of {', '.join(map(label, sorted(named)))} have equal or unknown training seeds. They are no "
            "runs of one training, and figures show each by its name."
        )
    searched = tables.rows[tables.rows["search_rounds"] > 0]
    for name, part in searched.groupby("victims"):
        many = ", ".join(map(str, sorted(part["search_rounds"].unique())))
        notes.append(
            f"To find the victims '{name}', {many} other rounds per line were played, with seeds of their own."
        )
    return notes


def _grid(records: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of dicts as heads and rows of text; a missing entry is a dash."""
    heads = list(dict.fromkeys(key for record in records for key in record))
    body = [[(head, _text(record.get(head, DASH))) for head in heads] for record in records]
    return {"heads": [str(head).replace("_", " ") for head in heads], "body": body}


def _text(value: Any) -> str:
    """Lists with commas, dicts as `key = value`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(_text(item) for item in value)
    return str(value)
