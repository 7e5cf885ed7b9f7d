"""A round that was recorded is the round that was played; a stored one plays again; what is written plays back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation import again as replaying
from marlrobust.evaluation import play, recording, rollout
from marlrobust.evaluation.again import choose, rebuilt, replay, stored_cells
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.recording import Recorder
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.run import Evaluation, evaluate
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.games import make_scenario
from marlrobust.games.magent.engine import MagentGame
from marlrobust.policies.library import Library
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.recorded import ALIVE, ATTACKED, GAINED, NOTHING, PROVEN, TURNED, Frames, Recorded, Replays
from marlrobust.reports.folder import write_report
from marlrobust.reports.replay import fitting, page, pairs
from marlrobust.reports.replay_files import save
from marlrobust.reports.tables import of
from marlrobust.rows import Round
from marlrobust.streams import stream
from tests.test_cli import call, refused
from tests.test_pettingzoo import Small

GAMES: dict[str, dict[str, Any]] = {
    "battle": {"map_size": 16},
    "battlefield": {"map_size": 80},
    "pursuit": {"map_size": 20, "predators": 6, "prey": 12},
    "gather": {},
    "combined_arms": {"map_size": 16},
    "tiger_deer": {"map_size": 20},
}
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


def one_round(name: str, count: int, steps: int = 15, **more: Any) -> tuple[Recorded, Round]:
    """A short round of a game, by untrained policies, of which some are attacked."""
    torch.manual_seed(0)
    scenario = make_scenario(name, GAMES[name] | {"max_steps": steps})
    game = scenario.make(2)
    roles = {g.role: MeanFieldPolicy(g.state_size, g.n_actions, hidden=8, embedding=4) for g in game.groups}
    recorder = Recorder({1}, (0,), **more)
    adversary = Adversary(PGD(threat=Threat(epsilon=0.5), steps=2), count) if count else None
    rows = play_rounds(game, roles, roles, seed=4, adversary=adversary, observers=[recorder])
    facts: Any = None
    stage, frames = recorder.taken(1)
    return Recorded(facts, rows[1], tuple(scenario.teams), (0,), stage, frames), rows[1]


@pytest.mark.parametrize("name", GAMES)
def test_a_recording_tells_what_the_game_did(name: str) -> None:
    """Who is told to move goes there or stays, who is told to hit stays; the dead stay dead; the sums are the row's."""
    one, row = one_round(name, 4)
    f, kinds = one.frames, one.stage.kinds
    first = moved = 0
    for kind in kinds:
        own = slice(first, first + kind.size)
        first += kind.size
        alive = (f.marks[:, own] & ALIVE) > 0
        assert (alive[1:] <= alive[:-1]).all()
        assert ((f.action[:-1, own] == NOTHING) == (~alive[:-1] | (kind.team < 0))).all()
        assert (f.action[-1, own] == NOTHING).all()
        assert (f.health[:, own][alive] > 0).all()
        went = np.stack([np.diff(part[:, own].astype(int), axis=0) for part in (f.x, f.y)], axis=-1)
        for t, i in zip(*np.nonzero(alive[:-1] & alive[1:] & (kind.team >= 0)), strict=True):
            act = kind.acts[f.action[t, own][i]]
            goes = tuple(went[t, i]) == (act.x, act.y) and act.kind == "move"
            assert goes or not went[t, i].any()
            moved += goes
    assert moved > 20
    assert len(f.rewards) == row.steps
    np.testing.assert_allclose(f.rewards.sum(dtype=float), row.reward, rtol=1e-4, atol=1e-4)
    assert ((f.marks & ATTACKED) > 0).sum() == row.decisions
    assert ((f.marks & TURNED) > 0).sum() == row.flips
    changed = f.action != f.without
    assert changed.any()
    assert not (changed & ((f.marks & ATTACKED) == 0)).any()


def test_what_is_hit_is_where_the_hit_goes(fighters: MeanFieldPolicy) -> None:
    """An agent loses health in a step if, and only if, somebody hits its cell; half of those who do so gain."""
    recorder = Recorder({0}, (0,))
    game = make_scenario("battle", {"map_size": 16, "max_steps": 60, "attack_penalty": 0.0}).make(1)
    play_rounds(game, fighters, fighters, seed=1, observers=[recorder])
    stage, f = recorder.taken(0)
    acts = [act for kind in stage.kinds for act in [kind.acts] * kind.size]
    foe = np.repeat([0, 1], [kind.size for kind in stage.kinds])
    hurt = gained = 0
    for t in range(len(f.rewards)):
        alive = np.flatnonzero(f.marks[t] & ALIVE)
        blows = {i: acts[i][f.action[t, i]] for i in alive if acts[i][f.action[t, i]].kind == "hit"}
        cells = {(f.x[t, i] + b.x, f.y[t, i] + b.y, 1 - foe[i]) for i, b in blows.items()}
        for i in alive:
            if f.health[t + 1, i] < f.health[t, i] or not f.marks[t + 1, i] & ALIVE:
                assert (f.x[t, i], f.y[t, i], foe[i]) in cells
                hurt += 1
        gained += sum(bool(f.marks[t, i] & GAINED) for i in blows)
        assert not any(f.marks[t, i] & GAINED for i in alive if i not in blows)
    assert hurt > 5
    assert gained > 5


def test_what_is_tagged_is_where_the_tag_goes() -> None:
    """A predator of 2 x 2 cells that gains has a prey in the cell that it hits."""
    one = one_round("pursuit", 0, steps=60)[0]
    f, (hunters, hunted) = one.frames, one.stage.kinds
    tags = 0
    for t, i in zip(*np.nonzero(f.marks[:-1, : hunters.size] & GAINED), strict=True):
        act = hunters.acts[f.action[t, i]]
        middle = np.array([f.x[t, i], f.y[t, i]]) + np.array(hunters.body) / 2
        prey = np.stack([f.x[t], f.y[t]], axis=1)[hunters.size :] + np.array(hunted.body) / 2
        assert act.kind == "hit"
        assert (prey == middle + np.array([act.x, act.y])).all(1).any()
        tags += 1
    assert tags > 3


def test_frames_survive_their_bytes() -> None:
    rng = np.random.default_rng(0)
    for steps, agents in ((0, 1), (1, 3), (7, 300)):
        u8 = [rng.integers(0, 256, (steps + 1, agents)).astype(np.uint8) for _ in range(4)]
        u16 = [rng.integers(0, 65536, (steps + 1, agents)).astype(np.uint16) for _ in range(2)]
        health, marks, action, without = u8
        frames = Frames(u16[0], u16[1], health, marks, action, without, rng.normal(size=steps).astype(np.float32))
        again = Frames.unpacked(frames.packed(), agents)
        for name, before in frames._asdict().items():
            assert before.dtype == getattr(again, name).dtype
            np.testing.assert_array_equal(before, getattr(again, name))
    for text in ("", "AAAA", frames.packed()[:-8], frames.packed()):
        with pytest.raises(ValueError, match=r"frames|padding|base64|characters"):
            Frames.unpacked(text, agents + 1)


def test_nobody_pays_for_a_recorder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a witness nothing is asked of the game, and nothing is compared; with one the rows stay bit for bit."""
    with_recorder = one_round("battle", 3)[1]
    for kind, method in ((MagentGame, "stage"), (MagentGame, "places"), (rollout._Side, "acted")):
        monkeypatch.setattr(kind, method, None)
    monkeypatch.setattr(Recorder, "began", Observer.stepped)
    without = _alone()
    assert str(without) == str(with_recorder)


def _alone() -> Round:
    """The round of `one_round("battle", 3)` that nobody watches."""
    torch.manual_seed(0)
    game = make_scenario("battle", GAMES["battle"] | {"max_steps": 15}).make(2)
    roles = {g.role: MeanFieldPolicy(g.state_size, g.n_actions, hidden=8, embedding=4) for g in game.groups}
    adversary = Adversary(PGD(threat=Threat(epsilon=0.5), steps=2), 3)
    return play_rounds(game, roles, roles, seed=4, adversary=adversary, observers=[Observer()])[1]


def test_proofs_are_asked_of_attacked_decisions_alone() -> None:
    asked: list[int] = []

    def proofs(decisions: Any) -> torch.Tensor:
        assert (decisions.round == 1).all()
        asked.append(len(decisions))
        return torch.from_numpy(decisions.agent % 2 == 0)

    one, row = one_round("battle", 3, proofs=proofs)
    proven, attacked = ((one.frames.marks & mark) > 0 for mark in (PROVEN, ATTACKED))
    assert sum(asked) == row.decisions
    np.testing.assert_array_equal(proven, attacked & (np.arange(attacked.shape[1]) % 2 == 0))


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
    small |= {"scenario": "tests.test_recording:nowhere", "policies": ["small_policy:network"]}
    done = evaluate(resolve(SweepSettings, small), Library(), tmp_path / "out", command="test", say=str)
    assert not list(done.folder.glob("replays/*"))
    refused(call("replay", done.folder), "does not say where its agents are")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_world_of_circles_is_told_as_it_is(processes: int) -> None:
    """MPE says where its agents and landmarks are; they are recorded there, wherever the copies are stepped."""
    from mpe2 import simple_spread_v3

    name = "pettingzoo:mpe2.simple_spread_v3"
    scenario = make_scenario(name, {"max_steps": 5, "processes": processes})
    game, recorder = scenario.make(2), Recorder({0}, (0,))
    group = game.groups[0]
    policy = MeanFieldPolicy(group.state_size, group.n_actions, hidden=8, embedding=4)
    play_rounds(game, policy, seed=3, observers=[recorder])
    stage, f = recorder.taken(0)
    assert [(kind.role, kind.size) for kind in stage.kinds] == [("agent", 3), ("landmarks", 3)]
    environment = simple_spread_v3.parallel_env()
    environment.reset(seed=int(stream(3, "game", 0).integers(2**31 - 1)))
    for t in range(5):
        world = environment.unwrapped.world
        for i, one in enumerate([*world.agents, *world.landmarks]):
            x, y = (stage.left + f.x[t, i] * stage.unit, stage.top + f.y[t, i] * stage.unit)
            np.testing.assert_allclose((x + one.size, -y - one.size), one.state.p_pos, atol=2 * stage.unit)
        environment.step({f"agent_{i}": int(f.action[t, i]) for i in range(3)})
    assert ((f.marks & ALIVE) > 0).all()


def test_a_crowd_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LARGEST", 11)
    recorder = Recorder({0}, (0,))
    game = make_scenario("battle", {"map_size": 16, "max_steps": 3}).make(1)
    policy = MeanFieldPolicy(game.groups[0].state_size, 21, hidden=8, embedding=4)
    play_rounds(game, policy, policy, seed=0, observers=[recorder])
    assert not recorder.films
    assert recorder.refused == "a round of 12 agents is not recorded: 11 are the most"


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
