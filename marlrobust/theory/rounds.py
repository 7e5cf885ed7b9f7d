"""A tabular game as rounds: one-hot states, so that every attack, rollout and table here works on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marlrobust.games.game import Bools, Decisions, Group, Ints, Outcome
from marlrobust.streams import stream
from marlrobust.theory.game import Sasg


class TabularGame:
    """R rounds of an SASG; see `Game`. Everyone lives; rewards are each agent's own.

    A state is the game's, one-hot, and then the agent's own number, one-hot. The first part is the view: an attack that
    may move the view alone (`--features view`) leaves every agent its identity.
    """

    def __init__(
        self,
        game: Sasg,
        rounds: int,
        max_steps: int,
        *,
        start: int | None = None,
        discounted: bool = True,
    ) -> None:
        self.game, self.rounds, self.max_steps = game, rounds, max_steps
        self.start, self.discounted = start, discounted
        states, agents, actions = game.n_states, game.n_agents, game.n_actions
        self.groups: tuple[Group, ...] = (Group("agent", agents, states + agents, states, actions),)
        self.eye = np.eye(states, dtype=np.float32), np.eye(agents, dtype=np.float32)
        self.next_state = game.transitions.cumsum(-1)
        self.alive: Ints = np.full((rounds, 1), agents)
        self.reset(np.arange(rounds), np.zeros(rounds, np.bool_))

    def reset(self, seeds: Ints, swap: Bools) -> None:
        """See `Game.reset`."""
        self.rngs = [stream(int(seed), "tabular") for seed in seeds]
        first = [int(rng.integers(self.game.n_states)) for rng in self.rngs]
        self.state = np.array(first) if self.start is None else np.full(self.rounds, self.start)
        self.active, self.ended = np.ones(self.rounds, np.bool_), np.zeros(self.rounds, np.bool_)
        self.steps, self.swapped = np.zeros(self.rounds, np.int64), swap.copy()
        self.mean_actions = np.zeros((self.rounds, self.game.n_actions), np.float32)

    def observe(self, group: int) -> Decisions:
        """See `Game.observe`."""
        size = self.groups[group].size
        rounds = np.repeat(np.flatnonzero(self.active), size)
        agents = np.tile(np.arange(size), int(self.active.sum()))
        states = np.concatenate([self.eye[0][self.state[rounds]], self.eye[1][agents]], 1)
        means = torch.from_numpy(self.mean_actions[rounds])
        return Decisions(torch.from_numpy(states), means, rounds, agents, self.steps[rounds])

    def positions(self, group: int) -> Ints:
        """Agents of a tabular game are nowhere: all at (0, 0)."""
        return np.zeros((len(self.observe(group)), 2), np.int64)

    def step(self, actions: Sequence[Ints]) -> tuple[Outcome, ...]:
        """See `Game.step`."""
        game, going = self.game, np.flatnonzero(self.active)
        own = actions[0].reshape(len(going), game.n_agents)
        joint = np.zeros(len(going), np.int64)
        for agent in range(game.n_agents):
            joint = joint * game.n_actions + own[:, agent]
        draws = np.array([self.rngs[r].random(2) for r in going])
        rewards = game.rewards[:, self.state[going], joint].T.astype(np.float32)
        chances = self.next_state[self.state[going], joint]
        self.state[going] = (draws[:, :1] * chances[:, -1:] >= chances).sum(1)
        self.steps[going] += 1
        self.mean_actions[going] = np.eye(game.n_actions, dtype=np.float32)[own].mean(1)
        ended = draws[:, 1] >= (game.gamma if self.discounted else 1.0)
        self.ended[going] = ended  # by chance, which is an end of the game and no cut
        self.active[going] = ~ended & (self.steps[going] < self.max_steps)
        means = np.repeat(self.mean_actions[going], game.n_agents, 0)
        outcome = Outcome(rewards.reshape(-1), np.zeros(joint.size * game.n_agents, np.bool_), means)
        return (outcome,)

    def results(self, team: int) -> Mapping[str, npt.NDArray[np.generic]]:
        """See `Game.results`: nothing but the reward."""
        return {}


def decisions_of(states: int, agents: int, n_actions: int) -> Decisions:
    """Every decision of a tabular game once, (S N), ordered by state, then agent; at the first step."""
    at, who = np.repeat(np.arange(states), agents), np.tile(np.arange(agents), states)
    vectors = np.concatenate([np.eye(states)[at], np.eye(agents)[who]], 1).astype(np.float32)
    means: Any = torch.zeros(len(at), n_actions)
    return Decisions(torch.from_numpy(vectors), means, at, who, np.zeros(len(at), np.int64))
