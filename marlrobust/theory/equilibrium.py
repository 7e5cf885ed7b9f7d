"""Theorem 3: whether any stationary joint policy is an equilibrium when the adversaries answer every deviation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from marlrobust.errors import UserError
from marlrobust.theory.game import Flags, Numbers, Sasg, Whole, anything
from marlrobust.theory.perturbation import TOLERANCE, every, optimal
from marlrobust.theory.values import adversaries

DEVIATIONS = (0.0, 0.5, 1.0)
"""Chances of action 1 that a deviating agent tries after each state that it may be shown."""

MOST = 2_000_000


@dataclass(frozen=True)
class Proof:
    """No stationary joint policy is an equilibrium: wherever the agents are, one of them gains at least `gain`, from
    some state, by another policy.

    cells: looked at; finest: half the side of the smallest, in probability; least: the smallest gain that was found at
    a cell's centre.
    """

    gain: float
    cells: int
    finest: float
    least: float


def worst_values(game: Sasg, policy: Numbers) -> Numbers:
    """V (..., S) of a team with one reward under the optimal perturbation against `policy`."""
    return optimal(adversaries(game, policy)).values[..., 0, :]


def gains(game: Sasg, chances: Numbers) -> Numbers:
    """What the best deviation that is tried brings, (B,), from the policies `chances` (B, N, S) of action 1.

    The largest over agents, deviations and states where the play begins, each against its own optimal perturbation: an
    equilibrium has none above 0.
    """
    base = worst_values(game, _policy(chances))
    best = np.zeros(len(chances))
    for agent, own in product(range(game.n_agents), product(DEVIATIONS, repeat=game.n_states)):
        other = chances.copy()
        other[:, agent] = own
        best = np.maximum(best, (worst_values(game, _policy(other)) - base).max(-1))
    return best


def slope(game: Sasg) -> float:
    """How much `gains` can change, at most, for each 1 that all chances move.

    Moving one agent's chances by w moves V by at most w times the range of Q over 1 - gamma (see `bound.sound_factor`;
    the least over perturbations of what moves so moves so). V of the policy has N agents that move, V of a deviation
    N - 1.
    """
    width = float(game.rewards.max() - game.rewards.min())
    return (2 * game.n_agents - 1) * width / (1 - game.gamma) ** 2


def refute(game: Sasg, gain: float) -> Proof | None:
    """Proves that no stationary policy is a `gain`-equilibrium, or returns None where a cell of the size of rounding
    is left. For teams with one reward and two actions.

    The cube of all chances is cut into cells. In a cell of half-side w every policy has at least the gain of its
    centre, less slope times w; where that is not enough, the cell is cut in halves along every side.
    """
    if game.n_actions != 2 or not np.allclose(game.rewards, game.rewards[..., :1, :, :]):
        raise UserError("the search is for teams with one reward and two actions: give every agent the same rewards")
    size = game.n_agents * game.n_states
    corners = np.array(list(product((-1.0, 1.0), repeat=size)))
    centres, half, looked, least, steep = np.full((1, size), 0.5), 0.5, 0, np.inf, slope(game)
    while True:
        found = gains(game, centres.reshape(-1, game.n_agents, game.n_states))
        looked += len(centres)
        least = min(least, float(found.min()))
        open_ = found - steep * half < gain
        if not open_.any():
            return Proof(gain, looked, half, least)
        if least <= gain or looked > MOST:
            return None
        half /= 2
        centres = (centres[open_][:, None] + half * corners).reshape(-1, size)


def pure_equilibria(game: Sasg) -> list[tuple[tuple[int, ...], ...]]:
    """The pure joint policies, an action for each agent and state, from which no agent gains by another pure one."""
    profiles, stable = _pure(game)
    return [profiles[i] for i in np.flatnonzero(stable)]


def held_equilibria(game: Sasg) -> list[tuple[tuple[int, ...], ...]]:
    """The same where the adversaries do not answer a deviation: the pure joint policies for which one of the optimal
    perturbations is such that no agent gains by another pure policy while that perturbation stays."""
    own = list(product(range(game.n_actions), repeat=game.n_states))
    eye, found = np.eye(game.n_actions), []
    for profile in product(own, repeat=game.n_agents):
        mdp = adversaries(game, eye[np.array(profile)])
        vs = every(mdp)
        values = mdp.values(vs)[:, 0]
        worst = np.abs(values - values.min(0)).max(1) < TOLERANCE
        vs, values = vs[worst], values[worst]
        for agent, other in product(range(game.n_agents), own):
            changed = [*profile[:agent], other, *profile[agent + 1 :]]
            gain = adversaries(game, eye[np.array(changed)]).values(vs)[:, 0] - values
            stays = (gain <= TOLERANCE).all(1)
            vs, values = vs[stays], values[stays]
        if len(vs):
            found.append(profile)
    return found


def _pure(games: Sasg) -> tuple[list[tuple[tuple[int, ...], ...]], Flags]:
    """All P pure joint policies, and which are equilibria, (..., P) for a batch of games."""
    own = list(product(range(games.n_actions), repeat=games.n_states))
    profiles = list(product(own, repeat=games.n_agents))
    tables = np.eye(games.n_actions)[np.array(profiles)]
    values = np.stack([worst_values(games, policy) for policy in tables], -2)
    lead = values.shape[:-2]
    values = values.reshape(*lead, *([len(own)] * games.n_agents), games.n_states)
    stable = np.ones(values.shape[:-1], bool)
    for agent in range(games.n_agents):
        stable &= (values >= values.max(len(lead) + agent, keepdims=True) - TOLERANCE).all(-1)
    return profiles, stable.reshape(*lead, -1)


@dataclass(frozen=True)
class Search:
    """searched: games that were looked at; without: those where no pure joint policy is an equilibrium; found: the
    simplest of these, next state and reward (S, A^N), or None; fewest: the rewarded joint actions in it."""

    searched: int
    without: int
    found: tuple[list[list[int]], list[list[int]]] | None

    @property
    def fewest(self) -> int:
        return 0 if self.found is None else int(np.sum(self.found[1]))


def smallest(agents: int, rewarded: int, gamma: float = 0.5) -> Search:
    """Looks at all deterministic games of two states and two actions, with at most `rewarded` rewards of 1 for the
    team, in which every agent counts and any state may be shown.

    The simplest has the fewest rewards, and of those the fewest joint actions that change the state.
    """
    joint = 2**agents
    bits = np.array(list(product((0, 1), repeat=2 * joint))).reshape(-1, 2, joint)
    few = bits[bits.sum((1, 2)) <= rewarded]
    moves, rewards = np.tile(bits, (len(few), 1, 1)), np.repeat(few, len(bits), 0)
    counting = _all_count(moves, rewards, agents)
    moves, rewards = moves[counting], rewards[counting]
    team = np.repeat(rewards[:, None].astype(float), agents, 1)
    games = Sasg(np.eye(2)[moves], team, np.ones(len(moves)), anything(agents, 2), gamma)
    without = np.flatnonzero(~_pure(games)[1].any(-1))
    changes = (moves != np.arange(2)[:, None]).sum((1, 2))
    order = np.lexsort((changes[without], rewards.sum((1, 2))[without]))
    first = without[order[:1]]
    found = (moves[first[0]].tolist(), rewards[first[0]].tolist()) if len(first) else None
    return Search(len(moves), len(without), found)


def _all_count(moves: Whole, rewards: Whole, agents: int) -> Flags:
    """(G,) bool: no agent's action is without any effect."""
    both = np.stack([moves, rewards], 1).reshape(len(moves), 4, *([2] * agents))
    effects = [np.diff(both, axis=2 + agent).reshape(len(moves), -1).any(1) for agent in range(agents)]
    every: Flags = np.all(effects, axis=0)
    return every


def _policy(chances: Numbers) -> Numbers:
    return np.stack([1 - chances, chances], -1)
