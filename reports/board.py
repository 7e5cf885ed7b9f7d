"""The leaderboard: records of many policies in one table per protocol, as a page, as CSV, and as text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from marlrobust.files import write_bytes
from marlrobust.metrics import METRICS, REWARD, Metric
from marlrobust.reports.labels import DASH, heading, label, number, percent
from marlrobust.reports.standings import Estimate, Standing, Submission
from marlrobust.reports.text import aligned
from marlrobust.reports.verdict import Line

PAGE, TABLE = "leaderboard.html", "leaderboard.csv"


def board(records: Sequence[Submission]) -> pd.DataFrame:
    """One line per record, those of one protocol together, by the reward under the worst attack.

    place: 1 plus the number of records of the protocol that are better, the whole interval above the whole interval:
    several may share one. worst_of: how many attacks the worst was chosen from. minutes: of one training.
    """
    lines = []
    for record in records:
        s = record.standing
        line: dict[str, Any] = {**s.protocol, "policy": s.name, "trainings": len(s.runs)}
        for m in _metrics(records):
            for where, estimates in (("clean", s.clean), ("worst", s.worst)):
                line |= _ends(f"{where}_{m.short}", estimates.get(m.column))
        line |= {"worst_attack": s.worst_attack, "worst_of": len(s.attacks), **_ends("kept", s.kept)}
        line |= {"proven": s.proven, "doubts": "; ".join(s.doubts), "over": s.over, "rounds": s.rounds}
        line |= {"minutes": s.seconds and round(s.seconds / 60, 1), "note": record.note, "rows": s.rows}
        lines.append(line)
    told = pd.DataFrame(lines)
    protocol = list(records[0].standing.protocol)
    told.insert(0, "place", 0)
    for _, own in told.groupby(protocol, sort=False, dropna=False):
        told.loc[own.index, "place"] = _places(own)
    return told.sort_values([*protocol, "place", "worst_reward"], ascending=[True] * (len(protocol) + 1) + [False])


def _places(lines: pd.DataFrame) -> list[int]:
    """Of records of one protocol; see `board`."""
    ends = [
        (
            line["worst_reward"] if pd.isna(line["worst_reward_low"]) else line["worst_reward_low"],
            line["worst_reward"] if pd.isna(line["worst_reward_high"]) else line["worst_reward_high"],
        )
        for line in lines.to_dict("records")
    ]
    return [1 + sum(other_low > high for other_low, _ in ends) for _, high in ends]


def _metrics(records: Sequence[Submission]) -> list[Metric]:
    return [m for m in METRICS if any(m.column in r.standing.clean for r in records)]


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    values = (estimate.mean, estimate.low, estimate.high) if estimate else (None,) * 3
    return {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), values, strict=True)}


def write_board(records: Sequence[Submission], folder: Path) -> list[Path]:
    """Write the page and the table; their paths."""
    lines = board(records)
    loader = jinja2.PackageLoader("marlrobust.reports", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    protocol = list(records[0].standing.protocol)
    tables = [
        {"title": _title(_standing(records, own.iloc[0])), "lines": shown(own)}
        for _, own in lines.groupby(protocol, sort=False, dropna=False)
    ]
    page = environment.get_template("leaderboard.html.j2").render(tables=tables, total=len(lines))
    return [
        write_bytes(folder / PAGE, page.encode()),
        write_bytes(folder / TABLE, lines.to_csv(index=False).encode()),
    ]


def _standing(records: Sequence[Submission], line: Any) -> Standing:
    return next(r.standing for r in records if r.standing.rows == line["rows"])


def _title(s: Standing) -> str:
    p = s.protocol
    whom = f"all {p['of']}" if p["attacked"] >= p["of"] else f"{p['attacked']} of {p['of']}"
    setting = f", {p['setting']}" if p["setting"] else ""
    return f"{p['scenario']}{setting}: {whom} attacked, {p['norm']} within {p['epsilon']:g}"


def shown(lines: pd.DataFrame) -> list[dict[str, str]]:
    """The lines of one protocol, as people read them."""
    found = []
    for line in lines.to_dict("records"):
        told = {"place": str(line["place"]), "policy": label(line["policy"]), "trainings": str(line["trainings"])}
        for where in ("clean", "worst"):
            for m in METRICS:
                if f"{where}_{m.short}" in line and not _none(line[f"{where}_{m.short}"]):
                    told[f"{heading(m)}, {where}"] = _told(line, f"{where}_{m.short}", m)
        told["worst attack"] = f"{line['worst_attack']} (of {line['worst_of']})"
        told["kept"] = DASH if _none(line["kept"]) else percent(line["kept"])
        told["proven"] = DASH if _none(line["proven"]) else percent(line["proven"])
        told["doubts"] = line["doubts"] or "none"
        told["minutes"] = DASH if _none(line["minutes"]) else number(line["minutes"], 0)
        told["intervals over"] = f"{line['trainings']} trainings" if line["over"] == "trainings" else "rounds of one"
        found.append(told)
    return found


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _told(line: Line, name: str, metric: Metric) -> str:
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    ends = "" if _none(low) or _none(high) else f" [{number(low, metric.digits)}, {number(high, metric.digits)}]"
    return f"{number(line[name], metric.digits)}{ends}"


def terminal(records: Sequence[Submission]) -> str:
    """The tables as text: the place, and what counts most."""
    lines = board(records)
    parts = []
    for _, own in lines.groupby(list(records[0].standing.protocol), sort=False, dropna=False):
        told = shown(own)
        wanted = ["place", "policy", "trainings", f"{heading(REWARD)}, clean", f"{heading(REWARD)}, worst"]
        names = [*wanted, "worst attack", "kept", "proven", "doubts"]
        columns = {name: [line.get(name, DASH) for line in told] for name in names}
        parts.append(_title(_standing(records, own.iloc[0])) + "\n" + "\n".join(aligned(columns)))
    return "\n\n".join(parts)


def as_json(records: Sequence[Submission]) -> list[dict[str, Any]]:
    """The lines for scripts."""
    lines: list[dict[str, Any]] = json.loads(board(records).to_json(orient="records"))
    return lines
