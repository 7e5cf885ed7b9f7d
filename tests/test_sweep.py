"""A sweep repeats, resumes, and survives what disks do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from marlrobust.config import SweepSettings, resolve
from marlrobust.errors import UserError
from marlrobust.evaluation import sweep as sweep_module
from marlrobust.evaluation import workers
from marlrobust.evaluation.runner import Evaluation, run_sweep, stored_sweep
from marlrobust.evaluation.store import Store
from marlrobust.evaluation.sweep import COLUMNS

SMALL: dict[str, Any] = {
    "scenario": "battle",
    "map_size": 16,
    "rounds": 3,
    "max_steps": 12,
    "agents": [0, 2, 99],
    "attacks": [{"name": "pgd", "parameters": {"steps": 2}}],
}


def sweep(runs: Path, out: Path, said: list[str] | None = None, **layer: Any) -> Evaluation:
    settings = resolve(SweepSettings, SMALL, layer)
    return run_sweep(settings, runs, out, command="test", say=(said if said is not None else []).append)


def test_rows_repeat_and_do_not_depend_on_workers(runs: Path, tmp_path: Path) -> None:
    one = sweep(runs, tmp_path / "one")
    two = sweep(runs, tmp_path / "two", workers=2)
    pd.testing.assert_frame_equal(one.rows, two.rows)
    assert list(one.rows.columns) == COLUMNS
    # 2 policies, 3 rounds, clean and 2 victims and the whole team of 6, asked for as 99 and told of as 6 too
    assert sorted(one.rows["attacked_agents"].unique()) == [0, 2, 6, 99]
    assert len(one.rows) == 2 * 3 * 4


def test_another_seed_gives_other_rows(runs: Path, tmp_path: Path) -> None:
    first, second = sweep(runs, tmp_path / "a"), sweep(runs, tmp_path / "b", seed=1)
    assert not first.rows["reward"].equals(second.rows["reward"])


def test_stored_cells_are_not_played_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after two cells, the sweep goes on with the third."""
    whole = sweep(runs, tmp_path / "whole")
    played: list[str] = []

    def interrupted(cell: Any, on_end: Any) -> pd.DataFrame:
        if len(played) == 2:
            raise KeyboardInterrupt
        played.append(cell.name)
        return real(cell, on_end)

    real = workers.play
    monkeypatch.setattr(workers, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(runs, tmp_path / "cut")
    monkeypatch.setattr(workers, "play", real)
    rest = sweep(runs, tmp_path / "cut")
    assert (rest.kept, rest.played) == (2, whole.played - 2)
    pd.testing.assert_frame_equal(rest.rows, whole.rows)


def test_a_damaged_file_is_named_set_aside_and_played_again(runs: Path, tmp_path: Path) -> None:
    whole = sweep(runs, tmp_path)
    path = sorted((tmp_path / "cells").glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-20])
    said: list[str] = []
    again = sweep(runs, tmp_path, said)
    assert any(path.name in sentence and "set aside" in sentence for sentence in said)
    assert path.with_suffix(".damaged").exists()
    assert again.played == 1
    pd.testing.assert_frame_equal(again.rows, whole.rows)


def test_a_full_disk_keeps_what_was_stored(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pd.DataFrame.to_parquet
    written: list[Path] = []

    def full(frame: pd.DataFrame, path: Path, **options: Any) -> None:
        if len(written) == 2:
            path.write_bytes(b"half a f")
            raise OSError(28, "No space left on device")
        written.append(path)
        real(frame, path, **options)

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(UserError, match=r"No space left.*what was stored before is whole"):
        sweep(runs, tmp_path)
    monkeypatch.undo()
    files = list((tmp_path / "cells").iterdir())
    assert len(files) == 2
    assert all(len(pd.read_parquet(file)) == 3 for file in files)
    assert sweep(runs, tmp_path).kept == 2


def test_the_report_of_stored_rows_is_that_of_the_sweep(runs: Path, tmp_path: Path) -> None:
    done = sweep(runs, tmp_path)
    again = stored_sweep(tmp_path, lambda sentence: None)
    pd.testing.assert_frame_equal(again.rows, done.rows)
    assert again.about == done.about
    next((tmp_path / "cells").glob("*-k2-*")).unlink()
    said: list[str] = []
    assert len(stored_sweep(tmp_path, said.append).rows) < len(done.rows)
    assert "not stored" in said[0]


def test_a_row_says_how_to_repeat_it(runs: Path, tmp_path: Path) -> None:
    rows = sweep(runs, tmp_path).rows
    row = rows[rows["attacked_agents"] == 2].iloc[0]
    assert json.loads(row["attack_parameters"])["steps"] == 2
    assert json.loads(row["attack_parameters"])["threat"]["epsilon"] == row["epsilon"] == 0.075
    assert len(row["policy_hash"]) == len(row["opponent_hash"]) == 64
    assert json.loads(row["versions"])["torch"]
    assert json.loads(row["game"])["map_size"] == 16


def test_a_retrained_policy_is_played_again(runs: Path, tmp_path: Path) -> None:
    """A cell belongs to the weights' hash, not to their name."""
    shutil.copytree(runs / "battle", tmp_path / "runs" / "battle")
    sweep(tmp_path / "runs", tmp_path / "out", policies=["mfac"])
    shutil.rmtree(tmp_path / "runs" / "battle" / "mfac")
    shutil.copytree(runs / "battle" / "romfac", tmp_path / "runs" / "battle" / "mfac")
    assert sweep(tmp_path / "runs", tmp_path / "out", policies=["mfac"]).kept == 0


def test_two_policies_of_one_name_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "battle" / "romfac", tmp_path / "other" / "mfac")
    with pytest.raises(UserError, match="two policies are called 'mfac'"):
        sweep(runs, tmp_path / "out", policies=["mfac", str(tmp_path / "other" / "mfac")])
    assert not (tmp_path / "out").exists()


def test_the_mask_reaches_the_attack(runs: Path, tmp_path: Path) -> None:
    """34 of the 1217 features alone flip fewer actions than all of them."""
    flips = {}
    for features in ("all", "features"):
        rows = sweep(runs, tmp_path / features, features=features, epsilons=[0.05]).rows
        assert set(rows["features"]) == {features}
        flips[features] = rows[rows["attacked_agents"] > 0]["flip_rate"].mean()
    assert flips["features"] < flips["all"]


def test_victims_and_budget_are_cells_of_their_own(runs: Path, tmp_path: Path) -> None:
    """And the clean cell serves them all."""
    strategies = [{"name": "random"}, {"name": "first"}, {"name": "worst", "parameters": {"search_rounds": 12}}]
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [0, 2], "victims": strategies, "max_steps": 6}
    done = sweep(runs, tmp_path, **layer)
    assert done.played == 4
    rows = done.rows
    assert sorted(rows["victims"].unique()) == ["first", "random", "worst"]
    searched = rows[rows["victims"] == "worst"]
    assert set(searched["search_rounds"]) == {12}
    assert rows.loc[rows["victims"] != "worst", "search_rounds"].eq(0).all()
    found = json.loads(searched["victims_found"].iloc[0])
    assert all(len(agents) == 2 for agents in found)
    limited = sweep(runs, tmp_path, **layer, budget=2)
    assert (limited.played, limited.kept) == (3, 1)
    attacked = limited.rows[limited.rows["attacked_agents"] > 0]
    assert set(attacked["budget"]) == {2}
    assert attacked["attacked_steps"].max() == 2
    assert rows.loc[rows["attacked_agents"] > 0, "attacked_steps"].max() > 2
    again = sweep(runs, tmp_path / "again", **layer)
    pd.testing.assert_frame_equal(again.rows, rows)


def test_a_search_never_plays_the_evaluations_rounds(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    real = sweep_module.play_rounds

    def watched(*arguments: Any, **named: Any) -> Any:
        seeds.append(named["seed"])
        return real(*arguments, **named)

    monkeypatch.setattr(sweep_module, "play_rounds", watched)
    layer = {"policies": ["mfac"], "agents": [2], "victims": [{"name": "worst"}], "max_steps": 2, "seed": 5}
    sweep(runs, tmp_path, **layer)
    assert seeds[-1] == 5
    assert len(seeds) > 1
    assert set(seeds[:-1]) == {sweep_module.rehearsal_seed(5)}
    assert sweep_module.rehearsal_seed(5) != sweep_module.rehearsal_seed(6)


def test_a_search_with_too_few_rounds_is_refused_before_anything_is_played(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="larger search_rounds than 2"):
        sweep(runs, tmp_path / "out", victims=[{"name": "worst", "parameters": {"search_rounds": 2}}])
    assert not (tmp_path / "out").exists()


def test_pursuit_has_its_own_opponent_and_team(runs: Path, tmp_path: Path) -> None:
    rows = sweep(runs, tmp_path, scenario="pursuit", map_size=20, agents=[0, 40]).rows
    assert set(rows["team_size"]) == {32}
    assert set(rows["attacked_agents"]) == {0, 32, 40}
    assert (rows["kills"] == 0).all()


def test_a_cell_with_other_rounds_is_another_cell(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda sentence: None)
    store.write("cell", pd.DataFrame({"round": [0, 1]}))
    assert store.read("cell", 2) is not None
    assert store.read("cell", 3) is None
