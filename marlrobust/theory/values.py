"""Values under a fixed joint policy: the game that is left is a Markov decision process of the adversaries.

In state s the adversaries choose what each attacked agent is shown. That choice is one number, and everything of
Theorems 1, 2 and 4 is linear algebra on tables with one column for each choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from marlrobust.theory.game import Flags, Numbers, Sasg, Whole


@dataclass(frozen=True, eq=False)
class Adversaries:
    """What the adversaries of a game face under a fixed joint policy; K = S^M choices in each state.

    A perturbation v is (..., S) int: the number of the choice in each state.
    """

    rewards: Numbers  # (..., N, S, K) of each agent, when this is shown
    transitions: Numbers  # (..., S, K, S)
    choices: Whole  # (K, M) the state that each attacked agent is shown
    allowed: Flags  # (S, K)
    gamma: float

    def values(self, v: Whole) -> Numbers:
        """V of each agent under the perturbation `v`, (..., N, S), by one linear solve (Theorem 1)."""
        rewards, transitions = self.at(v)
        system = np.eye(transitions.shape[-1]) - self.gamma * transitions
        solved = np.linalg.solve(system, np.swapaxes(rewards, -1, -2))
        own: Numbers = np.swapaxes(solved, -1, -2)
        return own

    def at(self, v: Whole) -> tuple[Numbers, Numbers]:
        """Rewards (..., N, S) and transitions (..., S, S) under `v`, whose leading dimensions are broadcast."""
        lead = max(v.ndim - 1, self.rewards.ndim - 3)
        v, rewards, transitions = _lead(v, lead, 1), _lead(self.rewards, lead, 3), _lead(self.transitions, lead, 3)
        chosen = np.take_along_axis(rewards, v[..., None, :, None], axis=-1)[..., 0]
        return chosen, np.take_along_axis(transitions, v[..., :, None, None], axis=-2)[..., 0, :]

    def ahead(self, values: Numbers) -> Numbers:
        """Every agent's return of each choice, if afterwards it is `values` (..., N, S): (..., N, S, K)."""
        ahead: Numbers = np.einsum("...skt,...nt->...nsk", self.transitions, values)
        return self.rewards + self.gamma * ahead

    def only(self, agent: int, v: Whole) -> Flags:
        """(..., S, K): the choices that differ from `v` at most in what attacked agent `agent` is shown."""
        others = np.arange(self.choices.shape[1]) != agent
        same = self.choices[:, others] == self.choices[v][..., None, :][..., others]
        alone: Flags = same.all(-1) & self.allowed
        return alone


def adversaries(game: Sasg, policy: Numbers) -> Adversaries:
    """What is left to the adversaries of `game` when every agent plays `policy` (..., N, S, A).

    An agent's table is read at the state that it is shown: pi(a | s, v(s)) = prod_j pi^j(a^j | v^j(s)), with the true
    s for the agents that are not attacked.
    """
    states, attacked = game.n_states, game.n_attacked
    choices = combinations(states, attacked)
    tables = []
    for agent in range(game.n_agents):
        own = policy[..., agent, :, :]
        shape = (*own.shape[:-2], states, states, game.n_actions)
        tables.append(np.broadcast_to(own[..., None, :, :], shape) if agent < attacked else own[..., :, None, :])
    allowed = np.ones((states, len(choices)), bool)
    for agent in range(attacked):
        allowed &= game.false_states[agent][:, choices[:, agent]]
    return facing(game, tables, choices, allowed)


def facing(game: Sasg, tables: Sequence[Numbers], choices: Whole, allowed: Flags) -> Adversaries:
    """The adversaries of `game` where they have anything to choose from.

    tables: for each agent (..., S, C, A), what it does in each true state at each of the C things that it can be shown;
    of an agent that is not attacked (..., S, 1, A). choices: (K, M) which of them the attacked agents are shown.
    """
    joint = np.ones(1)
    for agent, own in enumerate(game.actions()):
        shown = choices[:, agent] if agent < choices.shape[1] else np.zeros(len(choices), np.int64)
        joint = joint * tables[agent][..., shown, :][..., own]  # (..., S, K, A^N)
    rewards = np.einsum("...skj,...nsj->...nsk", joint, game.rewards)
    transitions = np.einsum("...skj,...sjt->...skt", joint, game.transitions)
    return Adversaries(rewards, transitions, choices, allowed, game.gamma)


def clean_values(game: Sasg, policy: Numbers) -> Numbers:
    """V of each agent, (..., N, S), when everyone is shown the truth."""
    without = game.attacking(np.empty((0, game.n_states, game.n_states), bool))
    return adversaries(without, policy).values(np.zeros(game.n_states, np.int64))


def simulate(
    game: Sasg, policy: Numbers, v: Whole, start: int, *, runs: int, steps: int, rng: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Mean discounted return of each agent over `runs` plays of `steps` steps from `start`, and its standard error.

    It draws every agent's action from what that agent is shown, and knows nothing of `Adversaries`: an oracle for it.
    """
    choices = combinations(game.n_states, game.n_attacked)
    shown = np.tile(np.arange(game.n_states), (game.n_agents, 1))
    shown[: game.n_attacked] = choices[v].T
    state = np.full(runs, start)
    total = np.zeros((game.n_agents, runs))
    cumulative = policy.cumsum(-1)
    next_ = game.transitions.cumsum(-1)
    for step in range(steps):
        joint = np.zeros(runs, np.int64)
        for agent in range(game.n_agents):
            at = cumulative[agent, shown[agent, state]]
            joint = joint * game.n_actions + (rng.random((runs, 1)) * at[:, -1:] >= at).sum(1)
        total += game.gamma**step * game.rewards[:, state, joint]
        at = next_[state, joint]
        state = (rng.random((runs, 1)) * at[:, -1:] >= at).sum(1)
    return total.mean(1), total.std(1, ddof=1) / np.sqrt(runs)


def combinations(states: int, attacked: int) -> Whole:
    """(K, M), K = S^M: every combination of states that `attacked` agents can be shown."""
    return np.array(list(product(range(states), repeat=attacked)), np.int64).reshape(states**attacked, attacked)


def _lead(table: np.ndarray[tuple[int, ...], np.dtype[Any]], lead: int, own: int) -> Any:
    """`table` with `lead` dimensions before its `own` last ones."""
    return table.reshape((1,) * (lead + own - table.ndim) + table.shape)
