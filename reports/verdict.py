"""The top of the page: what each policy keeps with the most agents attacked, and what that is called.

It stands, bends or falls, or there are not enough rounds to tell.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from marlrobust.metrics import REWARD, SUCCESS, WIN, Metric
from marlrobust.reports.labels import DASH, GROUP, attack_of, heading, label, measured, number, percent, where
from marlrobust.reports.tables import Tables, groups, one_epsilon

WEIGHED = (REWARD, WIN, SUCCESS)
"""A policy is called after the one of these of which it keeps least."""

BANDS = ("falls", "bends", "stands")
LIMITS = (0.6, 0.9)
"""Kept shares at which the second and the third of `BANDS` begin."""

UNSURE = "not enough rounds to tell"

Line = Mapping[Any, Any]


def left(line: Line, metric: Metric) -> tuple[float, float, float]:
    """What an attacked line of `tables.table` has left of a metric, with the ends of its interval; 1 is all of it.

    The kept share, where the metric has one. Else 1 less what the attack costs, as a share of the metric's range or,
    where it has none, of the usual size of a clean round's (`scale`); NaN where that is not known.
    """
    kept: list[float] = [line[f"{metric.short}_kept{end}"] for end in ("", "_low", "_high")]
    if not math.isnan(kept[0]):
        return kept[0], kept[1], kept[2]
    change, *ends = (metric.sign * line[f"{metric.short}_change{end}"] for end in ("", "_low", "_high"))
    scale = line[f"{metric.short}_scale"]
    low, high = sorted(ends) if not math.isnan(sum(ends)) else ends
    return 1 + change / scale, 1 + low / scale, 1 + high / scale


def bands(line: Line, metrics: Sequence[Metric]) -> Sequence[str]:
    """What a line of `tables.table` may be called, as far as its intervals tell; nothing where nothing can be lost.

    metrics: those that the rows have.
    """
    weighed = [rest for m in metrics if m in WEIGHED and not math.isnan((rest := left(line, m))[0])]
    if not weighed:
        return ()
    _, lows, highs = zip(*weighed, strict=True)
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
    by_policy = lines.groupby("policy", sort=False)
    fates = [(policy, own, _fate(own, most, metrics, tables.halves)) for policy, own in by_policy]
    return {
        "scenario": where(lines.iloc[0]),
        "heading": f"all {team} attacked" if most >= team else f"{most} attacked",
        "attacked": most > 0,
        "name_attack": len(groups(lines[lines["attacked_agents"] > 0])) > 1,
        "lines": [
            {"method": label(own["method"].iloc[0]), "policy": policy if several else "", **fate}
            for policy, own, fate in fates
        ],
    }


def _fate(
    lines: pd.DataFrame, most: int, metrics: list[Metric], halves: tuple[pd.DataFrame, pd.DataFrame] | None
) -> dict[str, Any]:
    """One policy: without an attack, and under the attack that leaves it least."""
    hurt = lines[(lines["attacked_agents"] == most) & (most > 0)]
    clean = lines[lines["attacked_agents"] == 0]
    after, shown = _worst(hurt, most, metrics, halves)
    if after is not None:
        clean = clean[(clean[GROUP] == [after[name] for name in GROUP]).all(axis=1)]
    before = _same(shown, clean.to_dict("records")[0]) if len(clean) else None
    fate: dict[str, Any] = {"clean": _numbers(before, metrics), "hurt": _numbers(after, metrics)}
    fate |= {"attack": "", "checks": "", "kept": [], "verdict": "", "possible": "", "reason": "", "half": False}
    if after is None:
        return fate
    fate |= {"attack": attack_of(after), "half": shown is not None}
    if before is None:
        return fate | {"reason": "no verdict: there are no clean rounds to compare with (add 0 to --agents)"}
    fate["kept"] = [_kept(before, after, m) for m in metrics if not math.isnan(left(after, m)[0])]
    possible = bands(after, metrics)
    if not possible:
        return fate | {"reason": "no verdict: there is nothing to lose in the clean rounds"}
    checks = "" if possible == BANDS[:1] else after["checks"]  # a stronger attack could do no more than make it fall
    if len(possible) > 1:
        return fate | {"verdict": UNSURE, "possible": " or ".join(possible), "checks": checks}
    return fate | {"verdict": possible[0], "checks": checks}


def _worst(
    hurt: pd.DataFrame, most: int, metrics: list[Metric], halves: tuple[pd.DataFrame, pd.DataFrame] | None
) -> tuple[Line | None, pd.DataFrame | None]:
    """The line of the attack that leaves least; where there are several, chosen on one half of the rounds, and told of
    the other, whose lines come second."""

    def least(line: Line) -> tuple[float, float]:
        rests = (left(line, m)[0] for m in metrics)
        return min((rest for rest in rests if not math.isnan(rest)), default=math.inf), line["reward_mean"]

    lines = hurt.to_dict("records")
    if len(lines) < 2 or halves is None:
        return min(lines, key=least, default=None), None
    chosen, told = (half[half["attacked_agents"] == most] for half in halves)
    worst = min(lines, key=lambda line: least(_same(chosen, line)))
    return _same(told, worst), halves[1]


def _same(lines: pd.DataFrame | None, line: Line) -> Line:
    """The line of the same cell among others, with the names that the line has."""
    if lines is None:
        return line
    found = lines[lines["cell"] == line["cell"]].to_dict("records")[0]
    return {**found, **{name: line[name] for name in (*GROUP, "setting", "policy", "checks")}}


def _numbers(line: Line | None, metrics: list[Metric]) -> list[str]:
    """The mean reward, and the win rate with its interval."""
    if line is None:
        return [DASH]
    return [number(line[m.mean], m.digits) if m == REWARD else measured(line, m) for m in metrics]


def _kept(before: Line, after: Line, metric: Metric) -> dict[str, Any]:
    """A metric's kept share, or else its change, and the share that the paper's policy keeps."""
    share, low, high = left(after, metric)
    whole = before[f"paper_{metric.mean}"]
    paper = after[f"paper_{metric.mean}"] / whole if whole > 0 else math.nan
    told = {"name": heading(metric), "text": percent(share), "ends": _ends(100 * low, 100 * high, 0), "note": ""}
    if math.isnan(after[f"{metric.short}_kept"]):
        change, low, high = (after[f"{metric.short}_change{end}"] for end in ("", "_low", "_high"))
        told |= {"text": f"{change:+.{metric.digits}f}", "ends": _ends(low, high, metric.digits)}
        told["note"] = f"{'costs' if share < 1 else 'gains'} {100 * abs(1 - share):.0f} % of a clean round's usual size"
    return told | {"share": share, "paper": "" if math.isnan(paper) else percent(paper), "paper_share": paper}


def _ends(low: float, high: float, digits: int) -> str:
    return f"[{low:.{digits}f}, {high:.{digits}f}]" if math.isfinite(low) and math.isfinite(high) else ""


def in_words(cards: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The verdicts in words, the best first: of each card its game, what was attacked, and parts of a sentence: who,
    what, and of which of `BANDS` it is, if of one."""
    order = [*reversed(BANDS), UNSURE]
    summed = []
    for card in cards:
        found: dict[str, list[str]] = {}
        for line in card["lines"]:
            if line["verdict"]:
                clear = line["verdict"] in BANDS or line["possible"] == " or ".join(BANDS)
                word = line["verdict"] if clear else line["possible"]
                found.setdefault(word, []).append(line["policy"] or line["method"])
        words = sorted(found, key=lambda word: order.index(word) if word in order else len(BANDS) - 0.5)
        if words:
            parts = [_said(word, found[word]) for word in words]
            summed.append({"scenario": card["scenario"], "heading": card["heading"], "parts": parts})
    return summed


def _said(word: str, names: list[str]) -> dict[str, str]:
    """`RoMFAC, SA-MFAC` and `stand`."""
    who, band = ", ".join(names), word if word in BANDS else ""
    if word == UNSURE:
        return {"who": f"{who}:", "what": word, "band": band, "more": ""}
    plural = " or ".join(part.removesuffix("s") if len(names) > 1 else part for part in word.split(" or "))
    return {"who": who, "what": plural, "band": band, "more": "" if band else ", too few rounds to tell which"}
