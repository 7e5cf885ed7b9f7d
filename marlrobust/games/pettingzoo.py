"""Any PettingZoo parallel environment as a game: discrete actions, observations of any shape, made flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marlrobust.games.game import Bools, Decisions, Floats, Group, Ints, Outcome
from marlrobust.games.spaces import Kind, flat

SUCCESS = ("is_success", "success")
"""What an environment's `infos` may call a task that was done."""


class ParallelGame:
    """R copies of an environment, stepped one after the other; see `Game` for what it offers.

    Who is terminated while others go on is dead; where all are at once, the round has ended and nobody died. Who is
    truncated leaves alive, and a round in which somebody was truncated last was cut.
    """

    def __init__(
        self, environments: Sequence[Any], kinds: Sequence[Kind], teams: Sequence[Sequence[str]], max_steps: int
    ) -> None:
        """environments: R equal ones; kinds: their groups; teams: the roles of each team's groups."""
        self._environments, self._kinds, self.max_steps = environments, kinds, max_steps
        self.rounds = rounds = len(environments)
        team = {role: number for number, roles in enumerate(teams) for role in roles}
        self.groups = tuple(
            Group(k.role, len(k.agents), k.state_size, k.state_size, k.n_actions, team[k.role], k.shape) for k in kinds
        )
        self.active, self.ended, self.swapped = (np.zeros(rounds, np.bool_) for _ in range(3))
        self.steps = np.zeros(rounds, np.int64)
        self.alive = np.zeros((rounds, len(kinds)), np.int64)
        self._means = [np.zeros((rounds, k.n_actions), np.float32) for k in kinds]
        self._success = np.zeros((rounds, len(teams)), np.bool_)
        self._tells_success = False
        self._shown: list[dict[str, Any]] = [{} for _ in range(rounds)]  # observations of who is about to act
        self._rows: list[tuple[Floats, Ints, Ints]] = [self._look(g) for g in range(len(kinds))]

    def reset(self, seeds: Ints, swap: Bools) -> None:
        """See `Game.reset`."""
        if np.any(swap):
            raise ValueError("only teams of the same roles can swap sides")
        for r, (environment, seed) in enumerate(zip(self._environments, seeds, strict=True)):
            shown, _ = environment.reset(seed=int(seed))
            self._shown[r] = {agent: shown[agent] for agent in environment.agents}
        self.active[:], self.ended[:], self.steps[:], self._success[:] = True, False, 0, False
        self._means = [np.zeros_like(means) for means in self._means]
        self._see()
        self.alive[:] = self._counts()

    def observe(self, group: int) -> Decisions:
        """See `Game.observe`."""
        states, rounds, agents = self._rows[group]
        means = torch.from_numpy(self._means[group][rounds])
        return Decisions(torch.from_numpy(states), means, rounds, agents, self.steps[rounds], group)

    def positions(self, group: int) -> Ints:
        """Agents are nowhere that is known: all at (0, 0)."""
        return np.zeros((len(self._rows[group][1]), 2), np.int64)

    def step(self, actions: Sequence[Ints]) -> tuple[Outcome, ...]:
        """See `Game.step`."""
        asked: list[dict[str, Any]] = [{} for _ in range(self.rounds)]
        for kind, (_, rounds, agents), chosen in zip(self._kinds, self._rows, actions, strict=True):
            for r, i, action in zip(rounds.tolist(), agents.tolist(), chosen.tolist(), strict=True):
                asked[r][kind.agents[i]] = kind.action(action)
        brought = {r: self._play(r, asked[r]) for r in np.flatnonzero(self.active).tolist()}
        outcomes = tuple(self._outcome(g, chosen, brought) for g, chosen in enumerate(actions))
        self.steps[self.active] += 1
        self.active &= np.array([bool(shown) for shown in self._shown]) & (self.steps < self.max_steps)
        self._see()
        left = self._counts()
        self.alive[self.active] = left[self.active]
        return outcomes

    def results(self, team: int) -> Mapping[str, npt.NDArray[np.generic]]:
        """Success, where the environment has told of one in its `infos`."""
        return {"success": self._success[:, team]} if self._tells_success else {}

    def _play(self, r: int, actions: dict[str, Any]) -> tuple[Mapping[str, float], set[str]]:
        """Step one environment: its rewards, and who died."""
        environment = self._environments[r]
        shown, rewards, terminated, truncated, infos = environment.step(actions)
        self._shown[r] = {agent: shown[agent] for agent in environment.agents}
        if not environment.agents:
            self.ended[r] = not any(truncated.get(agent, False) for agent in actions)
        for (g, kind), key in product(enumerate(self._kinds), SUCCESS):
            told = [infos[agent][key] for agent in kind.agents if key in infos.get(agent, {})]
            self._tells_success |= bool(told)
            self._success[r, self.groups[g].team] |= any(told)
        return rewards, {a for a in actions if terminated.get(a, False) and environment.agents}

    def _outcome(self, g: int, actions: Ints, brought: Mapping[int, tuple[Mapping[str, float], set[str]]]) -> Outcome:
        """What the step brought one group, and its new mean actions."""
        kind, (_, rounds, agents) = self._kinds[g], self._rows[g]
        rows = list(zip(rounds.tolist(), (kind.agents[i] for i in agents.tolist()), strict=True))
        rewards = np.array([brought[r][0].get(agent, 0.0) for r, agent in rows], np.float32)
        dead = np.array([agent in brought[r][1] for r, agent in rows], np.bool_)
        counts = np.zeros((self.rounds, kind.n_actions))
        np.add.at(counts, (rounds, actions), 1)
        self._means[g] = (counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(np.float32)
        return Outcome(rewards, dead, self._means[g][rounds])

    def _see(self) -> None:
        self._rows = [self._look(g) for g in range(len(self._kinds))]

    def _look(self, g: int) -> tuple[Floats, Ints, Ints]:
        """States (n, d), rounds and agents (n,) of a group's agents that are about to act."""
        kind = self._kinds[g]
        rows = [
            (r, i, shown[agent])
            for r, shown in enumerate(self._shown)
            if self.active[r]
            for i, agent in enumerate(kind.agents)
            if agent in shown
        ]
        states = np.empty((len(rows), kind.state_size), np.float32)
        for row, (_, _, observation) in enumerate(rows):
            states[row] = flat(kind.observations, observation)
        numbers = np.array([(r, i) for r, i, _ in rows], np.int64).reshape(-1, 2)
        return states, numbers[:, 0].copy(), numbers[:, 1].copy()

    def _counts(self) -> Ints:
        """(R, G) agents about to act."""
        counts = [np.bincount(rounds, minlength=self.rounds) for _, rounds, _ in self._rows]
        return np.stack(counts, axis=1)
