"""What is recorded of a round is what was played, and costs nobody anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.evaluation import recording
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.recording import Recorder
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.side import Side
from marlrobust.games import make_scenario
from marlrobust.games.magent.engine import MagentGame
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.recorded import ALIVE, ATTACKED, GAINED, NOTHING, PROVEN, TURNED, Frames, Recorded
from marlrobust.rows import Round
from marlrobust.streams import stream

GAMES: dict[str, dict[str, Any]] = {
    "battle": {"map_size": 16},
    "battlefield": {"map_size": 80},
    "pursuit": {"map_size": 20, "predators": 6, "prey": 12},
    "gather": {},
    "combined_arms": {"map_size": 16},
    "tiger_deer": {"map_size": 20},
}


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
    for kind, method in ((MagentGame, "stage"), (MagentGame, "places"), (Side, "acted")):
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
