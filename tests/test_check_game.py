"""A new game is told what it does wrong: each fault is planted in a game that is otherwise right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import marlrobust
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.games import SCENARIOS
from marlrobust.games.game import Bools, Decisions, Group, Ints, Outcome


class Counting:
    """Three agents who see a random number and their own; agent 0 dies in step 2, the round ends in step 6."""

    def __init__(self, rounds: int = 2) -> None:
        self.rounds = rounds
        self.groups: Any = (Group("counter", 3, 2, 2, 4),)
        self.active, self.ended, self.swapped = (np.zeros(rounds, np.bool_) for _ in range(3))
        self.steps, self.alive = np.zeros(rounds, np.int64), np.zeros((rounds, 1), np.int64)

    def reset(self, seeds: Ints, swap: Bools) -> None:
        self.rngs = [np.random.default_rng(int(seed)) for seed in seeds]
        self.active[:], self.ended[:], self.steps[:], self.alive[:] = True, False, 0, 3
        self.swapped[:] = swap
        self.living = np.ones((self.rounds, 3), np.bool_)
        self.means = np.zeros((self.rounds, 4), np.float32)
        self.draw()

    def draw(self) -> None:
        self.numbers = np.array([rng.random() for rng in self.rngs], np.float32)

    def observe(self, group: int) -> Decisions:
        rounds, agents = np.nonzero(self.living & self.active[:, None])
        states = np.stack([self.numbers[rounds], agents.astype(np.float32)], axis=1)
        means = torch.from_numpy(self.means[rounds])
        return Decisions(torch.from_numpy(states), means, rounds, agents, self.steps[rounds], group)

    def positions(self, group: int) -> Ints:
        return np.zeros((len(self.observe(group)), 2), np.int64)

    def step(self, actions: Sequence[Ints]) -> Sequence[Outcome]:
        seen = self.observe(0)
        self.means = np.zeros_like(self.means)
        np.add.at(self.means, (seen.round, actions[0]), 1)
        self.means /= np.maximum(self.means.sum(1, keepdims=True), 1)
        dead = (seen.agent == 0) & (seen.step == 1)
        self.living[seen.round[dead], seen.agent[dead]] = False
        self.alive[self.active, 0] = self.living.sum(1)[self.active]
        self.steps[self.active] += 1
        self.ended |= self.active & (self.steps == 6)
        self.active &= ~self.ended
        self.draw()
        return (Outcome(actions[0].astype(np.float32), dead, self.means[seen.round]),)

    def results(self, team: int) -> dict[str, Any]:
        return {"success": self.ended}


class Uneven(Counting):
    """Rounds end by chance."""

    def step(self, actions: Sequence[Ints]) -> Sequence[Outcome]:
        found = super().step(actions)
        self.ended |= self.active & (self.numbers > 0.7)
        self.active &= ~self.ended
        return found


def shows(change: Callable[[Decisions], Decisions]) -> type[Counting]:
    """The game whose observations are changed."""

    class Changed(Counting):
        def observe(self, group: int) -> Decisions:
            return change(super().observe(group))

    return Changed


def brings(change: Callable[[Outcome], Any]) -> type[Counting]:
    """The game whose outcomes are changed."""

    class Changed(Counting):
        def step(self, actions: Sequence[Ints]) -> Any:
            return [change(outcome) for outcome in super().step(actions)]

    return Changed


def after(change: Callable[[Any], object], when: str = "step") -> type[Counting]:
    """The game in which something is changed after each step, or each reset."""

    def changed(self: Any, *given: Any) -> Any:
        found = getattr(Counting, when)(self, *given)
        change(self)
        return found

    return type("Changed", (Counting,), {when: changed})


def is_of(**changes: Any) -> type[Counting]:
    """The game of another group."""
    return after_making(lambda game: setattr(game, "groups", (replace(game.groups[0], **changes),)))


def after_making(change: Callable[[Any], object]) -> type[Counting]:
    class Changed(Counting):
        def __init__(self) -> None:
            super().__init__()
            change(self)

    return Changed


def reborn(game: Any) -> None:
    game.living[:] |= (game.steps >= 4)[:, None]
    game.alive[game.active, 0] = game.living.sum(1)[game.active]


def backwards(d: Decisions) -> Decisions:
    return d.take(torch.arange(len(d) - 1, -1, -1))


def unseeded(game: Any) -> None:
    game.rngs = [np.random.default_rng() for _ in game.rngs]


def entangled(game: Any) -> None:
    game.rngs = game.rngs[-1:] * game.rounds


def spoilt(tensor: torch.Tensor) -> torch.Tensor:
    return torch.full_like(tensor, torch.nan)


FAULTS: dict[str, tuple[type[Counting], str]] = {
    "states of another type": (shows(lambda d: d.showing(d.dense.double())), "must be float32, not float64"),
    "states of another size": (shows(lambda d: d.showing(d.dense[:, :1])), r"must be of shape \(6, 2\), not \(6, 1\)"),
    "states that are no numbers": (shows(lambda d: d.showing(spoilt(d.dense))), "states .* not all finite"),
    "no mean actions": (shows(lambda d: replace(d, mean_actions=d.mean_actions[:, :0])), r"must be \(6, 4\) float32"),
    "early mean actions": (shows(lambda d: replace(d, mean_actions=d.mean_actions + 1)), "zero at a round's start"),
    "rows in another order": (shows(backwards), "ordered by round, then agent"),
    "rows of one round too many": (shows(lambda d: replace(d, round=d.round + 1)), "agents that there are not"),
    "steps of another round": (shows(lambda d: replace(d, step=d.step + 1)), "the step of its round"),
    "another group's number": (shows(lambda d: replace(d, group=1)), "must say that its group is 0"),
    "numbers that are not whole": (shows(lambda d: replace(d, agent=d.agent.astype(float))), "whole numbers"),
    "something else": (shows(lambda d: (d,)), "must return Decisions"),  # type: ignore[arg-type, return-value]
    "the dead come back": (after(reborn), "must not come back"),
    "seeds that do not repeat": (after(unseeded, "reset"), "bring another round"),
    "rounds that disturb each other": (after(entangled, "reset"), "depends on the seeds of others"),
    "rewards that are no numbers": (
        brings(lambda o: o._replace(rewards=o.rewards / 0.0 * 0.0)),
        "rewards .* not all finite",
    ),
    "rewards of another type": (brings(lambda o: o._replace(rewards=o.rewards.astype(float))), "rewards .* float32"),
    "rewards of others": (brings(lambda o: o._replace(rewards=o.rewards[:1])), r"rewards of group 0 .* must be \(6,\)"),
    "deaths as numbers": (brings(lambda o: o._replace(dead=o.dead.astype(int))), "dead of group 0 .* bool"),
    "counts of actions": (brings(lambda o: o._replace(mean_actions=o.mean_actions * 3)), "shares of actions"),
    "a count of the living that is wrong": (after(lambda g: g.alive.fill(3)), "must count the agents"),
    "a step that counts twice": (after(lambda g: g.steps.__iadd__(1)), "steps must grow by one"),
    "a round that goes on": (after(lambda g: g.active.fill(True)), "only reset may start it again|must not be active"),
    "a round that has not begun": (after(lambda g: g.active.__setitem__(1, False), "reset"), "must start all rounds"),
    "arrays of another shape": (
        after_making(lambda g: setattr(g, "alive", np.zeros(2, int))),
        "alive must be an array",
    ),
    "an error of its own": (after(lambda g: g.nothing), r"it raises AttributeError\("),
    "no groups": (after_making(lambda g: setattr(g, "groups", ())), "at least one Group"),
    "an empty group": (is_of(size=0), "has no agents"),
    "a view larger than the state": (is_of(view_size=3), "it must be a part"),
    "a shape of another size": (is_of(shape=(3, 3)), r"shape \(3, 3\), and states of 2"),
    "teams with a gap": (is_of(team=1), "numbered from 0"),
    "a column that rows have not": (
        type("Changed", (Counting,), {"results": lambda self, team: {"points": self.ended}}),
        "'points', which is no column",
    ),
    "one result for all rounds": (
        type("Changed", (Counting,), {"results": lambda self, team: {"success": True}}),
        "one value per round",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told(fault: str) -> None:
    kind, words = FAULTS[fault]
    with pytest.raises(UserError, match=words), np.errstate(all="ignore"):
        marlrobust.check_game(kind())


def test_a_game_without_a_fault_passes() -> None:
    marlrobust.check_game(Counting())
    marlrobust.check_game(Counting(1))
    marlrobust.check_game(Uneven())


SMALL: dict[str, dict[str, Any]] = {
    "battle": {"map_size": 16},
    "pursuit": {"map_size": 20, "predators": 4, "prey": 6},
    "battlefield": {"map_size": 46},
    "combined_arms": {"map_size": 16},
    "gather": {"map_size": 70},
    "tiger_deer": {"map_size": 16},
    "sasg": {},
}


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_our_own_games_pass(name: str) -> None:
    marlrobust.check_game(resolve(SCENARIOS[name], SMALL[name]), steps=12)
