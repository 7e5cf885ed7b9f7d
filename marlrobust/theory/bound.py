"""Theorem 4 (eq. 14): what attacking one more agent costs, against the total variation of its actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marlrobust.theory.game import Numbers, Sasg
from marlrobust.theory.perturbation import optimal
from marlrobust.theory.values import adversaries


@dataclass(frozen=True, eq=False)
class Bound:
    """Both sides of eq. 14 for each attacked agent, (..., M).

    loss: the left side, max_s of V without agent j attacked less V with it; variation: max_s max over its false states
    of the total variation of its actions (half the l_1 distance), which is the joint policy's; printed, sound: the
    factor of the paper, and the one that holds.
    """

    loss: Numbers
    variation: Numbers
    printed: Numbers
    sound: Numbers

    @property
    def used(self) -> Numbers:
        """The loss as a share of the printed bound; above 1 the theorem as printed is violated."""
        return self.loss / np.maximum(self.printed * self.variation, 1e-12)


def printed_factor(largest: Numbers, gamma: float) -> Numbers:
    """zeta = 2 (1 + gamma / (1 - gamma)^2) max |R|, as eq. 14 has it."""
    return 2 * (1 + gamma / (1 - gamma) ** 2) * largest


def sound_factor(largest: Numbers, gamma: float) -> Numbers:
    """2 max |R| / (1 - gamma)^2, which holds.

    V_pi - V_pi' = (I - gamma P')^-1 (pi - pi') Q_pi. The sum over actions is at most the total variation times the
    range of Q_pi, which is at most 2 max |R| / (1 - gamma); the inverse is at most 1 / (1 - gamma).
    """
    return 2 * largest / (1 - gamma) ** 2


def bound(game: Sasg, policy: Numbers) -> Bound:
    """Both sides for a team with one reward, under its optimal joint perturbation; games may be a batch."""
    mdp = adversaries(game, policy)
    worst = optimal(mdp)
    states = np.arange(game.n_states)
    losses, variations = [], []
    for agent in range(game.n_attacked):
        weight = game.n_states ** (game.n_attacked - 1 - agent)  # of this agent's digit in a choice
        truth = worst.v + (states - mdp.choices[worst.v][..., agent]) * weight
        freed = mdp.values(truth)[..., agent, :]
        losses.append((freed - worst.values[..., agent, :]).max(-1))
        own = policy[..., agent, :, :]
        apart = np.abs(own[..., :, None, :] - own[..., None, :, :]).sum(-1) / 2
        variations.append(np.where(game.false_states[agent], apart, 0).max((-1, -2)))
    loss, variation = np.stack(losses, -1), np.stack(variations, -1)
    largest = game.largest[..., None]
    return Bound(loss, variation, printed_factor(largest, game.gamma), sound_factor(largest, game.gamma))
