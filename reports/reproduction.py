"""The generated parts of a page in Markdown about the paper's experiment: tables and figures, from rows alone.

Each part stands between two markers, `<!-- rows:kept -->` and `<!-- /rows:kept -->`, and is made anew there. All else
on the page is its author's, and stays as it is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from marlrobust.errors import UserError
from marlrobust.files import write_bytes
from marlrobust.metrics import Metric
from marlrobust.reports import drawing, figures
from marlrobust.reports.labels import DASH, GROUP, attack_of, heading, label, measured, number, percent
from marlrobust.reports.tables import Tables, groups, metrics_of, of, one_epsilon
from marlrobust.reports.text import rounds_of
from marlrobust.rows import Whole

BLOCK = re.compile(r"<!-- rows:(?P<name>[\w-]+) -->\n.*?<!-- /rows:(?P=name) -->", re.DOTALL)
OPENING = re.compile(r"<!-- rows:([\w-]+) -->")

HEADINGS = {
    "protocol": "What was played",
    "kept": "What is left of the clean reward",
    "figures": "Figures",
    "table": "Every number",
    "search": "What was tried",
}
"""Each block, and what stands above it on a page that is made new."""


def write_page(rows: pd.DataFrame, path: Path) -> list[Path]:
    """Make the blocks of the page at `path` anew and, beside it, its figures and rows; returns all paths.

    rows: one per round. Where there is no page, a plain one is made. Raises UserError for a page without blocks, or
    with one that there is not.
    """
    tables = of(rows, wholes_of(rows))
    text = render(tables, path)
    stem = path.with_suffix("")
    written = [write_bytes(stem.with_suffix(".parquet"), rows.to_parquet(index=False))]
    for metric in tables.metrics:
        picture = drawing.png(figures.figure(tables, metric), dpi=110)
        written.append(write_bytes(path.with_name(figure_name(path, metric)), picture))
    return [*written, write_bytes(path, text.encode())]


def render(tables: Tables, path: Path) -> str:
    """The text of the page at `path`, with its blocks made of `tables`."""
    made = blocks(tables, path)
    try:
        page = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        page = "# Results\n" + "".join(f"\n## {HEADINGS[n]}\n{marked(n, '')}\n" for n, text in made.items() if text)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the page {path}: {error}") from None
    whole = [match["name"] for match in BLOCK.finditer(page)]
    opened = OPENING.findall(page)
    example = marked("kept", "…").replace("\n", " ")
    if not opened:
        raise UserError(f"{path} has no place for results: put a line such as {example} where they belong")
    if odd := [name for name in opened if name not in HEADINGS]:
        raise UserError(f"{path} has a block '{odd[0]}': there are {', '.join(HEADINGS)}")
    if whole != opened:
        raise UserError(
            f"{path} has a block that does not end: write each as {example}, the markers on lines of their own"
        )
    return BLOCK.sub(lambda match: marked(match["name"], made[match["name"]]), page)


def marked(name: str, text: str) -> str:
    """A block with its markers."""
    return f"<!-- rows:{name} -->\n{text}{'' if not text or text.endswith(chr(10)) else chr(10)}<!-- /rows:{name} -->"


def blocks(tables: Tables, path: Path) -> dict[str, str]:
    """Each block's name and text, for the page at `path`."""
    lines = one_epsilon(tables.lines)
    by_scenario = list(lines.groupby("scenario", sort=False))
    ways = dict.fromkeys(map(attack_of, lines[lines["attacked_agents"] > 0].to_dict("records")))
    under = f", under {'; '.join(ways)}" if ways else ""
    seeds = ", ".join(map(str, sorted(lines["seed"].unique())))
    return {
        "protocol": f"{rounds_of(lines)} per line{under}, evaluation seed {seeds}.",
        "kept": "\n".join(f"**{name}**\n\n{grid(_kept(own))}\n" for name, own in by_scenario),
        "figures": "\n".join(f"![{m.title}]({figure_name(path, m)})" for m in tables.metrics),
        "table": "\n".join(f"### {name}\n{grid(_table(own))}\n" for name, own in by_scenario),
        "search": _search(path.with_name(f"{path.stem}-search.csv")),
    }


def wholes_of(rows: pd.DataFrame) -> tuple[Whole, ...]:
    """Counts of one game that are above another's team: a page shows all games at the same counts."""
    counts = sorted(rows["attacked_agents"].unique())
    found = []
    for (scenario, size), part in rows.groupby(["scenario", "team_size"]):
        if (part["attacked_agents"] == size).any():
            found += [Whole(scenario=scenario, asked=int(n), team_size=size) for n in counts if n > size]
    return tuple(found)


def figure_name(path: Path, metric: Metric) -> str:
    """Of the file beside the page at `path`."""
    return f"{path.stem}-{metric.file.replace('_', '-')}.png"


def grid(lines: list[dict[str, str]]) -> str:
    """A Markdown table."""
    heads = list(lines[0]) if lines else []
    rows = [heads, ["---"] * len(heads), *(line.values() for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


DIGITS = {"reward": 0, "kills": 1}
"""Digits on the page, where they are fewer than a report's."""


def _table(lines: pd.DataFrame) -> list[dict[str, str]]:
    """Every line: ours with its 95 % interval over rounds, and the paper's in parentheses."""
    reward, *others = metrics_of(lines)
    shown = []
    for line in lines.to_dict("records"):
        cells = {"attacked": str(line["attacked_agents"]), **_who(line, lines)}
        for m in (*others, reward):
            digits, theirs = DIGITS.get(m.column, m.digits), line[f"paper_{m.mean}"]
            beside = "" if pd.isna(theirs) else f" ({number(theirs, digits)})"
            cells[heading(m)] = measured(line, m, digits) + beside
        shown.append(cells | {"flipped": number(line["flip_rate"])})
    return shown


def _who(line: dict[Any, Any], lines: pd.DataFrame) -> dict[str, str]:
    """The policy (the method, and the policy where it is another training's); setting and attack where several are."""
    method, policy = line["method"], line["policy"]
    if policy.startswith(method):
        policy = label(method) + policy.removeprefix(method).replace("-seed", ", seed ")
    told = {"policy": policy}
    if lines["setting"].nunique() > 1:
        told["setting"] = line["setting"]
    if len(groups(lines)) > 1:
        told["attack"] = attack_of(line)
    return told


def _kept(lines: pd.DataFrame) -> list[dict[str, str]]:
    """What is left of the clean reward with the most agents attacked: ours and the paper's, in percent."""
    most = lines["attacked_agents"].max()
    shown = []
    for _, own in lines.groupby(["policy", "setting", *GROUP], sort=False):
        at = {line["attacked_agents"]: line for line in own.to_dict("records")}
        if 0 not in at or most not in at or most == 0:
            continue
        clean, attacked = at[0], at[most]
        theirs, whole = attacked["paper_reward_mean"], clean["paper_reward_mean"]
        shown.append(
            {
                **_who(attacked, lines),
                "clean": number(clean["reward_mean"], 0),
                f"{most} attacked": number(attacked["reward_mean"], 0),
                "left": percent(attacked["reward_kept"]),
                "left (paper)": percent(theirs / whole if whole > 0 else float("nan")),
            }
        )
    return shown


def _search(tried: Path) -> str:
    """A line per training of a search: what was changed, and what came of it without and with an attack."""
    if not tried.exists():
        return ""
    shown = []
    for line in pd.read_csv(tried).to_dict("records"):
        told = {"scenario": line["scenario"]}
        told["changed"] = ", ".join(f"{k} {v}" for k, v in json.loads(line["changed"]).items()) or "nothing"
        told |= {"minutes": number(line["minutes"], 0), "entropy": number(line["entropy"])}
        for name, measure, digits in (("win rate", "win", 2), ("reward", "reward", 0)):
            both = [number(line[f"{measure}_{when}"], digits) for when in ("clean", "attacked")]
            told[name] = DASH if DASH in both else " → ".join(both)
        shown.append(told | {"flipped": number(line["flip_rate_attacked"])})
    return grid(shown)
