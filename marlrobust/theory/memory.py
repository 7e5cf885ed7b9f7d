"""Policies that remember: a clock that the adversaries cannot touch, as states of a larger game."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marlrobust.theory.game import Numbers, Sasg


def with_clock(game: Sasg, after: Sequence[int]) -> Sasg:
    """The same game with states (s, c), numbered s C + c; after moment c comes moment `after[c]`, of C.

    The adversaries show any state that they could show before, and the true moment: a policy of this game is one of the
    old game that knows how long it has played.
    """
    moments, states = len(after), game.n_states
    move = np.eye(moments)[list(after)]  # (C, C)
    transitions = np.einsum("sjt,cd->scjtd", game.transitions, move)
    transitions = transitions.reshape(states * moments, -1, states * moments)
    rewards = np.repeat(game.rewards, moments, axis=1)
    shown = np.einsum("mst,cd->msctd", game.false_states, np.eye(moments, dtype=bool))
    false_states = shown.reshape(-1, states * moments, states * moments)
    return Sasg(transitions, rewards, game.largest, false_states, game.gamma)


def by_the_clock(actions: Sequence[Sequence[int]], states: int, n_actions: int) -> Numbers:
    """The policy (N, S C, A) that plays `actions` (N, C) by the moment alone, whatever it is shown."""
    table: Numbers = np.tile(np.eye(n_actions)[np.asarray(actions)], (1, states, 1))
    return table
