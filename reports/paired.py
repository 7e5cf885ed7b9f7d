"""What two sets of rounds say beside each other: their rounds of one number are pairs (`cells.pairs`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from marlrobust.reports.statistics import ANY, Interval, mean_interval, t_quantile

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Of a bootstrap: an end of its 95 % interval lies between the 50th and the 51st of them."""

MANY = 400
"""Pairs above which a mean is normal enough: resamples would tell nothing more."""


def kept_interval(part: Floats, whole: Floats, confidence: float = 0.95) -> Interval:
    """The interval of mean(part) / mean(whole) of n pairs: a paired bootstrap, studentised.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 12.5; the error of a ratio is that of its
    linear part. The mean of `whole` is above 0. Returns (nan, nan) for fewer than two pairs, and (-inf, inf) where
    the resamples do not hold the whole above 0. The same pairs give the same interval. Of more than `MANY` pairs it is
    Student's t interval of that linear part.
    """
    n = len(part)
    if n < 2:
        return math.nan, math.nan
    ratio = part.mean() / whole.mean()
    error = math.sqrt(np.mean((part - ratio * whole) ** 2) / (n - 1)) / whole.mean()
    if error < 1e-12 * max(1.0, abs(ratio)):
        return ratio, ratio
    if n > MANY:
        half = t_quantile(confidence, n - 1) * error
        return ratio - half, ratio + half
    weights = resamples(n)
    wholes = weights @ whole
    if np.mean(wholes <= 0) > (1 - confidence) / 10:
        return ANY
    ratios = weights @ part / wholes
    squares = weights @ part**2 - 2 * ratios * (weights @ (part * whole)) + ratios**2 * (weights @ whole**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        students = (ratios - ratio) / (np.sqrt(np.maximum(squares, 0) / (n - 1)) / wholes)
    students = np.sort(np.nan_to_num(students, nan=0.0, posinf=np.inf, neginf=-np.inf))  # NaN: it differs in nothing
    tail = int((1 - confidence) / 2 * len(students))
    return ratio - float(students[-tail - 1]) * error, ratio - float(students[tail]) * error


@lru_cache(16)
def resamples(n: int) -> Floats:
    """How much each of n values weighs in each resample, (RESAMPLES, n): drawn once, whatever the values."""
    rng = np.random.default_rng([2022, n])
    return rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n


def change_interval(one: Floats, other: Floats, confidence: float = 0.95, within: Interval = ANY) -> Interval:
    """Student's t interval of the mean of one - other over pairs, cut to what is possible."""
    change = one - other
    spread = change.std(ddof=1) if len(change) > 1 else math.nan
    return mean_interval(change.mean(), spread, len(change), confidence, within)


def share_change_interval(
    one: float, ends: Interval, other: float, other_ends: Interval, correlation: float
) -> Interval:
    """The interval of a difference of two paired shares, from the interval of each: Newcombe's method 10.

    Improved confidence intervals for the difference between binomial proportions based on paired data, Statistics in
    Medicine 17 (1998), which is Zou and Donner's MOVER with correlation. In [-1, 1].
    """

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * correlation * a * b + b * b, 0.0))

    change = one - other
    low, high = reach(one - ends[0], other_ends[1] - other), reach(ends[1] - one, other - other_ends[0])
    return max(change - low, -1.0), min(change + high, 1.0)


def mcnemar(one: Floats, other: Floats) -> float:
    """McNemar's exact test of pairs of yes (1) or no (0): the two-sided p-value of the rounds that differ."""
    gained, lost = int(((one > 0) & (other <= 0)).sum()), int(((one <= 0) & (other > 0)).sum())
    return min(1.0, 2 * float(special.bdtr(min(gained, lost), gained + lost, 0.5)))


def mean_test(one: Floats, other: Floats) -> float:
    """The two-sided p-value of Student's t test of paired differences; 1 where nothing differs, NaN for one pair."""
    change = one - other
    if len(change) < 2:
        return math.nan
    spread, mean = float(change.std(ddof=1)), float(change.mean())
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return 0.0 if mean else 1.0
    return float(2 * stats.t.sf(abs(mean) / (spread / math.sqrt(len(change))), len(change) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected so that all of them together err in no more than one of 20 (Holm 1979);
    what could not be tested, NaN, stays NaN and counts for nothing."""
    p = np.asarray(p_values, float)
    order = [i for i in np.argsort(p) if not math.isnan(p[i])]
    corrected, least = np.full(len(p), math.nan), 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, p[i] * (len(order) - place)))
        corrected[i] = least
    return corrected.tolist()
