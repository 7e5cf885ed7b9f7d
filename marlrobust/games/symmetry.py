"""Symmetries of a game: what an agent sees and does, turned into what it would see and do in a mirror."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marlrobust.games.game import Floats, Ints


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A mirror of the game for one role: if all agents are mirrored, so are their next states, with equal rewards.

    columns: (d,) int64, where each number of a state goes; turned: (d,) float32, NaN where the number stays as it is,
    else what it is taken from: a position x becomes turned - x, and is never 0 before or after; actions: (a,) int64,
    the mirrored action of each.
    """

    columns: Ints
    turned: Floats
    actions: Ints

    def of_states(self, states: Floats) -> Floats:
        """(n, d) states in the mirror."""
        mirrored = np.empty_like(states)
        mirrored[:, self.columns] = np.where(np.isnan(self.turned), states, self.turned - states)
        return mirrored

    def then(self, other: Symmetry) -> Symmetry:
        """This mirror, and then another that turns other numbers."""
        turned = np.where(np.isnan(self.turned), other.turned[self.columns], self.turned)
        return Symmetry(other.columns[self.columns], turned, other.actions[self.actions])
