"""How policies were trained, on the page: from the logs that an evaluation takes along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marlrobust.errors import UserError
from marlrobust.reports.learning import POINTS, figure, stored_curves, thinned
from marlrobust.rows import PolicyFacts, Record
from tests.synthetic import RECORD
from tests.test_cli import call


def record(*logs: str) -> Record:
    facts = {"scenario": "battle", "role": "soldier", "rounds": 9, "planned_rounds": 9, "seed": 0, "hash": "abc"}
    made = [{**facts, "name": log, "method": "mfac", "log": f"training/{log}"} for log in logs]
    policies = map(PolicyFacts.model_validate, made)
    return RECORD.model_copy(update={"policies": tuple(policies)})


def test_an_evaluation_takes_the_logs_of_its_policies_along(runs: Path, tmp_path: Path) -> None:
    """And its report can be made again without the policies."""
    small = ["--game-option", "map_size=16", "--rounds", 2, "--steps", 6, "--attack", "fgsm", "--workers", 1]
    flags = ["--runs", runs, "--scenario", "battle", "--agents", "0,2", "--out", tmp_path / "out"]
    done = call("attack", *flags, *small)
    assert done.exit_code == 0, done.output
    for name in ("mfac", "romfac"):
        taken = (tmp_path / "out" / "training" / f"battle-{name}.csv").read_bytes()
        assert taken == (runs / "battle" / name / "train.csv").read_bytes()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "How they were trained</h2>" in page
    assert (tmp_path / "out" / "training.svg").exists()
    assert call("report", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "report.html").read_text() == page


def test_a_folder_from_elsewhere_names_no_file_outside_it(tmp_path: Path) -> None:
    odd = record("good.csv")
    facts = odd.policies[0].model_copy(update={"log": "training/../../secret.csv"})
    odd.model_copy(update={"policies": (facts,)}).write(tmp_path)
    with pytest.raises(UserError, match="log"):
        Record.read(tmp_path)


def test_what_is_no_log_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "good.csv").write_text(
        "iteration,rounds,reward,mu,epsilon\n1,8,-3.5,0,0\n2,16,4,0.1,0.075\n"
    )
    (tmp_path / "training" / "bad.csv").write_text("loss\nhigh\n")
    (tmp_path / "training" / "odd.csv").write_text("rounds,reward,mu,epsilon\nmany,1,2,3\n")
    found = stored_curves(tmp_path, record("good.csv", "bad.csv", "odd.csv", "none.csv"))
    assert found["policy"].tolist() == ["good.csv"] * 2
    assert found["mu"].tolist() == [0, 0.1]
    assert stored_curves(tmp_path, record("bad.csv")).empty
    assert stored_curves(tmp_path, record()).empty


def test_the_schedules_are_drawn_below_the_reward(tmp_path: Path) -> None:
    lines = [f"{i},{8 * i},{i},{0.1 * (i > 50)},{0.075 * (i > 50)}" for i in range(1, 101)]
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "a.csv").write_text("\n".join(["iteration,rounds,reward,mu,epsilon", *lines]))
    curves = stored_curves(tmp_path, record("a.csv"))
    for narrow in (False, True):
        panels = figure(curves, narrow).axes
        assert [panel.get_ylabel() for panel in panels] == ["Reward per round", "mu", "epsilon"]
        assert np.asarray(panels[1].lines[0].get_ydata()).max() == 0.1
        assert np.asarray(panels[0].lines[0].get_xdata())[-1] == 800


def test_a_long_curve_keeps_its_mean() -> None:
    x = pd.Series(np.arange(5000.0))
    at, values = thinned(x, 2 * x)
    assert len(at) == POINTS
    assert values == [2 * place for place in at]
    assert thinned(x[:3], x[:3]) == ([0, 1, 2], [0, 1, 2])
