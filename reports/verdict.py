"""The top of the page: what each policy keeps with the most agents attacked, and what that is called.

It stands, bends or falls, or there are not enough rounds to tell.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from marlrobust.reports.labels import DASH, GROUP, attack_of, heading, label, measured, number, percent, where
from marlrobust.reports.tables import Tables, groups, one_epsilon
from marlrobust.rows import REWARD, SUCCESS, WIN, Metric

WEIGHED = (REWARD, WIN, SUCCESS)
"""A policy is called after the one of these of which it keeps least."""

BANDS = ("falls", "bends", "stands")
LIMITS = (0.6, 0.9)
"""Kept shares at which the second and the third of `BANDS` begin."""

UNSURE = "not enough rounds to tell"

Line = Mapping[Any, Any]


def bands(line: Line, metrics: Sequence[Metric]) -> Sequence[str]:
    """What a line of `tables.table` may be called, as far as its intervals tell; nothing where nothing can be kept.

    metrics: those that the rows have.
    """
    weighed = [m for m in metrics if m in WEIGHED and not math.isnan(line[f"{m.short}_kept"])]
    if not weighed:
        return ()
    lows, highs = ([line[f"{m.short}_kept_{end}"] for m in weighed] for end in ("low", "high"))
    worst = min(0 if math.isnan(low) else bisect_right(LIMITS, low) for low in lows)
    best = min(bisect_right(LIMITS, high) for high in highs)  # one that is not known may be in any: the last
    return BANDS[worst : best + 1]


def headlines(tables: Tables) -> list[dict[str, Any]]:
    """A card per scenario and setting."""
    return [_card(tables, part) for _, part in one_epsilon(tables.lines).groupby(["scenario", "setting"], sort=False)]


def _card(tables: Tables, lines: pd.DataFrame) -> dict[str, Any]:
    most, team = int(lines["attacked_agents"].max()), int(lines["team_size"].max())
    several = lines["policy"].nunique() > lines["method"].nunique()
    metrics = [m for m in tables.metrics if m in WEIGHED and lines[m.mean].notna().any()]
    return {
        "scenario": where(lines.iloc[0]),
        "heading": f"all {team} attacked" if most >= team else f"{most} attacked",
        "attacked": most > 0,
        "name_attack": len(groups(lines[lines["attacked_agents"] > 0])) > 1,
        "lines": [
            {"method": label(own["method"].iloc[0]), "policy": policy if several else "", **_fate(own, most, metrics)}
            for policy, own in lines.groupby("policy", sort=False)
        ],
    }


def _fate(lines: pd.DataFrame, most: int, metrics: list[Metric]) -> dict[str, Any]:
    """One policy: without an attack, and under the attack of which it keeps least."""
    hurt = lines[(lines["attacked_agents"] == most) & (most > 0)].to_dict("records")
    after = min(hurt, key=lambda line: (_least_kept(line, metrics), line["reward_mean"])) if hurt else None
    clean = lines[lines["attacked_agents"] == 0]
    if after is not None:
        clean = clean[(clean[GROUP] == [after[name] for name in GROUP]).all(axis=1)]
    before = clean.to_dict("records")[0] if len(clean) else None
    fate: dict[str, Any] = {"clean": _numbers(before, metrics), "hurt": _numbers(after, metrics)}
    fate |= {"attack": "", "checks": "", "kept": [], "verdict": "", "possible": "", "reason": ""}
    if after is None:
        return fate
    fate |= {"attack": attack_of(after), "checks": after["checks"]}
    if before is None:
        return fate | {"reason": "no verdict: there are no clean rounds to compare with (add 0 to --agents)"}
    fate["kept"] = [_kept(before, after, m) for m in metrics if not pd.isna(after[f"{m.short}_kept"])]
    possible = bands(after, metrics)
    if not possible:
        return fate | {"reason": "no verdict: the clean reward is not above zero, so no share of it can be kept"}
    if len(possible) > 1:
        return fate | {"verdict": UNSURE, "possible": " or ".join(possible)}
    return fate | {"verdict": possible[0]}


def _least_kept(line: Line, metrics: list[Metric]) -> float:
    shares = (line[f"{m.short}_kept"] for m in metrics)
    return min((share for share in shares if not math.isnan(share)), default=math.inf)


def _numbers(line: Line | None, metrics: list[Metric]) -> list[str]:
    """The mean reward, and the win rate with its interval."""
    if line is None:
        return [DASH]
    return [number(line[m.mean], m.digits) if m == REWARD else measured(line, m) for m in metrics]


def _kept(before: Line, after: Line, metric: Metric) -> dict[str, Any]:
    """A metric's kept share, and the paper's."""
    share, low, high = (after[f"{metric.short}_kept{end}"] for end in ("", "_low", "_high"))
    whole = before[f"paper_{metric.mean}"]
    paper = after[f"paper_{metric.mean}"] / whole if whole > 0 else math.nan
    return {
        "name": heading(metric),
        "text": percent(share),
        "ends": f"[{100 * low:.0f}, {100 * high:.0f}]" if math.isfinite(low) and math.isfinite(high) else "",
        "share": share,
        "paper": "" if math.isnan(paper) else percent(paper),
        "paper_share": paper,
    }
