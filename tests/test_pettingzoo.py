"""PettingZoo environments as games: they are played as they are, whatever their agents see."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import make_attack
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.run import evaluate
from marlrobust.evaluation.settings import Named, SweepSettings
from marlrobust.games import make_scenario
from marlrobust.games.check import check_game
from marlrobust.games.game import Decisions
from marlrobust.games.parallel import Parallel
from marlrobust.games.pettingzoo import ParallelGame
from marlrobust.games.spaces import flat, kinds_of, parts
from marlrobust.policies.library import Library
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.training.trainer import Trainer
from tests.conftest import TINY

SPREAD, HERE = "pettingzoo:mpe2.simple_spread_v3", "tests.test_pettingzoo"


class Small(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """Agents of given spaces; agent i dies in step i + 1 if `mortal`; the task is done in step 3."""

    metadata = {"name": "small_v0"}  # noqa: RUF012

    def __init__(
        self, seen: spaces.Space[Any], does: spaces.Space[Any], names: str = "ant_0,ant_1", mortal: bool = False
    ) -> None:
        self.seen, self.does, self.mortal = copy.deepcopy(seen), does, mortal  # a space has its own chance
        self.possible_agents = names.split(",")
        self.agents = list(self.possible_agents)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self.seen

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self.does

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.step_number = list(self.possible_agents), 0
        self.seen.seed(seed)
        return {a: self.seen.sample() for a in self.agents}, {a: {} for a in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        assert set(actions) == set(self.agents)
        assert all(self.does.contains(action) for action in actions.values())
        self.step_number += 1
        before = list(self.agents)
        dead = {a: self.mortal and self.possible_agents.index(a) < self.step_number for a in before}
        cut = {a: self.step_number >= 5 for a in before}
        self.agents = [a for a in before if not (dead[a] or cut[a])]
        done = {a: {"is_success": self.step_number == 3} for a in before}
        return {a: self.seen.sample() for a in before}, {a: float(actions[a]) for a in before}, dead, cut, done


PIXELS = spaces.Box(0, 255, (4, 3, 2), np.uint8)
MANY = spaces.Dict({"near": spaces.Box(-1, 1, (2,)), "kind": spaces.Discrete(3), "pair": spaces.Tuple([PIXELS])})


def small(**options: Any) -> Small:
    return Small(PIXELS, spaces.Discrete(3, start=1), **options)


def dictionary() -> Small:
    return Small(MANY, spaces.Discrete(4))


def several() -> Small:
    return Small(PIXELS, spaces.MultiDiscrete([2, 2]))


def no_environment() -> dict[str, int]:
    return {}


def game(name: str, rounds: int = 1, **settings: Any) -> ParallelGame:
    made = make_scenario(name, settings).make(rounds)
    assert isinstance(made, ParallelGame)
    return made


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (SPREAD, {}),
        ("pettingzoo:mpe2.simple_tag_v3", {"num_adversaries": 2}),
        ("pettingzoo:sisl.pursuit_v5", {"max_cycles": 20, "n_pursuers": 4}),
        ("pettingzoo:magent2.environments.battle_v4", {"map_size": 16, "max_cycles": 30}),
    ],
)
def test_a_round_is_the_environments_own(name: str, settings: dict[str, Any]) -> None:
    """Same seed and actions: the same states, rewards and deaths; two copies do not disturb each other."""
    made = game(name, 2, max_steps=60, **settings)
    own = make_scenario(name, settings)
    assert isinstance(own, Parallel)
    peer = own.made()
    made.reset(np.array([5, 7]), np.array([False, False]))
    observations, _ = peer.reset(seed=7)
    rng = np.random.default_rng(0)
    while made.active[1]:
        seen = [made.observe(g) for g in range(len(made.groups))]
        chosen = [rng.integers(0, group.n_actions, len(d)) for group, d in zip(made.groups, seen, strict=True)]
        where = {}
        for g, (d, kind) in enumerate(zip(seen, kinds_of(peer), strict=True)):
            for row in np.flatnonzero(d.round == 1).tolist():
                where[kind.agents[d.agent[row]]] = g, row
        assert set(where) == set(peer.agents)
        for agent, (g, row) in where.items():
            assert np.array_equal(seen[g].dense[row].numpy(), np.float32(observations[agent]).ravel())
        outcomes = made.step(chosen)
        observations, rewards, terminated, truncated, _ = peer.step(
            {a: int(chosen[g][i]) for a, (g, i) in where.items()}
        )
        for agent, (g, row) in where.items():
            assert outcomes[g].rewards[row] == np.float32(rewards[agent])
            assert outcomes[g].dead[row] == (terminated[agent] and bool(peer.agents))
    assert not peer.agents
    assert made.ended[1] == (not any(truncated.values()))


def test_states_are_float32_and_keep_their_shape() -> None:
    pixels, many = (game(f"{HERE}:{name}").groups[0] for name in ("small", "dictionary"))
    assert (pixels.state_size, pixels.shape, pixels.n_actions) == (24, (4, 3, 2), 3)
    assert (many.state_size, many.shape) == (2 + 3 + 24, None)
    sample = MANY.sample()
    made = flat(MANY, sample)
    assert made.dtype == np.float32
    kind = np.eye(3, dtype=np.float32)[sample["kind"]]  # parts are ordered by their names
    assert np.array_equal(made, np.concatenate([kind, sample["near"], np.float32(sample["pair"][0]).ravel()]))


def test_a_state_is_taken_apart_as_it_was_made() -> None:
    samples = [MANY.sample() for _ in range(3)]
    states = torch.from_numpy(np.stack([flat(MANY, sample) for sample in samples])).requires_grad_()
    seen = parts(MANY, states)
    assert {name: tuple(np.shape(part)) for name, part in seen.items() if name != "pair"} == {
        "kind": (3, 3),
        "near": (3, 2),
    }
    for i, sample in enumerate(samples):
        assert seen["kind"][i].argmax() == sample["kind"]
        assert np.array_equal(seen["near"][i].detach(), sample["near"])
        assert np.array_equal(seen["pair"][0][i].detach(), sample["pair"][0])
    seen["pair"][0].sum().backward()
    assert states.grad is not None
    assert states.grad.sum() == 3 * 24


def test_who_dies_is_gone_and_who_is_cut_is_not_dead() -> None:
    made = game(f"{HERE}:small", 1, names="ant_0,ant_1,ant_2", mortal=True, max_steps=9)
    made.reset(np.array([1]), np.array([False]))
    dead, living = [], []
    while made.active[0]:
        living.append(made.observe(0).agent.tolist())
        dead.append(made.step([np.zeros(len(living[-1]), np.int64)])[0].dead.tolist())
    assert living == [[0, 1, 2], [1, 2], [2]]
    assert dead == [[True, False, False], [True, False], [False]]  # all at once: the round ends, and nobody dies
    assert made.ended[0]
    still = game(f"{HERE}:small", 1, max_steps=9)
    still.reset(np.array([1]), np.array([False]))
    while still.active[0]:
        assert not still.step([np.zeros(2, np.int64)])[0].dead.any()
    assert (still.steps[0], still.ended[0], still.alive[0, 0]) == (5, False, 2)


def test_success_is_what_the_environment_says() -> None:
    short, long = (game(f"{HERE}:small", 2, max_steps=steps) for steps in (2, 4))
    for made in (short, long):
        made.reset(np.array([1, 2]), np.array([False, False]))
        while made.active.any():
            made.step([np.zeros(4, np.int64)])
    assert short.results(0)["success"].tolist() == [False, False]
    assert long.results(0)["success"].tolist() == [True, True]
    assert game(SPREAD).results(0) == {}


@pytest.mark.parametrize(
    ("grouping", "names", "roles"),
    [
        ("kind", "ant_0,bee_0,ant_1", {"ant": 2, "bee": 1}),
        ("space", "ant_0,bee_0,ant_1", {"ant": 3}),
        ("agent", "ant_0,bee_0,ant_1", {"ant_0": 1, "bee_0": 1, "ant_1": 1}),
    ],
)
def test_groups_are_as_asked(grouping: str, names: str, roles: dict[str, int]) -> None:
    made = game(f"{HERE}:small", names=names, grouping=grouping)
    assert {group.role: group.size for group in made.groups} == roles


def test_teams_are_one_or_as_asked() -> None:
    """As text, too, as the command line gives it."""
    assert make_scenario(SPREAD).teams == {"all": ("agent",)}
    tag = make_scenario("pettingzoo:mpe2.simple_tag_v3", {"sides": "{hunters: [adversary], prey: [agent]}"})
    assert tag.teams == {"hunters": ("adversary",), "prey": ("agent",)}
    assert [group.team for group in tag.make(1).groups] == [0, 1]
    with pytest.raises(UserError, match="it has adversary, agent"):
        _ = make_scenario("pettingzoo:mpe2.simple_tag_v3", {"sides": "{hunters: [adversary]}"}).teams


def test_settings_that_are_not_ours_are_the_environments() -> None:
    made = make_scenario(SPREAD, {"N": "5", "max_steps": "7"})
    assert isinstance(made, Parallel)
    assert (made.options, made.max_steps, made.make(1).groups[0].size) == ({"N": 5}, 7, 5)
    assert set(made.versions) == {"mpe2"}
    assert set(make_scenario(f"{HERE}:small").versions) == {"tests"}


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (
            "pettingzoo:mpe2.simple_spreads_v3",
            {},
            "no module mpe2.simple_spreads_v3: did you mean 'mpe2.simple_spread_v3",
        ),
        ("pettingzoo:sisl.pursuit_v9", {}, "did you mean 'sisl.pursuit_v5'"),
        ("pettingzoo:nowhere.at_all_v0", {}, "install the package nowhere"),
        ("nowhere_at_all:make", {}, "run the command in its folder"),
        ("tests.test_petting_zoo:small", {}, "did you mean 'tests.test_pettingzoo'"),
        (f"{HERE}:smal", {}, "no function 'smal' in tests.test_pettingzoo: did you mean 'small'"),
        (f"{HERE}:PIXELS", {}, "no function that makes an environment"),
        (f"{HERE}:no_environment", {}, "no PettingZoo parallel environment"),
        (f"{HERE}:several", {}, r"agents here act by one choice \(Discrete\), or by floats"),
        (SPREAD, {"agents": 3}, "cannot be made with the options"),
        ("battel", {}, "did you mean 'battle'"),
    ],
)
def test_what_cannot_be_played_is_told_in_a_sentence(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_scenario(name, settings).make(1)


@pytest.mark.parametrize("name", [SPREAD, "pettingzoo:sisl.pursuit_v5", f"{HERE}:small", f"{HERE}:dictionary"])
def test_it_is_a_game(name: str) -> None:
    check_game(make_scenario(name, {"max_steps": 30}))


class Linear:
    """Logits from a fixed matrix."""

    def __init__(self, d: int, a: int) -> None:
        self.weight = torch.randn(d, a, generator=torch.Generator().manual_seed(0))

    def logits(self, decisions: Decisions) -> torch.Tensor:
        return decisions.dense @ self.weight


def test_an_attack_changes_what_is_seen_alone() -> None:
    """Nobody attacked, or an epsilon of zero, is the clean round; a large one is not."""
    policy = Linear(18, 5)

    def rewards(epsilon: float | None) -> list[float]:
        adversary = None if epsilon is None else Adversary(PGD(threat=Threat(epsilon=epsilon), steps=3), 2)
        return [r.reward for r in play_rounds(game(SPREAD, 3), policy, seed=1, adversary=adversary)]

    assert rewards(None) == rewards(0.0)
    assert rewards(None) != rewards(1.0)


def test_a_policy_is_trained_and_tested_there(tmp_path: Path) -> None:
    """From a training to rows that hold what was played, without anything that the game has not."""
    small = {**TINY, "game": {"N": 2}, "scenario": SPREAD, "method": "mfac"}
    trained = Trainer(SelfPlay(resolve(TrainSettings, small)), tmp_path / "pettingzoo-mpe2.simple_spread_v3" / "mfac")
    trained.run()
    assert trained.students.keys() == {"agent"}
    settings = SweepSettings(scenario=SPREAD, game={"N": 2}, rounds=2, agents=(0, 1, 5))
    done = evaluate(settings, Library(tmp_path), tmp_path / "out", command="", say=lambda sentence: None)
    rows = done.rows
    assert rows["scenario"].unique().tolist() == [SPREAD]
    assert sorted(rows["attacked_agents"].unique()) == [0, 1, 2]
    assert rows[["win", "kills", "captures", "success"]].isna().all(axis=None)
    assert rows["opponent"].unique().tolist() == [""]
    assert json.loads(rows["game"].iloc[0])["options"] == {"N": 2}
    assert "mpe2" in json.loads(rows["versions"].iloc[0])
    assert rows["cut"].all()
    again = evaluate(settings, Library(tmp_path), tmp_path / "out", command="", say=lambda sentence: None)
    assert (again.played, again.kept) == (0, done.played)


def limited() -> Small:
    return Small(
        spaces.Box(np.array([-1, -np.inf, 0], np.float32), np.array([1, 0.5, np.inf], np.float32), (3,)),
        spaces.Discrete(3),
    )


class Shown(Observer):
    def __init__(self) -> None:
        self.states: list[torch.Tensor] = []

    def attacked(self, decisions: Decisions, shown: torch.Tensor) -> None:
        self.states.append(shown.clone())


def test_moved_states_stay_inside_the_game_s_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept in the row and in the cell's identity; a game without limits has neither."""
    monkeypatch.chdir(tmp_path)
    inside = []
    for in_range in (True, False):
        scenario = make_scenario(f"{HERE}:limited")
        group = scenario.make(1).groups[0]
        assert (group.low, group.high) == ((-1.0, -np.inf, 0.0), (1.0, 0.5, np.inf))
        attack = make_attack(Named(name="pgd"), "l_inf", 0.5, "all", group, in_range=in_range)
        watch = Shown()
        play_rounds(scenario.make(3), Linear(3, 3), seed=0, adversary=Adversary(attack, 2), observers=[watch])
        seen = torch.cat(watch.states)
        inside.append(bool(((seen[:, 0].abs() <= 1) & (seen[:, 1] <= 0.5) & (seen[:, 2] >= 0)).all()))
    assert inside == [True, False]
    cells = []
    for game, in_range in ((f"{HERE}:limited", True), (f"{HERE}:limited", False), (SPREAD, True), (SPREAD, False)):
        size = "small_net" if game != SPREAD else "spread_net"
        how: dict[str, Any] = {"scenario": game, "policies": (f"{HERE}:{size}",), "game": {"max_steps": 3}}
        settings = SweepSettings(**how, rounds=1, agents=(1,), in_range=in_range)
        rows = evaluate(settings, Library(tmp_path), None, command="", say=lambda sentence: None).rows
        cells.append(rows["cell"].iloc[0])
        assert rows["in_range"].tolist() == [in_range and game != SPREAD]
        told = json.loads(rows["attack_parameters"].iloc[0])["threat"]["low"]
        assert told == ("the game's" if rows["in_range"].all() else None)
    assert cells[0] != cells[1]
    assert cells[2] == cells[3]


def net(d: int, a: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(d, a)


def small_net() -> torch.nn.Module:
    return net(3, 3)


def spread_net() -> torch.nn.Module:
    return net(18, 5)
