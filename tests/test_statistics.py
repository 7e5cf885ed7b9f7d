"""Intervals: textbook values, and what must hold for every count."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marlrobust.reports.statistics import (
    correlation_of_means,
    interval_of_mean,
    mean_interval,
    ratio_interval,
    training_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (Wilson's score interval).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_textbook_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 2000))
    return draw(st.integers(0, n)), n


@given(counts())
def test_wilson_holds_the_share_and_stays_in_0_1(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@given(counts())
def test_wilson_of_losses_mirrors_that_of_wins(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson_interval(successes, n)
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(counts())
def test_wilson_widens_with_confidence_and_narrows_with_rounds(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson_interval(successes, n)
    wide_low, wide_high = wilson_interval(successes, n, 0.99)
    more_low, more_high = wilson_interval(4 * successes, 4 * n)
    assert wide_high - wide_low > high - low > more_high - more_low


def test_wilson_needs_a_round() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        wilson_interval(0, 0)


def test_mean_interval_by_hand() -> None:
    # 1, 2, 3, 4, 5: mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445.
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert mean_interval(3, math.sqrt(2.5), 5) == pytest.approx((3 - half, 3 + half), abs=1e-6)


def test_one_round_has_no_spread() -> None:
    assert np.isnan(mean_interval(3.0, math.nan, 1)).all()


def test_rounds_all_alike_have_a_point_for_an_interval() -> None:
    assert mean_interval(3.0, 0.0, 10) == (3.0, 3.0)


def test_a_training_interval_covers_the_mean_of_all_trainings() -> None:
    """Five runs of twenty rounds each, whose means differ: 95 % hold the truth; pooled rounds far fewer."""
    rng = np.random.default_rng(0)
    held, pooled = 0, 0
    for _ in range(600):
        runs = rng.normal(0, 1, (5, 1)) + rng.normal(0, 1, (5, 20))
        low, high = training_interval(runs.mean(1).tolist())
        held += low <= 0 <= high
        low, high = mean_interval(runs.mean(), runs.std(ddof=1), runs.size)
        pooled += low <= 0 <= high
    assert held / 600 == pytest.approx(0.95, abs=0.03)
    assert pooled / 600 < 0.7


def test_one_training_has_no_interval() -> None:
    assert all(math.isnan(end) for end in training_interval([3.0]))


def test_the_interval_of_a_mean_narrows_with_the_root_of_their_number() -> None:
    assert interval_of_mean([5.0], [4.0], [7.0]) == (4.0, 7.0)
    low, high = interval_of_mean([5.0] * 4, [4.0] * 4, [7.0] * 4)
    assert (low, high) == pytest.approx((4.5, 6.0))


def test_an_interval_ends_where_values_do() -> None:
    assert mean_interval(1.0, 5.0, 4, within=(0.0, 3.0)) == (0.0, 3.0)
    assert training_interval([0.0, 1.0], within=(0.0, 1.0)) == (0.0, 1.0)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("n", [8, 50])
def test_the_interval_of_a_ratio_of_paired_means_holds_it_in_95_of_100(n: int, correlation: float) -> None:
    """The truth is 0.7; leaving the pairs out of it would be far too wide where they go together."""
    rng = np.random.default_rng(0)
    covariance = np.array([[400.0, correlation * 20 * 30], [correlation * 20 * 30, 900.0]])
    held, paired, alone = 0, 0.0, 0.0
    for _ in range(1500):
        clean, hurt = rng.multivariate_normal([200.0, 140.0], covariance, n).T
        ends = [mean_interval(x.mean(), x.std(ddof=1), n) for x in (hurt, clean)]
        r = correlation_of_means(pd.Series(hurt, dtype=float), pd.Series(clean, dtype=float))
        low, high = ratio_interval(hurt.mean(), ends[0], clean.mean(), ends[1], r)
        held += low <= 0.7 <= high
        paired += high - low
        wide = ratio_interval(hurt.mean(), ends[0], clean.mean(), ends[1], 0.0)
        alone += wide[1] - wide[0]
    assert held / 1500 == pytest.approx(0.95, abs=0.02)
    assert paired < alone * (1.05 - 0.3 * correlation)


def test_the_interval_of_a_ratio_of_paired_shares_holds_it() -> None:
    """Won with probability 0.9 without, 0.6 with the attack, which never turns a loss into a win."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(800):
        clean = rng.random(50) < 0.9
        hurt = clean & (rng.random(50) < 2 / 3)
        r = correlation_of_means(pd.Series(hurt, dtype=float), pd.Series(clean, dtype=float))
        ends = [wilson_interval(int(x.sum()), 50) for x in (hurt, clean)]
        low, high = ratio_interval(hurt.mean(), ends[0], clean.mean(), ends[1], r)
        held += low <= 2 / 3 <= high
    assert 0.925 <= held / 800 <= 1


def test_a_ratio_has_no_end_where_its_whole_may_be_nothing() -> None:
    assert ratio_interval(1.0, (0.5, 1.5), 1.0, (-0.5, 2.5), 0.0) == (-math.inf, math.inf)
    assert all(math.isnan(end) for end in ratio_interval(1.0, (math.nan, 1.5), 1.0, (0.5, 2.5), 0.0))
    assert ratio_interval(3.0, (3.0, 3.0), 4.0, (4.0, 4.0), 0.0) == (0.75, 0.75)


def test_rounds_that_only_one_side_has_are_no_pairs() -> None:
    one, other = (pd.Series(range(n, n + 10), range(n, n + 10), float) for n in (0, 5))
    assert correlation_of_means(one, one) == pytest.approx(1.0)
    assert correlation_of_means(one, other) == pytest.approx(0.5)
    assert correlation_of_means(one, other.set_axis(range(20, 30))) == 0.0
