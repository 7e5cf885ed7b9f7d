"""The report: one HTML file with everything inside, which asks nothing of the network."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from marlrobust.metrics import WIN
from marlrobust.reports import drawing, sections, trainings
from marlrobust.reports.bracket import bracket_figure, bracket_text
from marlrobust.reports.cells import cells_of, read
from marlrobust.reports.downloads import downloads
from marlrobust.reports.drawing import Shown
from marlrobust.reports.labels import DASH, attack_label, attack_name, label, method_order
from marlrobust.reports.tables import Tables, groups, metrics_of, one_epsilon
from marlrobust.reports.text import rounds_of
from marlrobust.reports.trainings import FEWEST
from marlrobust.reports.verdict import LIMITS, headlines, in_words
from marlrobust.rows import PolicyFacts, Record

PATH = re.compile(r"(?<![\w.…:/])/[^\s,;:'\"]+")
"""An absolute path inside a text: it begins where no name, number or address goes before."""


def render(
    tables: Tables,
    record: Record,
    drawn: Sequence[Shown],
    bracket: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    replay: str = "",
    files: Mapping[str, bytes] | None = None,
) -> str:
    """The page. drawn: figures, as it shows them; bracket: `bracket.bracket_table` of the same policies; notes:
    sentences beside the record's; replay: `replay.part` of rounds that were recorded; files: those that the page holds
    too."""
    loader = jinja2.PackageLoader("marlrobust.reports", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda svg: base64.b64encode(svg).decode()
    here, lines = Path.cwd(), tables.lines
    shown = one_epsilon(lines)
    settings = _hidden(record.settings, here)
    styles = drawing.method_style(list(lines["method"].unique()))
    falls, stands = (f"{100 * limit:.0f}" for limit in LIMITS)
    cards, over_runs = headlines(tables), trainings.over_runs(tables)
    fates = [line for card in cards for line in card["lines"]]
    cells = {cell["cell"]: cell for cell in cells_of(tables.rows[tables.rows["cell"].isin(shown["cell"])])}
    return contents(
        environment.get_template("report.html.j2").render(
            title="Robustness report",
            date=record.created.replace("T", " "),
            summary=summary(lines),
            wins=WIN in tables.metrics,
            falls=falls,
            stands=stands,
            cut=sections.CUT,
            replay=replay,
            one_epsilon=len(shown) < len(lines),
            cards=cards,
            changed=any(kept["note"] for line in fates for kept in line["kept"]),
            halved=any(line["half"] for line in fates),
            chosen=any(card["name_attack"] for card in cards),
            colours={label(method): colour for method, (colour, _) in styles.items()},
            doubts=sections.doubts(lines),
            strengths=[
                sections.strength_table(part, cells)
                for _, part in shown.groupby(["scenario", "setting"], sort=False)
                if len(groups(part[part["attacked_agents"] > 0])) > 1
            ],
            drawn=drawn,
            bracket=None if bracket is None else bracket_text(bracket).to_dict("records"),
            bracket_shown=None if bracket is None else _bracket(bracket),
            tables=[sections.full_table(part) for _, part in lines.groupby("scenario", sort=False)],
            trainings=sections.training_table(tables, over_runs),
            ranking=sections.ranking(tables),
            fewest=FEWEST,
            until=record.settings.get("until"),
            notes=[*(_sentence(note, here) for note in (*record.notes, *notes)), *_own_notes(tables)],
            command=without_paths(record.command, here),
            facts=_facts(tables.rows, here),
            config=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else "",
            policies=[_policy(policy) for policy in record.policies],
            versions=record.versions,
            told=in_words(cards),
            downloads=downloads(files or {}),
        )
    )


HEADING = re.compile(r"<h2>(.*?)</h2>")
"""Of a section, in the template."""


def contents(page: str) -> str:
    """The page with an anchor for each section, and a list of them where the template has its place."""
    titles = HEADING.findall(page)
    anchors = {title: re.sub(r"\W+", "-", title).strip("-").lower() for title in titles}
    links = "\n".join(f'<a href="#{anchors[title]}">{title}</a>' for title in titles)
    page = HEADING.sub(lambda match: f'<h2 id="{anchors[match[1]]}">{match[1]}</h2>', page)
    return page.replace("<!-- contents -->", links, 1)


def _bracket(table: pd.DataFrame) -> Shown:
    wide, narrow = (drawing.svg(bracket_figure(table, small)) for small in (False, True))
    alt = "Shares of decisions turned and not certified, over epsilon; the numbers are in the table below"
    return Shown("bracket", "The bracket", alt, wide, narrow)


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


def _facts(rows: pd.DataFrame, here: Path) -> list[tuple[str, str]]:
    """What was run; of each attack's parameters its own, for the threat has its own place on the page."""
    attacked = rows[rows["attacked_agents"] > 0]
    facts = {
        "Seed": rows["seed"],
        "Opponent": rows["opponent"],
        "Steps per round, at most": rows["game"].map(lambda text: read(text).get("max_steps", DASH)),
        "Agents": rows["greedy"].map({True: "take their likeliest action", False: "draw their action from the policy"}),
        "Attacked agents are chosen by": attacked["victims"],
        "Part of the state that may be moved": attacked["features"],
        "Moved states stay": attacked["in_range"].map({True: "inside the game's limits", False: "within epsilon"}),
        "Norm": attacked["norm"],
        "Processor's instructions": rows["instructions"],
    }
    told = [(name, _text(sorted(values.unique().tolist()))) for name, values in facts.items() if len(values)]
    used = attacked[["attack", "attack_parameters"]].drop_duplicates()
    parameters = {}
    for attack, text in sorted(used.itertuples(index=False, name=None)):
        own = {k: v for k, v in read(text).items() if k != "threat" and v is not None}
        parameters[f"Parameters of {attack}", _text(_hidden(own, here))] = bool(own)
    return told + [line for line, is_said in parameters.items() if is_said][: sections.PLACES]


def _policy(facts: PolicyFacts) -> dict[str, Any]:
    """A line about a policy; of one that was brought nobody knows how it was trained."""
    told = facts.model_dump(exclude={"log"})
    unknown = ("rounds", "planned_rounds", "seed") if not facts.planned_rounds else ()
    return told | dict.fromkeys(unknown, "")


def _own_notes(tables: Tables) -> list[str]:
    """What the reader must know and the lines themselves tell."""
    notes = []
    lines, trained = tables.lines, tables.trained
    teams = tables.rows[["scenario", "team"]].drop_duplicates()
    together = teams[teams["team"].str.contains("+", regex=False, na=False)]
    alone = lines[~lines["scenario"].isin(together["scenario"])]
    silent = [name for name, part in alone.groupby("scenario") if WIN not in metrics_of(part)]
    if silent:
        notes.append(f"In {', '.join(map(str, silent))} nobody can win: there is no win rate to show.")
    for scenario, team in together.itertuples(index=False):
        notes.append(
            f"In {scenario} the teams {team.replace('+', ' and ')} are tested together: the reward is the sum of all. "
            "What else the game measures, such as a win, is of one team against the others: test a team alone for it "
            f"(--team {team.partition('+')[0]})."
        )
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


def _text(value: Any) -> str:
    """Lists with commas, dicts as `key = value`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(_text(item) for item in value)
    return str(value)


def without_paths(text: str, here: Path) -> str:
    """A command line whose absolute paths are relative to `here`, or `…/` and their last part."""
    try:
        words = [_hidden(word, here) for word in shlex.split(text)]
    except ValueError:  # no shell would take it: as a sentence then
        return _sentence(text, here)
    return " ".join(word if "…" in word and " " not in word else shlex.quote(word) for word in words)


def _sentence(text: str, here: Path) -> str:
    return PATH.sub(lambda match: _shorter(match[0], here), text)


def _hidden(thing: Any, here: Path) -> Any:
    """The same in settings: every text in tables and lists; a path may hold spaces there."""
    if isinstance(thing, dict):
        return {key: _hidden(item, here) for key, item in thing.items()}
    if isinstance(thing, list | tuple):
        return [_hidden(item, here) for item in thing]
    if not isinstance(thing, str):
        return thing
    name, equals, rest = thing.rpartition("=")
    return f"{name}{equals}{_shorter(rest, here)}" if rest.startswith("/") else _sentence(thing, here)


def _shorter(path: str, here: Path) -> str:
    absolute = Path(path)
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else f"…/{absolute.name}"
