"""The optimal joint perturbation (Theorem 2): the operator, its fixed point, and adversaries each for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from marlrobust.errors import UserError
from marlrobust.theory.game import Flags, Numbers, Whole
from marlrobust.theory.values import Adversaries

TOLERANCE = 1e-9
MOST = 2_000_000
"""Perturbations that an exhaustive search looks at, at most."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """values: (..., N, S) of each agent; v: (..., S) the perturbation."""

    values: Numbers
    v: Whole


def operator(game: Adversaries, values: Numbers, agent: int, allowed: Flags) -> Numbers:
    """(L V)(s) = min over the allowed choices of agent's return, (..., S) of `values` (..., S)."""
    ahead = game.rewards[..., agent, :, :] + game.gamma * np.einsum("...skt,...t->...sk", game.transitions, values)
    least: Numbers = np.where(allowed, ahead, np.inf).min(-1)
    return least


def optimal(game: Adversaries, agent: int = 0, allowed: Flags | None = None) -> Optimum:
    """The perturbation that minimises `agent`'s return from every state at once, by policy iteration: exact.

    For a team with one reward it is the joint optimum. allowed: (..., S, K), the choices that count; all of the game's
    if not given. What ties keeps the choice that it has.
    """
    allowed = game.allowed if allowed is None else allowed
    lead = np.broadcast_shapes(game.rewards.shape[:-3], allowed.shape[:-2])
    v = np.broadcast_to(allowed.argmax(-1), (*lead, allowed.shape[-2])).copy()
    while True:
        values = game.values(v)
        ahead = np.where(allowed, game.ahead(values)[..., agent, :, :], np.inf)
        best = ahead.argmin(-1)
        now = np.take_along_axis(ahead, v[..., None], -1)[..., 0]
        better = ahead.min(-1) < now - TOLERANCE * (1 + np.abs(now))
        if not better.any():
            return Optimum(values, v)
        v = np.where(better, best, v)


def value_iteration(game: Adversaries, agent: int = 0, *, start: Numbers | None = None, steps: int) -> Numbers:
    """The iterates V, LV, LLV ... of the joint operator, (steps + 1, ..., S), from `start` or from zeros."""
    v = np.zeros(game.rewards.shape[:-3] + game.rewards.shape[-2:-1]) if start is None else start
    found = [v]
    for _ in range(steps):
        found.append(operator(game, found[-1], agent, game.allowed))
    return np.stack(found)


def contraction(game: Adversaries, rng: np.random.Generator, pairs: int, agent: int = 0) -> float:
    """The largest |LV - LW| / |V - W| (sup norms) over random pairs of value functions: Theorem 2 says <= gamma."""
    size = (pairs, game.allowed.shape[0])
    v = rng.normal(size=size)
    w = v + rng.normal(size=size) * rng.uniform(0, 1, (pairs, 1)) + rng.normal(size=(pairs, 1))
    moved = operator(game, v, agent, game.allowed) - operator(game, w, agent, game.allowed)
    return float((np.abs(moved).max(-1) / np.abs(v - w).max(-1)).max())


def every(game: Adversaries) -> Whole:
    """All perturbations, (V, S); raises UserError where there are more than `MOST`."""
    options = [np.flatnonzero(row) for row in game.allowed]
    count = int(np.prod([float(len(o)) for o in options]))
    if count > MOST:
        raise UserError(f"the game has {count} perturbations: an exhaustive search looks at {MOST}, take fewer states")
    return np.array(list(product(*options)), np.int64)


def exhaustive(game: Adversaries, agent: int = 0) -> Optimum:
    """What `optimal` finds, from every perturbation there is: its oracle. One of them is the worst in every state."""
    vs = every(game)
    values = game.values(vs)
    own = values[:, agent]
    worst = int((own - own.min(0)).max(1).argmin())
    return Optimum(values[worst], vs[worst])


def equilibria(game: Adversaries) -> tuple[Whole, Numbers]:
    """The perturbations (E, S) in which no adversary can lower its own agent's return alone, and their values
    (E, N, S): what the paper defines as v_*. Found among all of them; a deviation that gains in one step gains.
    """
    vs = every(game)
    values = game.values(vs)
    ahead = game.ahead(values)  # (V, N, S, K)
    stable = np.ones(len(vs), bool)
    for agent in range(game.choices.shape[1]):
        alone = np.where(game.only(agent, vs), ahead[:, agent], np.inf).min(-1)
        stable &= (alone >= values[:, agent] - TOLERANCE * (1 + np.abs(values[:, agent]))).all(-1)
    return vs[stable], values[stable]
