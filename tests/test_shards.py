"""Shards: an evaluation in parts gives the rows of the whole, and says what is missing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from marlrobust.cli import main
from marlrobust.rows import RECORD

ROWS = "rows.csv"


def attack(runs: Path, out: Path, *more: str) -> Result:
    arguments = ["attack", "--runs", str(runs), "--scenario", "battle", "--policy", "mfac"]
    arguments += ["--agents", "0,6", "--rounds", "2", "--attack", "pgd:steps=2", "--attack", "random", "--seed", "3"]
    arguments += ["--game-option", "map_size=16", "--steps", "10", "--workers", "1", "--no-replays"]
    return CliRunner().invoke(main, [*arguments, "--out", str(out), *more])


@pytest.fixture(scope="module")
def parts(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for i in (1, 2, 3):
        done = attack(runs, folder / str(i), "--shard", f"{i}/3")
        assert done.exit_code == 0, done.output
    return folder


def merge(out: Path, *folders: Path) -> Result:
    return CliRunner().invoke(main, ["merge", *map(str, folders), "--out", str(out)])


def test_shards_together_are_the_whole_evaluation(runs: Path, parts: Path, tmp_path: Path) -> None:
    assert attack(runs, tmp_path / "whole").exit_code == 0
    assert merge(tmp_path / "merged", *(parts / str(i) for i in (2, 3, 1))).exit_code == 0
    order = ["policy", "attack", "attacked_agents", "round"]
    whole, merged = (pd.read_csv(tmp_path / name / ROWS).sort_values(order) for name in ("whole", "merged"))
    pd.testing.assert_frame_equal(whole.reset_index(drop=True), merged.reset_index(drop=True), check_exact=True)
    cells = [len(list((parts / str(i) / "cells").glob("*.json"))) for i in (1, 2, 3)]
    assert sum(cells) == len(whole["cell"].unique())
    assert max(cells) - min(cells) <= 1


def test_what_is_missing_is_said(runs: Path, parts: Path, tmp_path: Path) -> None:
    done = merge(tmp_path / "merged", parts / "1", parts / "3")
    assert done.exit_code != 0
    assert "1 of 3 shards are not given, the first of them 2/3" in done.output
    assert attack(runs, tmp_path / "whole").exit_code == 0
    assert "is a whole evaluation, and no shard of one" in merge(tmp_path / "merged", tmp_path / "whole").output
    assert attack(runs, tmp_path / "other", "--shard", "2/3", "--eps", "0.2").exit_code == 0
    done = merge(tmp_path / "merged", parts / "1", tmp_path / "other", parts / "3")
    assert "is no part of the same evaluation" in done.output
    assert not (tmp_path / "merged" / RECORD).exists()


def test_a_part_that_was_not_played_to_its_end_is_named(runs: Path, tmp_path: Path) -> None:
    for i in (1, 2):
        assert attack(runs, tmp_path / str(i), "--shard", f"{i}/2").exit_code == 0
    next((tmp_path / "2" / "cells").glob("*.json")).unlink()
    done = merge(tmp_path / "merged", tmp_path / "1", tmp_path / "2")
    assert done.exit_code != 0
    assert "lacks 1 of" in done.output


@pytest.mark.parametrize(
    ("shard", "said"),
    [("3", "as in 3/16"), ("0/4", "numbered from 1"), ("5/4", "numbered from 1"), ("9/9", "3 cells for 9 shards")],
)
def test_a_mistyped_shard_is_explained(runs: Path, tmp_path: Path, shard: str, said: str) -> None:
    done = attack(runs, tmp_path, "--shard", shard)
    assert done.exit_code != 0
    assert said in str(done.output) + str(done.exception)


def test_shards_do_not_go_with_until(runs: Path, tmp_path: Path) -> None:
    assert "do not go together" in attack(runs, tmp_path, "--shard", "1/2", "--until", "0.1").output
