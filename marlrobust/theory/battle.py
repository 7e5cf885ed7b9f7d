"""A battle small enough to be solved: every way in which one agent's sight can be turned, step by step, is played."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.values import Aimed
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions, Ints
from marlrobust.games.scenario import Scenario
from marlrobust.policies.policy import Policy
from marlrobust.streams import torch_stream

Turn = Callable[[Decisions, int], Ints]
"""What the attacked agent does, (n,), from its decisions in n rounds and the step; -1 for what it would do anyway."""

MOST = 40_000
"""Sequences of turned actions that are played, at most."""


@dataclass(frozen=True)
class SmallBattle:
    """Likeliest actions on both sides, and so no chance at all: a round repeats from its seed.

    Agent 0 of team 0 is attacked in steps first to first + steps - 1.
    """

    scenario: Scenario
    policy: Policy
    opponent: Policy
    threat: Threat
    seed: int
    first: int
    steps: int

    @torch.no_grad()
    def play(self, rounds: int, turn: Turn) -> npt.NDArray[np.float64]:
        """The team's reward (R,) of `rounds` equal rounds, in which `turn` acts for the attacked agent."""
        game = self.scenario.make(rounds)
        game.reset(np.full(rounds, self.seed), np.zeros(rounds, np.bool_))
        total: npt.NDArray[np.float64] = np.zeros(rounds)
        step = 0
        while game.active.any():
            own, foes = game.observe(0), game.observe(1)
            actions = self.policy.logits(own).argmax(1).numpy()
            rows = np.flatnonzero(own.agent == 0)
            if self.first <= step < self.first + self.steps and len(rows):
                turned = turn(own.take(torch.from_numpy(rows)), step - self.first)
                actions[rows] = np.where(turned < 0, actions[rows], turned)
            outcome, _ = game.step((actions, self.opponent.logits(foes).argmax(1).numpy()))
            total += np.bincount(own.round, outcome.rewards, minlength=rounds)
            step += 1
        return total

    def clean(self) -> float:
        """The reward without an attack."""
        return float(self.play(1, lambda seen, step: np.full(len(seen), -1))[0])

    def under(self, attack: Attack, rounds: int = 1) -> float:
        """The mean reward over `rounds` draws of `attack`."""
        rng = torch_stream(self.seed, "attack")

        def turn(seen: Decisions, step: int) -> Ints:
            return self.acts(seen, attack.perturb(self.policy, seen, rng))

        return float(self.play(rounds, turn).mean())

    def acts(self, seen: Decisions, shown: Tensor) -> Ints:
        """The likeliest actions (n,) of agents that are shown `shown` (n, d)."""
        chosen: Ints = self.policy.logits(seen.showing(shown)).argmax(1).numpy()
        return chosen

    def reachable(self, seen: Decisions) -> list[list[int]]:
        """The actions that each of n decisions can be turned to, its own among them, by a descent to every action.

        An action that no descent reaches is left out, although a state of the ball that leads to it may exist.
        """
        n_actions = self.policy.logits(seen).shape[1]
        attack = Aimed(threat=self.threat, steps=20)
        rng = torch_stream(self.seed, "attack")
        found = [{int(a)} for a in self.acts(seen, seen.dense)]
        for action in range(n_actions):
            targets = torch.full((len(seen),), action)
            shown = attack.perturb(self.policy, seen, rng, reference=targets)
            for row, reached in enumerate(self.acts(seen, shown)):
                found[row].add(int(reached))
        return [sorted(actions) for actions in found]

    def solve(self) -> Solution:
        """Plays every sequence of actions that the attacked agent can be turned to; raises UserError for too many."""
        sequences = np.empty((1, 0), np.int64)
        for step in range(self.steps):
            options = self._options(sequences, step)
            longer = [[*played, a] for played, actions in zip(sequences, options, strict=True) for a in actions]
            sequences = np.array(longer, np.int64)
            if len(sequences) > MOST:
                raise UserError(f"the battle has more than {MOST} sequences of actions: attack fewer steps")
        rewards = self.play(len(sequences), lambda seen, step: sequences[seen.round, step])
        worst = int(rewards.argmin())
        return Solution(len(sequences), float(rewards[worst]), tuple(sequences[worst].tolist()))

    def _options(self, sequences: Ints, step: int) -> list[list[int]]:
        """What the agent can be turned to in `step`, after each of `sequences` (R, step); -1 alone where it is dead."""
        options = [[-1]] * len(sequences)

        def turn(seen: Decisions, now: int) -> Ints:
            if now < step:
                before: Ints = sequences[seen.round, now]
                return before
            if now == step:
                for row, actions in zip(seen.round, self.reachable(seen), strict=True):
                    options[row] = actions
            return np.full(len(seen), -1)

        self.play(len(sequences), turn)
        return options


@dataclass(frozen=True)
class Solution:
    """sequences: that were played; worst: the least reward of the team; actions: what brings it."""

    sequences: int
    worst: float
    actions: tuple[int, ...]


def damages(battle: SmallBattle, attacks: Mapping[str, Attack], draws: int) -> tuple[Solution, dict[str, float]]:
    """The worst there is, and each attack's share of the damage that it does."""
    solution, clean = battle.solve(), battle.clean()
    lost = {name: clean - battle.under(attack, draws) for name, attack in attacks.items()}
    most = clean - solution.worst
    return solution, {name: value / most if most > 0 else float("nan") for name, value in lost.items()}
