"""Two policies, or two evaluations, beside each other: pairs of rounds, and a sentence that claims no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marlrobust.errors import UserError
from marlrobust.reports.compare import compare, policy_rows, terminal, verdict
from tests.synthetic import attacked, frame, rounds
from tests.test_cli import call, refused

NOISE = np.random.default_rng(0).normal(0, 40, 30)
WHOLE: dict[str, Any] = {"attacked_agents": 64}


def both(by: float, **more: Any) -> pd.DataFrame:
    """mfac and romfac, which earns `by` more under attack; rounds differ by far more than policies do."""
    rng = np.random.default_rng(1)
    hurt = 200 + NOISE
    return frame(
        *rounds((300 + NOISE).tolist(), policy="mfac"),
        *rounds((300 + NOISE + rng.normal(0, 1, 30)).tolist(), policy="romfac", method="romfac", **more),
        *attacked(hurt.tolist(), policy="mfac", **WHOLE),
        *attacked((hurt + by + rng.normal(0, 1, 30)).tolist(), policy="romfac", method="romfac", **WHOLE, **more),
    )


def sides(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [policy_rows(rows, name) for name in ("mfac", "romfac")]


def test_a_difference_is_told_by_pairs() -> None:
    lines = compare(*sides(both(5)))
    assert lines["attacked_agents"].tolist() == [0, 64]
    assert lines["reward_difference"].tolist() == pytest.approx([0, 5], abs=0.6)
    assert lines["reward_low"][1] > 4
    assert (lines["reward_p"] < 0.05).tolist() == [False, True]
    sentence = verdict(lines, ("mfac", "romfac"))
    assert sentence.startswith("In battle, with all 64 attacked (PGD, ε = 0.075), over 30 paired rounds, compared ")
    assert sentence.endswith("] higher (p < 0.001). Corrected for 2 comparisons.")
    assert "with mfac, romfac's reward is 5." in sentence
    assert "] lower (p < 0.001)" in verdict(compare(*sides(both(-5))), ("mfac", "romfac"))
    text = terminal(lines, ("mfac", "romfac"))
    assert "reward, difference" in text
    assert text.splitlines()[-1].count("*") == 1


def test_what_is_not_told_apart_is_not_claimed() -> None:
    sentence = verdict(compare(*sides(both(0))), ("mfac", "romfac"))
    assert "romfac and mfac cannot be told apart" in sentence


def test_rounds_of_another_seed_or_opponent_are_no_pairs() -> None:
    changes: tuple[dict[str, Any], ...] = ({"seed": 8}, {"opponent_hash": "1" * 64}, {"greedy": True})
    for change in changes:
        with pytest.raises(UserError, match="share no rounds"):
            compare(*sides(both(5, **change)))


def test_several_policies_of_two_evaluations_are_compared_by_name() -> None:
    before, after = both(5), both(9)
    lines = compare(before, after)
    assert lines["one"].tolist() == lines["other"].tolist() == ["mfac", "romfac", "mfac", "romfac"]
    assert lines["reward_difference"].tolist() == pytest.approx([0, 0, 0, 4])


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(UserError, match="no policy 'romfax' in this evaluation: did you mean 'romfac'"):
        policy_rows(both(5), "romfax")


@pytest.fixture
def folder(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    small = ["--game-option", "map_size=16", "--rounds", 9, "--steps", 8, "--attack", "fgsm", "--workers", 1]
    flags = ["--runs", runs, "--scenario", "battle", "--agents", "0,2", "--out", "results/a", "--json"]
    done = call("attack", *flags, *small)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["rounds"] == 36
    assert {line["policy"] for line in content["lines"]} == {"mfac", "romfac"}
    assert Path(content["report"]).exists()
    again = json.loads(call("report", "results/a", "--json").stdout)
    assert again["lines"] == content["lines"]
    return tmp_path / "results" / "a"


def test_the_command_finds_the_newest_evaluation_or_takes_folders(folder: Path) -> None:
    one = call("compare", "mfac", "romfac")
    assert one.exit_code == 0, one.output
    assert "in results/a" in one.output
    assert "In battle, with 2 attacked (FGSM" in one.output
    same = call("compare", folder, folder)
    assert "cannot be told apart" in same.output
    told = json.loads(call("compare", "mfac", "romfac", "--in", folder, "--json").stdout)
    assert (told["a"], told["b"], len(told["lines"])) == ("mfac", "romfac", 2)
    assert told["verdict"].splitlines()[0] in one.output
    refused(call("compare", "mfac", "romfax"), "no evaluation under results has both", "--in FOLDER")
    refused(call("compare", "mfac", "romfax", "--in", folder), "did you mean 'romfac'")
