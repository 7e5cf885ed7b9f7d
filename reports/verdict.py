"""What a policy keeps under attack, and what that is called: stands, bends, falls, or not enough rounds to tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marlrobust.reports.statistics import ratio_interval
from marlrobust.rows import REWARD, WIN, Metric

WEIGHED = (REWARD, WIN)
"""A policy is called after the one of these of which it keeps least."""

BANDS = {"falls": 0.6, "bends": 0.9, "stands": math.inf}
"""Name to the kept share below which it holds, the worst first."""

UNSURE = "not enough rounds to tell"


@dataclass(frozen=True)
class Verdict:
    """word: a band, or `UNSURE`; possible: the bands that the intervals leave open; reason: why there is no word."""

    word: str = ""
    possible: tuple[str, ...] = ()
    reason: str = ""


def kept(
    metric: Metric, clean: Mapping[Any, Any], attacked: Mapping[Any, Any], correlation: float
) -> tuple[float, float, float]:
    """The attacked mean as a share of the clean one, and its 95 % interval; NaN where the clean one is not above 0.

    clean, attacked: lines of `tables.table`; correlation: of the two means, from the rounds that are pairs.
    """
    part, whole = float(attacked[metric.mean]), float(clean[metric.mean])
    if math.isnan(part) or not whole > 0:
        return math.nan, math.nan, math.nan
    ends, whole_ends = ((line[f"{metric.short}_low"], line[f"{metric.short}_high"]) for line in (attacked, clean))
    return part / whole, *ratio_interval(part, ends, whole, whole_ends, correlation)


def verdict(line: Mapping[Any, Any], metrics: Sequence[Metric]) -> Verdict:
    """Of a line with `kept` shares: the worst of its metrics; metrics: those that the rows have."""
    weighed = [m for m in metrics if m in WEIGHED and not math.isnan(line[f"{m.short}_kept"])]
    if REWARD not in weighed:
        return Verdict(reason="no verdict: the clean reward is not above zero, so no share of it can be kept")
    lows, highs = ([_band(line[f"{m.short}_kept_{end}"], end) for m in weighed] for end in ("low", "high"))
    names = list(BANDS)
    possible = tuple(names[min(lows) : min(highs) + 1])
    return Verdict(possible[0] if len(possible) == 1 else UNSURE, possible)


def least_kept(line: Mapping[Any, Any], metrics: Sequence[Metric]) -> float:
    """The smallest kept share of the metrics that are weighed; infinite where there is none."""
    shares = [float(line[f"{m.short}_kept"]) for m in metrics if m in WEIGHED]
    return min((share for share in shares if not math.isnan(share)), default=math.inf)


def _band(share: float, end: str) -> int:
    """Place of a share in `BANDS`; an end that is not known may be in any."""
    if math.isnan(share):
        return 0 if end == "low" else len(BANDS) - 1
    return next(place for place, limit in enumerate(BANDS.values()) if share < limit or limit == math.inf)
