"""Two policies, or two evaluations of one, beside each other: round by round, and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from marlrobust.errors import UserError
from marlrobust.metrics import METRICS, REWARD, Metric
from marlrobust.registry import nearest
from marlrobust.reports import comparisons, paired, statistics
from marlrobust.reports.cells import Cell, cells_of, grouped, pairs
from marlrobust.reports.labels import OF_POLICY, attack_of, heading, number, within
from marlrobust.reports.text import WIDTH, aligned, shorten

ROUNDS = ["scenario", "game", "opponent_hash", "greedy", "seed", "attacked_agents"]
"""In what two cells agree whose rounds of one number are pairs."""

ATTACKED = ["attack", "epsilon", "norm", "features", "victims", "victims_parameters", "budget"]


def policy_rows(rows: pd.DataFrame, policy: str) -> pd.DataFrame:
    """The rows of one policy; raises UserError where there is none of that name."""
    found = rows[rows["policy"] == policy]
    if found.empty:
        names = sorted(map(str, rows["policy"].unique()))
        raise UserError(f"there is no policy '{policy}' in this evaluation{nearest(policy, names)}")
    return found


def compare(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """One line per place at which both sides were played, in the order of the first.

    one, other: rows of two policies, or of two evaluations. Cells of one game, opponent, seed and attack stand beside
    each other, and where a side has several policies, those of one name. difference, low, high: other - one of each
    metric over the pairs, with a 95 % interval; p: of there being none, corrected for all lines (Holm).
    Raises UserError where the two share no rounds.
    """
    named = max(rows["policy"].nunique() for rows in (one, other)) > 1
    there = grouped(cells_of(other), lambda cell: _key(cell, named))
    places = [(cell, same) for cell in cells_of(one) for same in there.get(_key(cell, named), [])[:1]]
    if not places:
        raise UserError("the two share no rounds: to be pairs, rounds need the same game, opponent, seed and attack")
    lines = [_line(*place) for place in places]
    for m in METRICS:
        ps = paired.holm([comparisons.p_value(m, *place) for place in places])
        for line, p in zip(lines, ps, strict=True):
            if f"{m.short}_difference" in line:
                line[f"{m.short}_p"] = p
    return pd.DataFrame(lines)


def _key(cell: Cell, named: bool) -> tuple[Any, ...]:
    own = cell.key(ROUNDS + (["policy"] if named else []))
    if cell.clean:
        return own
    parameters = {name: value for name, value in cell.parameters.items() if name not in OF_POLICY}
    return (*own, *cell.key(ATTACKED), str(sorted(parameters.items(), key=str)))


def _line(one: Cell, other: Cell) -> dict[str, Any]:
    line: dict[str, Any] = {"scenario": one["scenario"], "attacked_agents": one["attacked_agents"]}
    line |= {
        "team_size": one["team_size"],
        "attack": "" if one.clean else attack_of(one),
    }
    line |= {"one": one["policy"], "other": other["policy"], "rounds": len(pairs(one, other, REWARD.column)[0])}
    for m in METRICS:
        a, b = pairs(one, other, m.column)
        if not len(a):
            continue
        low, high = m.ends(one)
        ends = paired.change_interval(b, a, within=(low - high, high - low))
        if m.share:
            shares = [statistics.wilson_interval(int(x.sum()), len(x)) for x in (b, a)]
            together = statistics.correlation_of_means(pd.Series(b), pd.Series(a))
            ends = paired.share_change_interval(b.mean(), shares[0], a.mean(), shares[1], together)
        line |= {f"{m.short}_one": a.mean(), f"{m.short}_other": b.mean(), f"{m.short}_difference": b.mean() - a.mean()}
        line |= {f"{m.short}_low": ends[0], f"{m.short}_high": ends[1]}
    return line


def verdict(lines: pd.DataFrame, names: Sequence[str]) -> str:
    """A sentence for each game: what the two differ in with the most agents attacked, by what costs both most.

    names: how the two are called.
    """
    family = f" Corrected for {len(lines)} comparisons." if len(lines) > 1 else ""
    return " ".join(_sentence(part, names) for _, part in lines.groupby("scenario", sort=False)) + family


def _sentence(lines: pd.DataFrame, names: Sequence[str]) -> str:
    most = lines[lines["attacked_agents"] == lines["attacked_agents"].max()]
    line = most.loc[(most["reward_one"] + most["reward_other"]).idxmin()].to_dict()
    count = line["attacked_agents"]
    whom = f"all {count}" if count == line["team_size"] else str(count)
    how = f"with {whom} attacked ({line['attack']})" if count else "without an attack"
    told = [said for m in METRICS if (said := _difference(line, m))]
    where = f"In {line['scenario']}, {how}, over {line['rounds']} paired rounds"
    if not told:
        return f"{where}, {names[1]} and {names[0]} cannot be told apart."
    return f"{where}, compared with {names[0]}, {names[1]}'s {', its '.join(told)}."


def _difference(line: dict[Any, Any], m: Metric) -> str:
    """`reward is 250.1 [243.0, 257.2] higher (p < 0.001)`; nothing where none is told."""
    change, p = line.get(f"{m.short}_difference"), line.get(f"{m.short}_p")
    if change is None or p is None or pd.isna(change) or not p < comparisons.LEVEL:
        return ""
    low, high = sorted(abs(line[f"{m.short}_{end}"]) for end in ("low", "high"))
    probability = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    way = "higher" if change > 0 else "lower"
    return f"{heading(m)} is {within(abs(change), low, high, m.digits)} {way} ({probability})"


SHOWN = 2
"""Metrics that the terminal shows; the others are in the JSON."""


def terminal(lines: pd.DataFrame, names: Sequence[str]) -> str:
    """The lines as text, the differences with their intervals; a star where they are told apart."""
    records = lines.to_dict("records")
    places = {"scenario": "scenario", "attacked": "attacked_agents", "attack": "attack", "rounds": "rounds"}
    columns = {head: [str(line[name]) or "none" for line in records] for head, name in places.items()}
    for m in [m for m in METRICS if f"{m.short}_difference" in lines][:SHOWN]:
        for side, name in zip(("one", "other"), names, strict=True):
            columns[f"{heading(m)}, {name}"] = [number(line[f"{m.short}_{side}"], m.digits) for line in records]
        columns[f"{heading(m)}, difference"] = [_told(line, m) for line in records]
    shorten(columns, 3 * WIDTH)
    return "\n".join(aligned(columns))


def _told(line: dict[Any, Any], m: Metric) -> str:
    change, low, high = (line[f"{m.short}_{end}"] for end in ("difference", "low", "high"))
    return within(change, low, high, m.digits) + ("*" if line[f"{m.short}_p"] < comparisons.LEVEL else "")
