"""An evaluation repeats, resumes, names what it runs, and survives what disks do."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation import play as playing
from marlrobust.evaluation import run
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.evaluation.run import Evaluation, evaluate, list_results, stored_evaluation
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.evaluation.store import Store
from marlrobust.files import SEAL, digest, write_sealed
from marlrobust.policies.checkpoint import load_policy, save_policy
from marlrobust.policies.library import Library
from marlrobust.rows import Facts, Record, Round, dictionary, pack

SMALL: dict[str, Any] = {
    "scenario": "battle",
    "game": {"map_size": 16, "max_steps": 12},
    "rounds": 3,
    "agents": [0, 2, 99],
    "attacks": [{"name": "pgd", "parameters": {"steps": 2}}],
}


def sweep(runs: Path, out: Path | None, said: list[str] | None = None, **layer: Any) -> Evaluation:
    settings = resolve(SweepSettings, SMALL, layer)
    return evaluate(settings, Library(runs), out, command="test", say=(said if said is not None else []).append)


def test_rows_repeat_and_do_not_depend_on_workers(runs: Path, tmp_path: Path) -> None:
    one = sweep(runs, tmp_path / "one")
    two = sweep(runs, tmp_path / "two", workers=2)
    pd.testing.assert_frame_equal(one.rows, two.rows)
    assert one.rows.columns.tolist() == dictionary()["column"].tolist()


def test_rows_are_true(runs: Path, tmp_path: Path) -> None:
    """A count above the team's size is said to be the whole team; no row is copied for it."""
    done = sweep(runs, tmp_path, agents=[0, 2, 6, 8, 99])
    assert len(done.rows) == 2 * 3 * 3  # 2 policies, 3 rounds; clean, 2 victims and the whole team of 6
    assert sorted(done.rows["attacked_agents"].unique()) == [0, 2, 6]
    assert not done.rows.duplicated(["cell", "round"]).any()
    assert [(w.asked, w.team_size, w.own) for w in done.record.wholes] == [(8, 6, True), (99, 6, True)]
    assert not sweep(runs, tmp_path, agents=[0, 2, 99]).record.wholes[0].own


def test_a_row_counts_decisions_and_flips(runs: Path, tmp_path: Path) -> None:
    rows = sweep(runs, tmp_path).rows
    attacked = rows[rows["attacked_agents"] > 0]
    assert (attacked["decisions"] > 0).all()
    assert (attacked["flips"] <= attacked["decisions"]).all()
    assert attacked["flips"].sum() > 0
    assert rows.loc[rows["attacked_agents"] == 0, "decisions"].eq(0).all()


def test_another_seed_gives_other_rows(runs: Path, tmp_path: Path) -> None:
    first, second = sweep(runs, tmp_path / "a"), sweep(runs, tmp_path / "b", seed=1)
    assert not first.rows["reward"].equals(second.rows["reward"])


def test_a_cell_is_named_by_what_is_run_not_by_what_was_typed(runs: Path, tmp_path: Path) -> None:
    """A default written out, a number as text, and the same attack twice are one cell."""
    ways = [
        {"name": "pgd"},
        {"name": "pgd", "parameters": {"steps": 10}},
        {"name": "pgd", "parameters": {"steps": "10"}},
    ]
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [2], "rounds": 1}
    done = sweep(runs, tmp_path, **layer, attacks=ways)
    assert done.played == 1
    assert len(done.rows) == 1
    assert sweep(runs, tmp_path, **layer, attacks=[{"name": "pgd"}], epsilons=[0.075, 0.0750]).kept == 1
    assert sweep(runs, tmp_path, **layer, attacks=[{"name": "pgd", "parameters": {"steps": 11}}]).kept == 0


@pytest.mark.parametrize("what", ["computed_by", "instructions"])
def test_another_version_or_processor_is_another_cell(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from marlrobust.evaluation import plan

    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [0], "rounds": 1}
    sweep(runs, tmp_path, **layer)
    assert sweep(runs, tmp_path, **layer).kept == 1
    other: Any = {"computed_by": {"marlrobust": "99"}, "instructions": "abacus"}[what]
    monkeypatch.setattr(plan, what, lambda: other)
    assert sweep(runs, tmp_path, **layer).kept == 0


def test_stored_cells_are_not_played_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after two cells, the evaluation goes on with the third."""
    whole = sweep(runs, tmp_path / "whole")
    played: list[str] = []

    def interrupted(cell: Any, observers: Any) -> Any:
        if len(played) == 2:
            raise KeyboardInterrupt
        played.append(cell.name)
        return real(cell, observers)

    real = playing.play
    monkeypatch.setattr("marlrobust.evaluation.processes.play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(runs, tmp_path / "cut")
    monkeypatch.setattr("marlrobust.evaluation.processes.play", real)
    rest = sweep(runs, tmp_path / "cut")
    assert (rest.kept, rest.played) == (2, whole.played - 2)
    pd.testing.assert_frame_equal(rest.rows, whole.rows)


def test_a_damaged_file_is_named_set_aside_and_played_again(runs: Path, tmp_path: Path) -> None:
    whole = sweep(runs, tmp_path)
    path = sorted((tmp_path / "cells").glob("*.json"))[0]
    path.write_bytes(path.read_bytes()[:-20])
    said: list[str] = []
    again = sweep(runs, tmp_path, said)
    assert any(path.name in sentence and "set aside" in sentence for sentence in said)
    assert path.with_name(f"{path.name}.damaged").exists()
    assert again.played == 1
    pd.testing.assert_frame_equal(again.rows, whole.rows)


def test_a_number_changed_in_a_cell_is_found(runs: Path, tmp_path: Path) -> None:
    """Rows that can be read and are not those that were written."""
    whole = sweep(runs, tmp_path, policies=["mfac"], agents=[0])
    (path,) = (tmp_path / "cells").glob("*.json")
    content = json.loads(path.read_text())
    content["items"]["reward"][0] += 1000
    path.write_text(json.dumps(content))
    again = sweep(runs, tmp_path, policies=["mfac"], agents=[0])
    assert again.played == 1
    pd.testing.assert_frame_equal(again.rows, whole.rows)


def test_only_damage_is_damage(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read now, or memory that ends, sets nothing aside."""
    sweep(runs, tmp_path, policies=["mfac"])
    cells = sorted((tmp_path / "cells").iterdir())
    for error, kind in ((PermissionError(13, "Permission denied"), UserError), (MemoryError(), MemoryError)):

        def fails(path: Path, error: BaseException = error) -> bytes:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", fails)
            with pytest.raises(kind):
                Store(tmp_path / "cells", print).read(cells[0].stem, 3)
        assert sorted((tmp_path / "cells").iterdir()) == cells


def test_a_record_that_is_odd_costs_no_cell(runs: Path, tmp_path: Path) -> None:
    whole = sweep(runs, tmp_path)
    record = tmp_path / "run.json"
    good = record.read_text()
    for odd in ("", "[]", "{", good.replace('"test"', '"tset"'), '{"cells": 5}', good[:-30]):
        record.write_text(odd)
        with pytest.raises(UserError, match=r"damaged|another version"):
            stored_evaluation(tmp_path, print)
    again = sweep(runs, tmp_path)
    assert again.played == 0
    pd.testing.assert_frame_equal(again.rows, whole.rows)


def test_names_of_cells_are_names(runs: Path, tmp_path: Path) -> None:
    """A folder from elsewhere cannot make a report rename or read a file of its choice."""
    (tmp_path / "x.json").write_text("precious")
    folder = tmp_path / "out" / "deep"
    sweep(runs, folder, policies=["mfac"], agents=[0])
    content = json.loads((folder / "run.json").read_text())
    content["cells"] = {"../../../x": 1}
    content.pop(SEAL)
    (folder / "run.json").write_text(json.dumps({**content, SEAL: digest(content)}))
    with pytest.raises(UserError, match="no name"):
        stored_evaluation(folder, print)
    assert (tmp_path / "x.json").read_text() == "precious"


def test_a_cell_under_another_name_is_not_taken(runs: Path, tmp_path: Path) -> None:
    whole = sweep(runs, tmp_path, policies=["mfac"], agents=[0, 2])
    first, second = sorted((tmp_path / "cells").iterdir())
    shutil.copy(first, second)
    said: list[str] = []
    again = sweep(runs, tmp_path, said, policies=["mfac"], agents=[0, 2])
    assert "another cell" in said[-1] or "another cell" in said[0]
    pd.testing.assert_frame_equal(again.rows, whole.rows)


def test_a_full_disk_keeps_what_was_stored(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def full(path: Path, content: dict[str, Any]) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        write_sealed(path, content)

    monkeypatch.setattr("marlrobust.evaluation.store.write_sealed", full)
    with pytest.raises(UserError, match=r"No space left.*what was stored before is whole"):
        sweep(runs, tmp_path)
    monkeypatch.undo()
    assert sorted((tmp_path / "cells").iterdir()) == sorted(written)
    assert sweep(runs, tmp_path).kept == 2


def test_the_report_of_stored_rows_is_that_of_the_sweep(runs: Path, tmp_path: Path) -> None:
    done = sweep(runs, tmp_path)
    again = stored_evaluation(tmp_path, lambda sentence: None)
    pd.testing.assert_frame_equal(again.rows, done.rows)
    assert again.record == done.record
    next((tmp_path / "cells").glob("*-k2-*")).unlink()
    said: list[str] = []
    assert len(stored_evaluation(tmp_path, said.append).rows) < len(done.rows)
    assert "not stored" in said[0]


def test_a_row_says_how_to_repeat_it(runs: Path, tmp_path: Path) -> None:
    rows = sweep(runs, tmp_path).rows
    row = rows[rows["attacked_agents"] == 2].iloc[0]
    assert json.loads(row["attack_parameters"])["steps"] == 2
    assert json.loads(row["attack_parameters"])["threat"]["epsilon"] == row["epsilon"] == 0.075
    assert len(row["policy_hash"]) == len(row["opponent_hash"]) == 64
    assert json.loads(row["versions"]).keys() >= {"torch", "source"}
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


def test_a_copy_of_a_policy_is_not_counted_twice(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "battle", tmp_path / "runs" / "battle")
    shutil.copytree(runs / "battle" / "mfac", tmp_path / "runs" / "battle" / "copy")
    said: list[str] = []
    done = sweep(tmp_path / "runs", tmp_path / "out", said, policies=["mfac", "copy"], agents=[0])
    assert len(done.rows) == 3
    assert any("battle/copy has the same weights as battle/mfac" in s for s in said)


def test_a_training_that_was_interrupted_is_said(runs: Path, tmp_path: Path) -> None:
    policy, card = load_policy(runs / "battle" / "mfac" / "soldier.safetensors")
    save_policy(tmp_path / "runs" / "battle" / "half", policy, card.model_copy(update={"rounds": 4}))
    shutil.copytree(runs / "battle" / "a2c", tmp_path / "runs" / "battle" / "a2c")
    said: list[str] = []
    done = sweep(tmp_path / "runs", tmp_path / "out", said, policies=["half"], agents=[0])
    sentence = f"battle/half was interrupted after 4 of {card.planned_rounds} rounds"
    assert any(sentence in s for s in said)
    assert any(sentence in s for s in done.record.notes)


def test_a_radius_beyond_the_states_is_doubted(runs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    sweep(runs, tmp_path, said, policies=["mfac"], agents=[2], rounds=1, epsilons=[0.075, 75])
    assert any("Epsilon 75 is larger" in s for s in said)
    assert not any("0.075" in s for s in said)


def test_each_evaluation_has_a_folder_of_its_own(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one comes back to it, on another day too; another one never touches it."""
    monkeypatch.chdir(tmp_path)
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [0, 2]}
    first = sweep(runs, None, **layer)
    assert first.folder.parent == Path("results")
    assert {"battle", "mfac", "pgd"} <= set(first.folder.name.split("-"))
    before = {p: p.read_bytes() for p in first.folder.rglob("*") if p.is_file()}
    other = sweep(runs, None, **layer, seed=1)
    assert other.folder != first.folder
    assert {p: p.read_bytes() for p in first.folder.rglob("*") if p.is_file()} == before

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2099, 1, 1)

    monkeypatch.setattr(run, "datetime", Tomorrow)
    again = sweep(runs, None, **layer)
    assert (again.folder, again.played) == (first.folder, 0)
    next((first.folder / "cells").iterdir()).unlink()
    listed = dict(list_results(Path("results")))
    assert "6 rounds, complete" in listed[str(other.folder)]
    assert "1 of 2 cells" in listed[str(first.folder)]


def test_two_processes_do_not_work_on_one_evaluation(runs: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="another process is working"):
        sweep(runs, tmp_path)
    assert sweep(runs, tmp_path).played > 0


def test_the_mask_reaches_the_attack(runs: Path, tmp_path: Path) -> None:
    """34 of the 1217 features alone flip fewer actions than all of them."""
    flips = {}
    for features in ("all", "features"):
        rows = sweep(runs, tmp_path / features, features=features, epsilons=[0.05]).rows
        attacked = rows[rows["attacked_agents"] > 0]
        assert set(attacked["features"]) == {features}
        flips[features] = attacked["flips"].sum() / attacked["decisions"].sum()
    assert flips["features"] < flips["all"]


def test_victims_and_budget_are_cells_of_their_own(runs: Path, tmp_path: Path) -> None:
    """And the clean cell serves them all."""
    strategies = [{"name": "random"}, {"name": "first"}, {"name": "worst", "parameters": {"search_rounds": 12}}]
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [0, 2], "victims": strategies}
    layer["game"] = {"max_steps": 6}
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


def test_the_worst_victims_of_a_whole_team_are_the_team(runs: Path, tmp_path: Path) -> None:
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [6]}
    worst = sweep(runs, tmp_path / "worst", **layer, victims=[{"name": "worst"}]).rows
    drawn = sweep(runs, tmp_path / "random", **layer).rows
    assert worst["search_rounds"].eq(0).all()
    assert worst["reward"].tolist() == drawn["reward"].tolist()


def test_a_search_never_plays_the_evaluations_rounds(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    real = play_rounds

    def watched(*arguments: Any, **named: Any) -> Any:
        seeds.append(named["seed"])
        return real(*arguments, **named)

    monkeypatch.setattr("marlrobust.evaluation.play.play_rounds", watched)
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [2], "victims": [{"name": "worst"}], "seed": 5}
    sweep(runs, tmp_path, **layer, game={"max_steps": 2})
    assert seeds[-1] == 5
    assert len(seeds) > 1
    assert set(seeds[:-1]) == {playing.rehearsal_seed(5)}
    assert playing.rehearsal_seed(5) != playing.rehearsal_seed(6)


def test_a_search_with_too_few_rounds_is_refused_before_anything_is_played(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="larger search_rounds than 2"):
        sweep(runs, tmp_path / "out", victims=[{"name": "worst", "parameters": {"search_rounds": 2}}])
    assert not (tmp_path / "out").exists()


def test_pursuit_has_its_own_opponent_and_team_and_no_winner(runs: Path, tmp_path: Path) -> None:
    rows = sweep(runs, tmp_path, scenario="pursuit", game={"map_size": 20, "predators": 4}, agents=[0, 40]).rows
    assert set(rows["team_size"]) == {4}
    assert set(rows["attacked_agents"]) == {0, 4}
    assert rows[["win", "draw", "kills", "losses"]].isna().all(axis=None)
    assert rows["cut"].all()


def test_more_rounds_than_are_played_at_once_are_the_same_rounds(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played in batches, or together: a round depends on its number alone."""
    layer: dict[str, Any] = {"policies": ["mfac"], "agents": [0, 2], "rounds": 5}
    together = sweep(runs, tmp_path / "a", **layer).rows
    monkeypatch.setattr(playing, "BATCH", 2)
    parts = sweep(runs, tmp_path / "b", **layer).rows
    pd.testing.assert_frame_equal(parts, together)


def test_a_cell_with_other_rounds_is_another_cell(runs: Path, tmp_path: Path) -> None:
    done = sweep(runs, tmp_path, policies=["mfac"], agents=[0])
    store = Store(tmp_path / "cells", lambda sentence: None)
    (name,) = done.record.cells
    assert store.read(name, 3) is not None
    assert sweep(runs, tmp_path, policies=["mfac"], agents=[0], rounds=2).kept == 0


def test_a_row_that_is_stored_comes_back_as_it_was(tmp_path: Path, runs: Path) -> None:
    """Numbers, empty cells and types alike, whatever they are."""
    frame = sweep(runs, tmp_path, policies=["mfac"], agents=[2]).rows
    facts = Facts(**{k: (None if pd.isna(v) else v) for k, v in frame.iloc[0].items() if k in Facts.model_fields})
    items = [
        Round(round=i, reward=reward, steps=i, cut=True, swapped=False, attacked_steps=0, decisions=0, flips=0, win=win)
        for i, (reward, win) in enumerate([(0.1 + 0.2, None), (-1e-300, True), (5e300, False)])
    ]
    store = Store(tmp_path / "own", print)
    store.write(f"x-{facts.cell}", facts, items)
    rows = store.read(f"x-{facts.cell}", 3)
    assert rows is not None
    assert rows["reward"].tolist() == [0.1 + 0.2, -1e-300, 5e300]
    assert rows["win"].tolist()[1:] == [True, False]
    assert rows["win"].isna().tolist() == [True, False, False]
    assert pack(facts, items)["facts"]["cell"] == facts.cell


def test_a_record_of_another_version_says_so(runs: Path, tmp_path: Path) -> None:
    sweep(runs, tmp_path, policies=["mfac"], agents=[0])
    content = json.loads((tmp_path / "run.json").read_text())
    content.pop(SEAL)
    content["schema_version"] = 1
    (tmp_path / "run.json").write_text(json.dumps({**content, SEAL: digest(content)}))
    with pytest.raises(UserError, match="another version"):
        Record.read(tmp_path)


def test_a_radius_that_is_nothing_beside_the_observations_is_doubted(tmp_path: Path) -> None:
    """8/255 is for pixels from 0 to 1, not from 0 to 255."""
    from marlrobust.evaluation.plan import _notes
    from marlrobust.games import make_scenario

    game = make_scenario("tests.test_pettingzoo:small")
    (note,) = _notes(resolve(SweepSettings, {"epsilons": [8 / 255, 8]}), game, ())
    assert "0.012 % of the range of the observations (255)" in note


def test_all_that_can_be_played_is_in_the_digest_of_our_source() -> None:
    """Else a change of its code would keep stale rows: everything of ours that a registry names counts."""
    from marlrobust.attacks import ATTACKS, VICTIMS
    from marlrobust.evaluation.provenance import COMPUTES
    from marlrobust.games import SCENARIOS
    from marlrobust.policies import NETWORKS

    for registry in (ATTACKS, VICTIMS, SCENARIOS, NETWORKS):
        for name in registry:
            assert registry[name].__module__.split(".")[1] in COMPUTES, name
