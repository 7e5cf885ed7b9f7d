"""Legal actions: what is not legal is never played, never aimed at, and no attack moves the mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from pettingzoo import ParallelEnv
from torch import Tensor, nn

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.attacks.victims import CriticalVictims
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.certify import run_certify
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.settings import CertifySettings
from marlrobust.games import make_scenario
from marlrobust.games.check import check_game
from marlrobust.games.game import Decisions
from marlrobust.games.pettingzoo import ParallelGame
from marlrobust.policies.adapters import policy_for
from marlrobust.policies.library import Library
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.wrappers import wrap
from tests.conftest import TINY

HERE = "tests.test_masks"
D, A = 4, 5


class Doors(ParallelEnv[str, Any, int]):  # type: ignore[misc]
    """Agents before five doors, of which one to four are open in each step; a closed one raises."""

    metadata = {"name": "doors_v0"}  # noqa: RUF012

    def __init__(self, where: str = "observation", first: bool = True) -> None:
        """where: the mask is told; first: whether `infos` tell it at reset already; if not, no door is closed."""
        self.where, self.first = where, first
        self.possible_agents = ["a_0", "a_1", "a_2"]
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Any:
        seen = Box(-1, 1, (D,), np.float32)
        mask = Box(0, 1, (A,), np.int8)
        return Dict({"observation": seen, "action_mask": mask}) if self.where == "observation" else seen

    def action_space(self, agent: str) -> Any:
        return Discrete(A)

    def _see(self, told: bool = True) -> tuple[Any, Any]:
        seen = {a: self.rng.uniform(-1, 1, D).astype(np.float32) for a in self.agents}
        doors = {a: np.arange(A) < self.rng.integers(1, A) for a in self.agents}
        self.open = masks = {a: self.rng.permuted(doors[a]).astype(np.int8) for a in self.agents}
        if self.where == "observation":
            return {a: {"observation": seen[a], "action_mask": masks[a]} for a in seen}, {a: {} for a in seen}
        return seen, {a: {"action_mask": masks[a]} if told else {} for a in seen}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.rng, self.agents, self.t = np.random.default_rng(seed), list(self.possible_agents), 0
        return self._see(self.first)

    def step(self, actions: dict[str, int]) -> Any:
        for agent, action in actions.items():
            if self.first and not self.open[agent][action]:
                raise ValueError(f"door {action} is closed")
        self.t += 1
        seen, infos = self._see()
        cut, no = dict.fromkeys(self.agents, self.t == 12), dict.fromkeys(self.agents, False)
        rewards = {agent: float(action) for agent, action in actions.items()}
        self.agents = [] if self.t == 12 else self.agents
        return seen, rewards, no, cut, infos


def in_observation() -> Doors:
    return Doors()


def in_infos() -> Doors:
    return Doors("infos")


def too_late() -> Doors:
    return Doors("infos", first=False)


PLACES = ["in_observation", "in_infos"]


def game(place: str, rounds: int = 3) -> ParallelGame:
    made = make_scenario(f"{HERE}:{place}").make(rounds)
    assert isinstance(made, ParallelGame)
    return made


class Wishes(nn.Module):
    """Wants one action far more than all others, with a critic that thinks so too."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, A))

    def logits(self, states: Tensor) -> Tensor:
        y: Tensor = 20 * self.net(states)
        return y

    def q_values(self, states: Tensor) -> Tensor:
        return -self.logits(states)


@pytest.mark.parametrize("place", PLACES)
def test_it_is_a_game(place: str) -> None:
    check_game(make_scenario(f"{HERE}:{place}"))
    assert game(place).groups[0].masked
    assert game(place).groups[0].state_size == D  # the mask is no part of what may be moved


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("greedy", [False, True])
def test_only_legal_actions_are_played_attacked_or_not(place: str, greedy: bool) -> None:
    """The environment raises at any other."""
    attack = ATTACKS["pgd"](threat=Threat(epsilon=0.5))
    for count in (0, 3):
        rounds = play_rounds(game(place), Wishes(), seed=1, adversary=Adversary(attack, count), greedy=greedy)  # type: ignore[arg-type]
        assert all(r.steps == 12 for r in rounds)
    assert all(r.flips for r in rounds)
    critical = Adversary(attack, 1, CriticalVictims())
    play_rounds(game(place), Wishes(), seed=1, adversary=critical)  # type: ignore[arg-type]


def seen(n: int = 200) -> Decisions:
    rng = np.random.default_rng(0)
    masks = np.arange(A) < rng.integers(1, A + 1, (n, 1))
    decisions = Decisions.of(torch.from_numpy(rng.uniform(-1, 1, (n, D)).astype(np.float32)))
    object.__setattr__(decisions, "mask", torch.from_numpy(rng.permuted(masks, axis=1)))
    return decisions


def masked(policy: Any = None) -> Any:
    return policy_for(policy or Wishes(), game("in_observation").groups[0])


NEEDS_MORE = ("learned", "transfer")
"""Attacks that ask a second policy."""


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in NEEDS_MORE])
def test_every_attack_stays_finite_and_in_its_ball(name: str) -> None:
    decisions, policy = seen(), masked()
    shown = ATTACKS[name](threat=Threat(epsilon=0.3)).perturb(policy, decisions)
    assert float((shown - decisions.dense).abs().max()) <= 0.3
    chosen = policy.logits(decisions.showing(shown)).argmax(1)
    assert decisions.mask is not None
    assert bool(decisions.mask.gather(1, chosen[:, None]).all())


def test_an_attack_asks_for_legal_actions_alone() -> None:
    """Where two actions are legal, all is as with a policy that has these two."""

    class Two(nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            y: Tensor = Wishes().logits(states)[:, [1, 3]]
            return y

    decisions = Decisions.of(seen().dense)
    object.__setattr__(decisions, "mask", torch.tensor([False, True, False, True, False]).repeat(len(decisions), 1))
    for name in ("pgd", "margin", "mad", "apgd-ce"):
        attack = ATTACKS[name](threat=Threat(epsilon=0.3))
        own, two = attack.perturb(masked(), decisions), attack.perturb(Two(), decisions.dense)
        assert (own != two).float().mean() < 0.01, name


def test_a_mask_that_comes_too_late_is_told() -> None:
    """A policy could play what is not legal: nobody knew at the start that there is a mask."""
    with pytest.raises(UserError, match="could play actions that are not legal"):
        check_game(make_scenario(f"{HERE}:too_late"))
    with pytest.raises(UserError, match="check_game"):
        play_rounds(game("too_late"), Wishes(), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", PLACES)
def test_in_a_loop_of_one_s_own(place: str) -> None:
    """The mask is shown as it is; what is seen beside it is moved."""
    true, env = Doors("observation" if place == "in_observation" else "infos"), None
    env = wrap(Doors(true.where), Wishes(), epsilon=0.2)
    (before, told), (after, infos) = true.reset(seed=3), env.reset(seed=3)
    for agent in before:
        if place == "in_observation":
            np.testing.assert_array_equal(before[agent]["action_mask"], after[agent]["action_mask"])
            before[agent], after[agent] = before[agent]["observation"], after[agent]["observation"]
        else:
            np.testing.assert_array_equal(told[agent]["action_mask"], infos[agent]["action_mask"])
        assert before[agent].shape == after[agent].shape
        assert np.abs(before[agent] - after[agent]).max() <= 0.2 + 1e-6
    assert any((before[agent] != after[agent]).any() for agent in before)


def test_what_knows_no_masks_refuses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{HERE}:in_observation"
    with pytest.raises(UserError, match="the learners here are for agents that choose between actions, all of them"):
        SelfPlay(resolve(TrainSettings, {**TINY, "game": {}, "scenario": name, "method": "mfac"}))
    settings = CertifySettings(scenario=name, policies=(f"{HERE}:Wishes",), rounds=1)
    with pytest.raises(UserError, match="certificates are for agents that choose"):
        run_certify(settings, Library(tmp_path), tmp_path / "out", say=print)
