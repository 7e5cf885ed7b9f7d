"""Confidence intervals, over the rounds of one evaluation or over the training runs of a method.

Those over *rounds* say how far a mean may be off for the policies that were tested. They do not say how another
training run of the same method would do: `training_interval` does, from several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
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


def mean_interval(mean: float, std: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean, in the units of the mean.

    std: sample standard deviation (ddof = 1) of the n rounds. One round has no spread: (nan, nan).
    """
    if n < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    return mean - half, mean + half


def training_interval(means: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean over training runs, from the mean of each run's rounds.

    Each run counts once, however many rounds it was tested in: rounds of one run are alike, and pooled they would
    pass for more than they are. What the rounds leave open is in the spread of the means already. One run has
    none: (nan, nan).
    """
    return mean_interval(float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
                         len(means), confidence)  # fmt: skip


def interval_of_mean(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """The interval of the mean of independent numbers, from the interval of each (Zou and Donner 2008).

    Of policies tested in rounds of their own: how far the mean of just these policies may be off. Of one it is its
    own interval.
    """
    m, k = np.asarray(means, float), len(means)
    below, above = (np.sqrt(np.sum((m - np.asarray(ends, float)) ** 2)) / k for ends in (lows, highs))
    return float(m.mean() - below), float(m.mean() + above)
