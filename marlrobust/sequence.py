"""An interval of a mean that holds whenever one stops: for numbers in [0, 1] that come one by one.

Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, Journal of the Royal Statistical
Society B 86 (2024): the hedged capital process (theorem 3), with bets that what came before decides. Who bets against a
mean that is the true one gets rich with a probability of 1 - confidence at most, at any time: a mean at which the
capital passes 1 / (1 - confidence) is out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST = 0.75
"""Share of the capital that a bet risks, at most."""

HALVINGS = 40
"""Of the range in which an end is looked for."""


def confidence_sequence(values: npt.ArrayLike, aim: float = 0.02, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the mean after these values, in their order; one may look after each, and stop by what one sees.

    values: (n,) in [0, 1], independent and of one distribution; raises ValueError for others. Of none it is (0, 1).
    aim: half of the width at which one wants to stop. It holds for any, and is narrowest about there, for about
    2 log(2 / 0.05) variance / aim² values.
    """
    x = np.asarray(values, float)
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("a confidence sequence is of numbers from 0 to 1")
    if not len(x):
        return 0.0, 1.0
    bets = _bets(x, aim)
    enough = math.log(2 / (1 - confidence))  # half of the capital bets on more, half on less

    def too_low(m: float) -> bool:
        """The half that bets on more than m gets rich; the less m is, the richer."""
        return float(np.log1p(np.minimum(bets, LARGEST / max(m, 1e-300)) * (x - m)).sum()) >= enough

    def too_high(m: float) -> bool:
        return float(np.log1p(-np.minimum(bets, LARGEST / max(1 - m, 1e-300)) * (x - m)).sum()) >= enough

    mean = float(x.mean())
    return _end(too_low, 0.0, mean), _end(too_high, 1.0, mean)


def _bets(x: Floats, aim: float) -> Floats:
    """How much is bet on each value (n,): what makes most of means that are `aim` away, by the variance so far."""
    n = np.arange(1, len(x) + 1)
    means = (0.5 + np.cumsum(x)) / (n + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (n + 1)
    bets: Floats = aim / np.concatenate([[0.25], variances[:-1]])
    return bets


def _end(out: Callable[[float], bool], far: float, near: float) -> float:
    """The last point, from `near` towards `far`, that is not out; on the safe side of the true one."""
    if not out(far):
        return far
    for _ in range(HALVINGS):
        middle = (far + near) / 2
        if out(middle):
            far = middle
        else:
            near = middle
    return far
