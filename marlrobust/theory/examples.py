"""Named games: those that other papers solve, and those that show where a theorem ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marlrobust.theory.game import Numbers, Sasg, anything, pure


@dataclass(frozen=True, eq=False)
class Example:
    """about: what the game is for; states, actions: their names; policies: name to table (N, S, A)."""

    about: str
    game: Sasg
    states: tuple[str, ...]
    actions: tuple[str, ...]
    policies: Mapping[str, Numbers]


def deterministic(next_state: npt.ArrayLike) -> Numbers:
    """Transitions (..., S) from the next state of each state and joint action, (S, A, ..., A)."""
    to = np.asarray(next_state)
    table: Numbers = np.eye(len(to))[to]
    return table


def three_states() -> Example:
    """Zhang et al. 2020, Appendix A: one agent, three states, any of which may be shown."""
    game = Sasg.of(deterministic([[0, 1], [2, 1], [1, 0]]), [[[0, 1], [1, 0], [1, 0]]], anything(1, 3), 0.99)
    chance = {"A1 with 0.5": 0.5, "A1 with 0.9": 0.9}
    constant = {name: np.tile([p, 1 - p], (1, 3, 1)) for name, p in chance.items()}
    policies = {"optimal (A2, A1, A1)": pure([[1, 0, 0]], 2), "always A1": pure([[0, 0, 0]], 2), **constant}
    about = "one agent, three states, each of which may be shown as any other (Zhang et al. 2020)"
    return Example(about, game, ("S1", "S2", "S3"), ("A1", "A2"), policies)


def same_or_different() -> Example:
    """He et al. 2023: two agents earn 1 for equal actions in one state and for different ones in the other."""
    equal, unequal = np.eye(2), 1 - np.eye(2)
    reward = np.stack([equal, unequal])
    next_state = np.stack([equal, 1 - unequal]).astype(int)
    game = Sasg.of(deterministic(next_state), np.stack([reward, reward]), anything(2, 2), 0.99)
    policies = {"equilibrium": pure([[0, 0], [0, 1]], 2), "both mix": np.full((2, 2, 2), 0.5)}
    about = "two agents, rewarded for equal actions in one state and different ones in the other (He et al. 2023)"
    return Example(about, game, ("same", "different"), ("0", "1"), policies)


def two_optima() -> Example:
    """One reward, two attacked agents: to fool neither and to fool both are each an answer to themselves."""
    reward = [[[1, 2], [2, 0]], [[0, 0], [0, 0]]]
    stay = deterministic(np.broadcast_to(np.arange(2)[:, None, None], (2, 2, 2)))
    game = Sasg.of(stay, [reward, reward], anything(2, 2), 0.9)
    about = "one reward; what each adversary does against the other has two fixed points"
    return Example(about, game, ("here", "elsewhere"), ("0", "1"), {"act as shown": pure([[0, 1], [0, 1]], 2)})


def pennies() -> Example:
    """Opposed rewards: each adversary runs from what the other does, and no pair of perturbations stays."""
    reward = np.array([[[1, -1], [-1, 1]], [[0, 0], [0, 0]]])
    stay = deterministic(np.broadcast_to(np.arange(2)[:, None, None], (2, 2, 2)))
    game = Sasg.of(stay, np.stack([reward, -reward]), anything(2, 2), 0.9)
    about = "opposed rewards; the adversaries play matching pennies, and no deterministic v* exists"
    return Example(about, game, ("here", "elsewhere"), ("0", "1"), {"act as shown": pure([[0, 1], [0, 1]], 2)})


def leak(shift: float, gamma: float = 0.5) -> Example:
    """Where Theorem 4 ends: a team that stays in the good state, unless it is shown the bad one.

    Then it leaves with probability `shift`, for ever, and pays for leaving. The total variation is `shift`, and the
    loss 2 shift / ((1 - gamma) (1 - gamma + gamma shift)): for small shifts nearly all that can be lost, see
    `bound.sound_factor`.
    """
    game = Sasg.of(deterministic([[0, 1], [1, 1]]), [[[1, -1], [-1, -1]]], anything(1, 2), gamma)
    policy = np.array([[[1, 0], [1 - shift, shift]]])
    about = "one agent that leaks out of the good state; its loss is more than the printed bound"
    return Example(about, game, ("good", "bad"), ("stay", "leave"), {"stay": policy})


def guess() -> Example:
    """The smallest game without an equilibrium: the right action is the state's, and the state may be anything."""
    game = Sasg.of(deterministic([[0, 0], [1, 1]]), [[[1, 0], [0, 1]]], anything(1, 2), 0.5)
    about = "one agent, two states that never change; the right action is the state's own"
    return Example(about, game, ("left", "right"), ("0", "1"), {"always 0": pure([[0, 0]], 2)})


def door() -> Example:
    """No equilibrium with two agents: both must push to enter; inside, agent 0 works and agent 1 must not push."""
    next_state = [[[0, 0], [0, 1]], [[1, 1], [1, 0]]]
    reward = [[[0, 0], [0, 0]], [[0, 0], [1, 1]]]
    game = Sasg.of(deterministic(next_state), [reward, reward], anything(2, 2), 0.5)
    about = "two agents with one reward; both push to enter, then agent 1 must let go while agent 0 earns"
    policies = {"as in the clean game": pure([[1, 1], [1, 0]], 2), "both always push": pure([[1, 1], [1, 1]], 2)}
    return Example(about, game, ("outside", "inside"), ("rest", "push"), policies)


EXAMPLES: Mapping[str, Example] = {
    "three_states": three_states(),
    "same_or_different": same_or_different(),
    "two_optima": two_optima(),
    "pennies": pennies(),
    "leak": leak(0.02),
    "guess": guess(),
    "door": door(),
}
"""Every named game."""
