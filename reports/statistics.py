"""Confidence intervals: over the rounds of one policy, over training runs, and of a ratio of two means.

Those over *rounds* say how far a mean may be off for the policies that were tested. They do not say how another
training run of the same method would do: `training_interval` does, from several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

Interval = tuple[float, float]

ANY: Interval = (-math.inf, math.inf)
"""The range of a number that may be anything."""


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927): sensible at 0 and 1 and for few rounds.

    successes: rounds won, 0 <= successes <= n; n: rounds played, at least 1; confidence: in (0, 1).
    Returns (low, high), 0 <= low <= successes / n <= high <= 1.
    """
    if n < 1:
        raise ValueError(f"an interval needs at least one round, got n = {n}")
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    share = successes / n
    # Rounding error may put an end on the wrong side of the share by 1e-17: visible in a plot's error bar.
    return max(0.0, min(float(interval.low), share)), min(1.0, max(float(interval.high), share))


def mean_interval(mean: float, std: float, n: int, confidence: float = 0.95, within: Interval = ANY) -> Interval:
    """Student's t interval of a mean, in the units of the mean, cut to the values that are possible.

    std: sample standard deviation (ddof = 1) of the n rounds; within: least and largest possible value.
    One round has no spread: (nan, nan).
    """
    if n < 2:
        return math.nan, math.nan
    half = t_quantile(confidence, n - 1) * std / math.sqrt(n)
    low, high = within
    return max(mean - half, low), min(mean + half, high)


@cache
def t_quantile(confidence: float, freedom: int) -> float:
    """Student's t quantile of a two-sided interval."""
    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def training_interval(means: Sequence[float], within: Interval = ANY) -> Interval:
    """Student's t interval of the mean over training runs, from the mean of each run's rounds.

    Each run counts once, however many rounds it was tested in: rounds of one run are alike, and pooled they would
    pass for more than they are. What the rounds leave open is in the spread of the means already. One run has
    none: (nan, nan).
    """
    std = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
    return mean_interval(float(np.mean(means)), std, len(means), within=within)


def interval_of_mean(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> Interval:
    """The interval of the mean of independent numbers, from the interval of each (Zou and Donner 2008).

    Of policies tested in rounds of their own: how far the mean of just these policies may be off. Of one it is its
    own interval.
    """
    m, k = np.asarray(means, float), len(means)
    below, above = (np.sqrt(np.sum((m - np.asarray(ends, float)) ** 2)) / k for ends in (lows, highs))
    return float(m.mean() - below), float(m.mean() + above)


def ratio_interval(part: float, ends: Interval, whole: float, whole_ends: Interval, correlation: float) -> Interval:
    """The interval of part / whole, from the interval of each and the correlation of the two means: MOVER.

    Donner and Zou, Closed-form confidence intervals for functions of the normal mean and standard deviation,
    Statistical Methods in Medical Research 21 (2012), for a ratio. An end R is where the interval of the difference
    part - R * whole (Zou and Donner 2008, with correlation) has an end at 0, which is a quadratic equation in R.

    whole: above 0; correlation: in [-1, 1]. Returns (nan, nan) where an end is not known, and (-inf, inf) where the
    interval of `whole` reaches 0.
    """
    if math.isnan(sum((*ends, *whole_ends))):
        return math.nan, math.nan
    if whole_ends[0] <= 0:
        return ANY

    def end(own: float, other: float, sign: int) -> float:
        a, b = abs(part - own), abs(whole - other)
        middle, square = part * whole - correlation * a * b, whole**2 - b**2
        if square <= 0:
            return sign * math.inf
        return (middle + sign * math.sqrt(max(middle**2 - square * (part**2 - a**2), 0.0))) / square

    return end(ends[0], whole_ends[1], -1), end(ends[1], whole_ends[0], 1)


def correlation_of_means(one: pd.Series[float], other: pd.Series[float]) -> float:
    """How the means of two sets of rounds go together: the correlation of the rounds that both have.

    one, other: a number of each round; the index says which rounds are pairs. With m pairs of n and k rounds it is
    r * m / sqrt(n * k). Fewer than three pairs, or no spread, say nothing: 0.
    """
    pairs = pd.concat([one, other], axis=1, join="inner").to_numpy()
    if len(pairs) < 3 or (pairs.std(0) == 0).any():
        return 0.0
    return float(np.corrcoef(pairs.T)[0, 1]) * len(pairs) / math.sqrt(len(one) * len(other))
