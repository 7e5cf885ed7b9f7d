"""Pairs of rounds: intervals that hold the truth, exact tests, and the correction over all that a table compares."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar as oracle
from statsmodels.stats.multitest import multipletests

from marlrobust.metrics import KILLS
from marlrobust.reports import paired, statistics
from marlrobust.reports.cells import cells_of, pairs
from marlrobust.reports.comparisons import marked
from marlrobust.reports.labels import DASH
from marlrobust.reports.tables import table
from marlrobust.reports.text import table1
from tests.synthetic import ATTACKED, attacked, frame, rounds, row


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("n", [8, 50, 500])
def test_the_interval_of_a_kept_share_holds_it_in_95_of_100(n: int, correlation: float) -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[400.0, correlation * 20 * 30], [correlation * 20 * 30, 900.0]])
    held = 0
    for _ in range(1000):
        clean, hurt = rng.multivariate_normal([200.0, 140.0], covariance, n).T
        low, high = paired.kept_interval(hurt, clean)
        held += low <= 0.7 <= high
    assert held / 1000 == pytest.approx(0.95, abs=0.03)


def test_so_does_that_of_rewards_that_fall_to_pieces_in_some_rounds() -> None:
    """Three of ten attacked rounds keep everything, the others a fifth: nothing like a normal distribution."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(600):
        clean = 300 + rng.normal(0, 10, 30)
        hurt = np.where(rng.random(30) < 0.3, clean, 0.2 * clean)
        low, high = paired.kept_interval(hurt, clean)
        held += low <= 0.44 <= high
    assert held / 600 >= 0.92


def test_kept_shares_of_little_and_of_nothing() -> None:
    one = np.array([300.0, 310.0, 305.0])
    assert paired.kept_interval(one / 2, one) == (0.5, 0.5)
    low, high = paired.kept_interval(np.array([100.0, 200.0]), np.array([300.0, 300.0]))
    assert (low, high) == (-math.inf, math.inf)  # half of the resamples of two pairs are one pair, twice
    assert all(math.isnan(end) for end in paired.kept_interval(one[:1], one[:1]))
    assert paired.kept_interval(one, one - 304.0) == statistics.ANY  # the whole may be nothing
    other = one + np.array([1.0, -1.0, 4.0])
    assert paired.kept_interval(other, one) == paired.kept_interval(other.copy(), one.copy())


def test_the_interval_of_a_difference_of_paired_shares() -> None:
    """An example of Newcombe 1998 (Statistics in Medicine 17, 2635), method 10: both 36 times, one alone 12 and 2
    times, neither never; and the interval holds a true difference."""
    ends = [statistics.wilson_interval(n, 50) for n in (48, 38)]
    phi = (36 * 0 - 12 * 2) / math.sqrt(48 * 2 * 38 * 12)
    low, high = paired.share_change_interval(0.96, ends[0], 0.76, ends[1], phi)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-4)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        clean = rng.random(50) < 0.9
        hurt = clean & (rng.random(50) < 2 / 3)
        r = statistics.correlation_of_means(pd.Series(hurt, dtype=float), pd.Series(clean, dtype=float))
        own, whole = (statistics.wilson_interval(int(x.sum()), 50) for x in (hurt, clean))
        low, high = paired.share_change_interval(hurt.mean(), own, clean.mean(), whole, r)
        held += low <= -0.3 <= high
    assert held / 600 >= 0.925


@pytest.mark.parametrize(("gained", "lost", "alike"), [(0, 0, 5), (0, 6, 10), (3, 9, 0), (7, 7, 4), (1, 30, 2)])
def test_mcnemar_is_the_exact_one(gained: int, lost: int, alike: int) -> None:
    one = np.array([1.0] * gained + [0.0] * lost + [1.0] * alike)
    other = np.array([0.0] * gained + [1.0] * lost + [1.0] * alike)
    expected = oracle([[alike, gained], [lost, 0]], exact=True).pvalue
    assert paired.mcnemar(one, other) == pytest.approx(float(expected))


def test_holm_is_holm() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20) ** 3
    assert paired.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert paired.holm([0.01, math.nan, 0.04])[:1] == [0.02]
    assert math.isnan(paired.holm([0.01, math.nan, 0.04])[1])
    assert paired.holm([]) == []


def test_pairs_are_rounds_of_one_number() -> None:
    clean, hurt = rounds([1.0, 2.0, 3.0, 4.0]), attacked([10.0, 20.0, 30.0])
    made = frame(*clean, *({**line, "round": line["round"] + 2} for line in hurt))
    one, other = cells_of(made)
    assert [values.tolist() for values in pairs(one, other, "reward")] == [[3.0, 4.0], [10.0, 20.0]]
    assert [len(values) for values in pairs(one, other, "captures")] == [0, 0]


def test_a_table_tests_each_attacked_cell_against_its_clean_one_and_corrects_for_all() -> None:
    """Ten rounds lost of ten that were won: 2 of 2^10 by chance; twice that, since the table has two such tests."""
    lost, kept = ({"attacked_agents": n, "win": n == 8} for n in (16, 8))
    made = frame(
        *(row(round=i) for i in range(10)),
        *(row(**ATTACKED | cell, round=i) for cell in (lost, kept) for i in range(10)),
    )
    lines = table(made).set_index("attacked_agents")
    assert lines.loc[16, "win_p"] == pytest.approx(2 * 2 / 2**10)
    assert lines.loc[8, "win_p"] == 1.0
    assert lines["win_p"].isna().tolist() == [True, False, False]
    assert table1(table(made))["attack changes"].tolist() == [DASH, DASH, "win rate"]
    assert (lines.loc[16, "win_change"], lines.loc[8, "win_change"]) == (-1.0, 0.0)


def test_the_best_and_what_cannot_be_told_from_it_are_marked() -> None:
    """By pairs: two policies that differ by 1 in each round are told apart, though their rounds differ by far more."""
    rng = np.random.default_rng(0)
    start = rng.normal(300, 40, 30)
    levels = {"mfac": start, "romfac": start + 1 + rng.normal(0, 0.1, 30), "sa-mfac": start + rng.normal(1, 60, 30)}
    made = frame(*(line for name, r in levels.items() for line in rounds(r.tolist(), method=name, policy=name)))
    marks = table(made).set_index("policy")["reward_mark"]
    best = max(levels, key=lambda name: levels[name].mean())
    assert marks[best] == "best"
    assert marks["sa-mfac" if best == "romfac" else "romfac"] == "same"
    assert (marks["mfac"] == "") is (best == "romfac")
    alone = table(made[made["policy"] == "mfac"])
    assert alone["reward_mark"].tolist() == [""]


def test_the_best_is_read_by_the_metrics_direction() -> None:
    made = frame(
        *(row(round=i, policy=name, kills=kills + i % 2) for name, kills in (("a", 10), ("b", 40)) for i in range(9))
    )
    lines, cells = table(made).set_index("policy", drop=False), {cell["cell"]: cell for cell in cells_of(made)}
    for metric, best in ((KILLS, "b"), (replace(KILLS, better="lower"), "a")):
        for wanted, marked_ in ((1, best), (-1, "ab".replace(best, ""))):
            found = marked(lines, cells, ["attacked_agents"], metric, wanted)
            assert found[marked_] == "best"
            assert sorted(found) == ["", "best"]


def test_chance_marks_hardly_anybody_as_worse() -> None:
    """Ten policies that are all alike, 40 times: some table errs in one of 20 times at most."""
    rng = np.random.default_rng(0)
    erred = 0.0
    for _ in range(40):
        cells = [rounds(rng.normal(0, 1, 20).tolist(), policy=f"p{i}") for i in range(10)]
        erred += float((table(frame(*(line for cell in cells for line in cell)))["reward_mark"] == "").any())
    assert erred <= 5
