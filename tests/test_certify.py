"""The command certify: its rows, what it resumes, and where the bracket is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from marlrobust.cli import main
from marlrobust.config import resolve
from marlrobust.evaluation import certify
from marlrobust.evaluation.settings import CertifySettings
from marlrobust.policies.library import Library
from marlrobust.reports.bracket import bracket_figure, bracket_table, bracket_text

SMALL: dict[str, Any] = {
    "scenario": "battle",
    "game": {"map_size": 16, "max_steps": 20},
    "rounds": 2,
    "decisions": 12,
    "policies": ("mfac",),
}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def certified(runs: Path, out: Path, **layer: Any) -> pd.DataFrame:
    rows, folder = certify.run_certify(resolve(CertifySettings, SMALL, layer), Library(runs), out, print)
    assert folder == out
    return rows


def test_attacked_is_below_open_and_larger_radii_open_more(runs: Path, tmp_path: Path) -> None:
    rows = certified(runs, tmp_path, epsilons=(0.0, 0.01, 0.3))
    assert len(rows) == 36
    assert not (rows["flipped"] & rows["certified"]).any()
    table = bracket_table(rows)
    assert (table["flipped"] <= table["open"]).all()
    assert table["open"].is_monotonic_increasing
    assert table["open"].iloc[0] < table["open"].iloc[-1]
    assert bracket_text(table)["policy"].tolist() == ["mfac"] * 3
    assert bracket_figure(table).axes


def test_rows_repeat_and_what_is_stored_is_not_computed_again(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = certified(runs, tmp_path / "a", epsilons=(0.01,))
    pd.testing.assert_frame_equal(first, certified(runs, tmp_path / "b", epsilons=(0.01,)))
    monkeypatch.setattr(certify, "_bracket", None)
    pd.testing.assert_frame_equal(first, certified(runs, tmp_path / "a", epsilons=(0.01,)))


def test_decisions_come_from_all_rounds_and_steps(runs: Path) -> None:
    settings = resolve(CertifySettings, SMALL, {"decisions": 60, "epsilons": (0.01,)})
    (bracket,) = certify.plan_brackets(settings, Library(runs))
    decisions = certify.draw(bracket)
    assert len(decisions) == 60
    assert len({row.numpy().tobytes() for row in decisions.dense}) > 40


def test_the_report_of_an_evaluation_in_the_same_folder_shows_the_bracket(runs: Path, tmp_path: Path) -> None:
    shared = ["--runs", runs, "--scenario", "battle", "--game-option", "map_size=16", "--policy", "mfac"]
    one = ["--rounds", 2, "--steps", 10, "--out", tmp_path]
    assert call("attack", *shared, *one, "--agents", "0,3", "--attack", "fgsm", "--workers", 1).exit_code == 0
    page = tmp_path / "report.html"
    assert "The bracket" not in page.read_text()
    done = call("certify", *shared, *one, "--eps", "0.01,0.1", "--decisions", 8, "--attack", "pgd")
    assert done.exit_code == 0, done.output
    assert "not certified" in done.output
    assert "The bracket" in page.read_text()
    assert (tmp_path / "bracket.png").exists()
    assert call("report", tmp_path).exit_code == 0
    assert "The bracket" in page.read_text()


def test_mistakes_are_told(runs: Path, tmp_path: Path) -> None:
    done = call("certify", "--runs", runs, "--policy", "nobody", "--out", tmp_path)
    assert done.exit_code == 2
    assert "there is no policy 'nobody'" in done.output
    done = call("certify", "--runs", runs, "--attack", "pdg", "--out", tmp_path)
    assert done.exit_code == 2
    assert "did you mean 'pgd'" in done.output
    assert not list(tmp_path.iterdir())
