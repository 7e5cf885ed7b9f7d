"""What several trainings of a method say: runs count before rounds, and few runs claim nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import trim_mean

from marlrobust.metrics import REWARD
from marlrobust.reports import sections, tables
from marlrobust.reports.trainings import ends, few, improvement, improvements, interquartile_mean, over_runs, resampled
from tests.synthetic import frame
from tests.test_reports import page
from tests.test_tables import THREE, runs_of

ROMFAC = {"x": [300.0, 302.0], "y": [280.0, 290.0], "z": [310.0, 306.0]}


def both(seeds: int = 3) -> pd.DataFrame:
    chosen = dict(list(ROMFAC.items())[:seeds])
    return frame(*runs_of("mfac", THREE, [0, 1, 2]), *runs_of("romfac", chosen, [0, 1, 2][:seeds]))


@pytest.mark.parametrize("n", [4, 8, 40])
def test_the_interquartile_mean_is_the_mean_of_the_middle_half(n: int) -> None:
    values = np.random.default_rng(0).normal(size=(5, n))
    assert interquartile_mean(values) == pytest.approx(trim_mean(values, 0.25, axis=1))


def test_of_three_runs_the_outer_ones_count_in_part() -> None:
    """The middle half of three begins and ends inside the outer ones: a quarter of each is in it."""
    assert interquartile_mean(np.array([0.0, 10.0, 80.0])) == pytest.approx((0.25 * 0 + 10 + 0.25 * 80) / 1.5)
    assert interquartile_mean(np.array([7.0])) == 7


def test_resamples_draw_runs_first_and_rounds_then() -> None:
    """Runs that differ far more than their rounds: the mean of all rounds would be far too sure."""
    rng = np.random.default_rng(0)
    runs = [rng.normal(level, 1, 200) for level in (0.0, 50.0, 100.0, 150.0)]
    drawn = resampled(runs)
    assert drawn.shape[1] == 4
    assert drawn.mean(1).std() == pytest.approx(np.std([0, 50, 100, 150]) / 2, rel=0.1)
    assert (resampled(runs) == drawn).all()
    many = resampled([rng.normal(level, 1, 1000) for level in (0.0, 50.0, 100.0, 150.0)])
    assert many.mean(1).std() == pytest.approx(drawn.mean(1).std(), rel=0.1)
    alike = resampled([rng.normal(0, 10, 25) for _ in range(4)])
    assert alike.mean(1).std() > 0.5  # rounds count where runs are alike


def test_twenty_runs_hold_the_truth_in_95_of_100() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(150):
        runs = [rng.normal(level, 3, 20) for level in rng.normal(0, 1, 20)]
        low, high = ends(interquartile_mean(resampled(runs)))
        held += low <= 0 <= high
    assert held / 150 >= 0.9


def test_the_probability_of_improvement_counts_pairs_of_runs() -> None:
    assert improvement(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx((1 + 1.5 + 2) / 6)
    (line,) = improvements(tables.of(both()), REWARD).query("attacked_agents == 8").to_dict("records")
    assert (line["better"], line["other"], line["probability"]) == ("romfac", "mfac", 1.0)
    assert 0.9 <= line["low"] <= line["high"] <= 1.0


def test_each_run_is_told() -> None:
    made = tables.of(both())
    line = over_runs(made).query("method == 'mfac' and attacked_agents == 8").iloc[0]
    assert line["reward_runs"] == "101.0; 121.0; 112.0"
    assert line["reward_iqm_low"] <= line["reward_iqm"] <= line["reward_iqm_high"]
    told = page(both())
    for words in ("101.0; 121.0; 112.0", ">middle half of runs<", "earns more than one of"):
        assert words in told
    assert "No ranking is claimed" not in told


def test_fewer_than_three_runs_are_no_ranking() -> None:
    made = tables.of(both(2))
    assert improvements(made, REWARD).empty
    assert few(made) == ["romfac"]
    assert sections.ranking(made)["lines"] == []
    assert "No ranking is claimed of RoMFAC" in page(both(2))
