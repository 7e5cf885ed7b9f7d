"""Confidence intervals over the rounds of one evaluation.

They say how far the mean over *rounds* may be off for the policy that was tested. They do not say how
another training run of the same method would do.
"""

from __future__ import annotations

import math

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
