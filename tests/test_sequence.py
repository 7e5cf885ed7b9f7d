"""A confidence sequence holds at every time at once, and is narrow enough to be of use."""

from __future__ import annotations

import numpy as np
import pytest

from marlrobust.reports.statistics import wilson_interval
from marlrobust.sequence import confidence_sequence

LOOKS = (5, 10, 20, 40, 80, 160, 320)


@pytest.mark.parametrize(("mean", "aim"), [(0.02, 0.02), (0.3, 0.1), (0.5, 0.05), (0.9, 0.03), (1.0, 0.02)])
def test_it_holds_the_truth_at_every_look_in_95_of_100(mean: float, aim: float) -> None:
    """Wilson's interval, looked at as often, misses it far more often."""
    rng = np.random.default_rng(0)
    held, wilson = 0, 0
    for _ in range(250):
        x = (rng.random(LOOKS[-1]) < mean).astype(float)
        held += all(low <= mean <= high for low, high in (confidence_sequence(x[:n], aim) for n in LOOKS))
        ends = [wilson_interval(int(x[:n].sum()), n) for n in LOOKS]
        wilson += all(low <= mean <= high for low, high in ends)
    assert held / 250 >= 0.95
    if 0.1 < mean < 1:
        assert wilson / 250 < 0.93


def test_one_who_stops_when_it_suits_him_is_right_as_often() -> None:
    """Stopped as soon as 0.5 is out, or after 400: that happens in one of twenty times at most."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(120):
        x = (rng.random(400) < 0.5).astype(float)
        ends = (confidence_sequence(x[:n], 0.07) for n in range(10, 401, 10))
        wrong += any(not low <= 0.5 <= high for low, high in ends)
    assert wrong / 120 <= 0.05


def test_it_holds_numbers_between_0_and_1() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        x = rng.beta(2, 5, 200)
        held += all(low <= 2 / 7 <= high for low, high in (confidence_sequence(x[:n]) for n in (20, 50, 100, 200)))
    assert held / 200 >= 0.95


def test_it_narrows_to_the_mean() -> None:
    """Rounds that are all won: 200 of them leave less than 2 % to either side. Of others as many are needed as the
    docstring says."""
    low, high = confidence_sequence(np.ones(200))
    assert (high, low > 0.96) == (1.0, True)
    rng = np.random.default_rng(0)
    x = (rng.random(5000) < 0.5).astype(float)
    widths = [np.diff(confidence_sequence(x[:n]))[0] for n in (50, 500, 5000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.04  # Wilson's, which may be looked at once, is 0.028
    assert confidence_sequence([]) == (0.0, 1.0)


def test_what_is_not_bounded_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        confidence_sequence([0.5, 1.1])
