"""Tabular state-adversarial stochastic games (SASG): Definition 1 of Zhou and Liu as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from marlrobust.errors import UserError

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sasg:
    """N agents with A actions each, S states; the first M agents are attacked. `Sasg.of` makes one.

    Every array may have leading dimensions: a batch of games of one size. A joint action is one number in [0, A^N),
    agent 0's action the most significant digit.
    """

    transitions: Numbers  # (..., S, A^N, S) p(s' | s, a)
    rewards: Numbers  # (..., N, S, A^N) of each agent, mean over s'
    largest: Numbers  # (...) max |R(s, a, s')|
    false_states: Flags  # (M, S, S) [j, s, t]: agent j may be shown t where s is true
    gamma: float

    @classmethod
    def of(cls, transitions: npt.ArrayLike, rewards: npt.ArrayLike, false_states: npt.ArrayLike, gamma: float) -> Sasg:
        """One game. transitions: (S, A, ..., A, S), one axis of actions for each agent; rewards: (N, S, A, ..., A),
        or (N, S, A, ..., A, S) where they depend on the next state; false_states: (M, S, S) bool; gamma in [0, 1).

        Raises UserError for arrays that do not fit together, or are no probabilities.
        """
        p, r, b = np.asarray(transitions, float), np.asarray(rewards, float), np.asarray(false_states, bool)
        n, s = p.ndim - 2, p.shape[0]
        if n < 1 or p.shape[-1] != s or len(set(p.shape[1:-1])) != 1:
            raise UserError(f"transitions are (S, A, ..., A, S) with an equal A for every agent, not {p.shape}")
        if (p < 0).any() or not np.allclose(p.sum(-1), 1):
            raise UserError("transitions are no probabilities: over the next state they must be >= 0 and sum to 1")
        p = p.reshape(s, -1, s)
        joint = p.shape[1]
        if r.shape[:2] != (n, s) or r.size not in (n * s * joint, n * s * joint * s) or not np.isfinite(r).all():
            raise UserError(f"rewards are finite and (N, S, A, ..., A) or (N, S, A, ..., A, S), not {r.shape}")
        r = r.reshape(n, s, joint, -1)
        if b.ndim != 3 or b.shape[1:] != (s, s) or len(b) > n or not b.any(-1).all():
            raise UserError(f"false states are (M, S, S) with M <= N and at least one for each state, not {b.shape}")
        if not 0 <= gamma < 1:
            raise UserError(f"gamma is in [0, 1), not {gamma}")
        mean = (r * p).sum(-1) if r.shape[-1] == s and s > 1 else r[..., 0]
        return cls(p, mean, np.asarray(np.abs(r).max()), b, float(gamma))

    @property
    def n_agents(self) -> int:
        return int(self.rewards.shape[-3])

    @property
    def n_states(self) -> int:
        return int(self.rewards.shape[-2])

    @property
    def n_actions(self) -> int:
        return round(float(self.rewards.shape[-1] ** (1 / self.n_agents)))

    @property
    def n_attacked(self) -> int:
        return len(self.false_states)

    def attacking(self, false_states: npt.ArrayLike) -> Sasg:
        """The same game with other false states (M, S, S), and so another number of attacked agents."""
        return replace(self, false_states=np.asarray(false_states, bool).reshape(-1, self.n_states, self.n_states))

    def actions(self) -> Whole:
        """(N, A^N): each agent's own action in every joint action."""
        each = np.indices((self.n_actions,) * self.n_agents).reshape(self.n_agents, -1)
        return each.astype(np.int64)


def anything(m: int, s: int) -> Flags:
    """False states (m, s, s) of m agents that may be shown any state."""
    return np.ones((m, s, s), bool)


def nothing(m: int, s: int) -> Flags:
    """False states (m, s, s) of m agents that are shown the truth: B(s) = {s}."""
    return np.broadcast_to(np.eye(s, dtype=bool), (m, s, s)).copy()


def pure(actions: Sequence[Sequence[int]], n_actions: int) -> Numbers:
    """A policy (N, S, A) that is certain of `actions` (N, S)."""
    table: Numbers = np.eye(n_actions)[np.asarray(actions, int)]
    return table


def random_games(
    rng: np.random.Generator, batch: int, *, agents: int, states: int, actions: int, attacked: int, gamma: float
) -> tuple[Sasg, Numbers]:
    """A batch of games with one reward for the whole team, uniform in [-1, 1], and joint policies (batch, N, S, A).

    Transitions and policies are Dirichlet with parameters 0.3 and 0.5: mostly near certain, so that what an agent is
    shown matters. False states are any.
    """
    joint = actions**agents
    transitions = rng.dirichlet(np.full(states, 0.3), (batch, states, joint))
    reward = rng.uniform(-1, 1, (batch, 1, states, joint))
    rewards = np.repeat(reward, agents, 1)
    policy = rng.dirichlet(np.full(actions, 0.5), (batch, agents, states))
    game = Sasg(transitions, rewards, np.abs(reward).max((1, 2, 3)), anything(attacked, states), gamma)
    return game, policy
