"""A stored round plays again, and what is written of it plays anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces
from PIL import Image

from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation import again as replaying
from marlrobust.evaluation import play
from marlrobust.evaluation.again import choose, rebuilt, replay, stored_cells
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.run import Evaluation, evaluate
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.policies.library import Library
from marlrobust.recorded import Recorded, Replays
from marlrobust.reports.folder import write_report
from marlrobust.reports.replay import fitting, page, pairs
from marlrobust.reports.replay_files import save
from marlrobust.reports.tables import of
from tests.test_cli import call, refused
from tests.test_pettingzoo import Small

SMALL: dict[str, Any] = {
    "scenario": "battle",
    "game": {"map_size": 16, "max_steps": 12},
    "rounds": 5,
    "agents": [0, 2, 6],
    "policies": ["mfac", "romfac"],
    "attacks": [{"name": "pgd", "parameters": {"steps": 2, "start": "uniform"}}],
}


def sweep(runs: Path, out: Path, **layer: Any) -> Evaluation:
    return evaluate(resolve(SweepSettings, SMALL, layer), Library(runs), out, command="test", say=str)


def test_an_evaluation_records_the_first_round_of_the_hardest_cells(runs: Path, tmp_path: Path) -> None:
    done, plain = sweep(runs, tmp_path / "a", workers=2), sweep(runs, tmp_path / "b", replays=False)
    pd.testing.assert_frame_equal(done.rows, plain.rows)
    assert not list((tmp_path / "b").glob("replays/*"))
    recorded = Replays(tmp_path / "a", pytest.fail).of(set(done.rows["cell"]))
    told = sorted((r.facts.policy, r.facts.attacked_agents, r.round.round) for r in recorded)
    assert told == [("mfac", 0, 0), ("mfac", 6, 0), ("romfac", 0, 0), ("romfac", 6, 0)]
    rows = {(line["cell"], line["round"]): line for line in done.rows.to_dict("records")}
    for one in recorded:
        row = rows[one.facts.cell, 0]
        assert (one.round.reward, one.round.steps, one.round.kills) == (row["reward"], row["steps"], row["kills"])
    chosen = [(pair.policy, recorded[pair.clean or 0].facts.policy) for pair in pairs(recorded)]
    assert chosen == [("MFAC", "mfac"), ("RoMFAC", "romfac")]


@pytest.mark.parametrize("how", [{}, {"victims": ["worst"], "agents": [0, 2]}, {"greedy": True}])
def test_a_stored_round_plays_again(
    how: dict[str, Any], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of a later batch, whose attack draws from the batch's own chance; searched victims are not searched."""
    monkeypatch.setattr(play, "BATCH", 2)
    sweep(runs, tmp_path, replays=False, policies=["romfac"], **how)
    monkeypatch.setattr(play, "_rehearse", lambda *_: pytest.fail("it searches again"))
    for stored in choose(stored_cells(tmp_path, pytest.fail), 3, {}):
        cell = rebuilt(tmp_path, stored, Library(runs))
        recorded, said = replay(cell, stored, 3, False, Observer())
        assert said.endswith("the same as its row, number by number")
        assert recorded.round == stored.rounds[3]
        assert len(recorded.frames.rewards) == recorded.round.steps


def test_a_round_that_was_added_to_a_cell_plays_again(runs: Path, tmp_path: Path) -> None:
    sweep(runs, tmp_path, policies=["mfac"], agents=[0], rounds=4, until=0.05, most_rounds=12)
    (clean,) = choose(stored_cells(tmp_path, pytest.fail), 9, {})
    assert clean.numbers.start > 0
    cell = rebuilt(tmp_path, clean, Library(runs))
    assert replay(cell, clean, 9, False, Observer())[1].endswith("the same as its row, number by number")


def test_a_round_that_comes_out_otherwise_is_said_to(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(runs, tmp_path, policies=["mfac"])
    (clean,) = choose(stored_cells(tmp_path, pytest.fail), 1, {"attacked_agents": 0})
    cell = rebuilt(tmp_path, clean, Library(runs))
    changed = [r.model_copy(update={"reward": r.reward + 1}) for r in clean.rounds]
    other = replaying.Stored(clean.facts.model_copy(update={"instructions": "AVX512"}), tuple(changed))
    said = replay(cell, other, 1, False, Observer())[1]
    assert "not the same as its row (reward" in said
    assert "another processor computed it (AVX512)" in said
    replaced = replaying.Stored(clean.facts.model_copy(update={"policy_hash": "0" * 64}), clean.rounds)
    with pytest.raises(UserError, match="another policy than the one that was tested"):
        rebuilt(tmp_path, replaced, Library(runs))


def test_a_game_without_places_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small_policy.py").write_text("def network(states):\n    return states[:, :3]\n")
    monkeypatch.chdir(tmp_path)
    small: dict[str, Any] = {"rounds": 2, "agents": [1], "game": {"max_steps": 5}, "attacks": ["random"]}
    small |= {"scenario": "tests.test_again:nowhere", "policies": ["small_policy:network"]}
    done = evaluate(resolve(SweepSettings, small), Library(), tmp_path / "out", command="test", say=str)
    assert not list(done.folder.glob("replays/*"))
    refused(call("replay", done.folder), "does not say where its agents are")


def nowhere() -> Small:
    """A game that does not say where its agents are."""
    return Small(spaces.Box(0, 1, (3,), np.float32), spaces.Discrete(3))


def test_a_damaged_recording_is_named_and_the_report_is_made(runs: Path, tmp_path: Path) -> None:
    done = sweep(runs, tmp_path, policies=["mfac"])
    first, second = sorted((tmp_path / "replays").glob("*.json"))
    first.write_text(first.read_text().replace('"steps": ', '"steps": 1'))
    content = json.loads(second.read_text())
    assert content["frames"]
    told = write_report(of(done.rows), tmp_path, done.record)["report.html"].read_text()
    assert f"{first.name} is no recorded round" in told
    assert told.count(content["frames"]) == 1


def test_names_stay_text_and_a_page_has_a_size(runs: Path, tmp_path: Path) -> None:
    done = sweep(runs, tmp_path, policies=["mfac"])
    recorded = Replays(tmp_path, pytest.fail).of(set(done.rows["cell"]))
    hostile = "</script><img src=x onerror=alert(1)>"
    marked = [_renamed(one, hostile) for one in recorded]
    told = page(marked)
    assert "<img" not in told
    assert told.count("</script>") == 2
    assert len(page(recorded)) < 100_000
    kept, note = fitting(recorded, most=len(recorded[0].packed))
    assert len(kept) == 1
    assert note.startswith("1 recorded round")


def _renamed(one: Recorded, name: str) -> Recorded:
    facts = one.facts.model_copy(update={"policy": name, "method": name, "attack": name, "opponent_method": name})
    return Recorded(facts, one.round, (name, name), one.tested, one.stage, one.frames)


def test_the_command_writes_a_page_a_gif_and_a_film(runs: Path, tmp_path: Path) -> None:
    done = sweep(runs, tmp_path, policies=["mfac"])
    result = call("replay", tmp_path, "--runs", runs, "--round", 3, "--agents", 2, "--html", "--gif", "--mp4")
    assert result.exit_code == 0, result.output
    assert result.output.count("the same as its row") == 2
    files = {path.suffix: path for path in tmp_path.glob("replay-*")}
    assert set(files) == {".html", ".gif", ".mp4"}
    steps = done.rows[(done.rows["round"] == 3) & (done.rows["attacked_agents"] != 6)]["steps"].max()
    with Image.open(files[".gif"]) as gif:
        assert gif.n_frames == steps + 1  # type: ignore[attr-defined]
    assert files[".mp4"].read_bytes()[4:8] == b"ftyp"
    again = call("replay", tmp_path, "--runs", tmp_path, "--round", 3, "--agents", 2)  # kept: no policy is needed
    assert again.exit_code == 0, again.output
    refused(call("replay", tmp_path, "--policy", "mfak"), "did you mean 'mfac'?")
    refused(call("replay", tmp_path, "--round", 77), "no round 77 is stored here")
    refused(call("replay", tmp_path / "nothing"), "holds no evaluation")


def test_a_film_without_the_program_says_what_to_install(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = sweep(runs, tmp_path, policies=["mfac"], agents=[0])
    recorded: Sequence[Recorded] = Replays(tmp_path, pytest.fail).of(set(done.rows["cell"]))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match="pip install imageio-ffmpeg"):
        save(tmp_path / "film.mp4", recorded, 6)
    assert not (tmp_path / "film.mp4").exists()
