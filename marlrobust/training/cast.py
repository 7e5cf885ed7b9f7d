"""Who learns and who plays: what a training loop is given, and need not know more about."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from marlrobust.games.game import Bools, Decisions, Game, Ints
from marlrobust.policies.recurrent import Trainable
from marlrobust.training.learner import Learner, Phase
from marlrobust.training.settings import LearningSettings
from marlrobust.training.state import below


@dataclass
class Student:
    """One policy that learns: its learner, and its policy as it was at M_norm (`past`), and long before (`young`)."""

    learner: Learner
    past: Trainable
    young: Trainable

    @classmethod
    def of(cls, learner: Learner) -> Student:
        """One that has seen nothing."""
        return cls(learner, copy.deepcopy(learner.policy), copy.deepcopy(learner.policy))

    def state(self) -> dict[str, Tensor]:
        """All of it, to be stored; `restore` takes it back."""
        parts = {
            "learner": self.learner.state(),
            "past": self.past.state_dict(),
            "young": self.young.state_dict(),
        }
        return {f"{part}/{k}": v for part, of in parts.items() for k, v in of.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.learner.restore(below("learner/", state))
        self.past.load_state_dict(below("past/", state))
        self.young.load_state_dict(below("young/", state))


class Acted(NamedTuple):
    """actions: (n,) what the agents did; taught: (n,) what the student learns that they did; own: (n,) whether its own
    policy chose that."""

    actions: Ints
    taught: Ints
    own: Bools


class Player(Protocol):
    """Plays one group in one batch of rounds.

    teaches: who learns from what the group lives through, or nobody; sign: of its rewards, as that student gets them.
    """

    @property
    def teaches(self) -> Student | None: ...

    @property
    def sign(self) -> float: ...

    def act(self, decisions: Decisions, noise: np.random.Generator) -> Acted:
        """What the n agents do. noise: the stream that all groups draw from, in their order."""
        ...


Shown = Callable[[Decisions], Decisions]
"""From what a group's agents would see to what they are shown."""


class Matchup(NamedTuple):
    """One batch of rounds. players: of each group of the game; swapped: (R,) rounds in which the teams change sides;
    phase: of the updates; reaches_norm, reaches_young: whether M_norm is reached with it, or where the students' young
    policies are kept; shown: an adversary's work, by the number
    of the group that it attacks."""

    players: tuple[Player, ...]
    swapped: Bools
    phase: Phase
    reaches_norm: bool = False
    reaches_young: bool = False
    shown: Mapping[int, Shown] = {}


class Cast(Protocol):
    """All who take part in a training.

    students: by the role of their policies; method, against, critic: as the policies' cards say; total_rounds: of the
    whole training, whole batches; start: name of what other trainings have in common with this one up to M_norm, or "".
    """

    @property
    def settings(self) -> LearningSettings: ...

    game: Game
    students: dict[str, Student]
    method: str
    against: str
    critic: bool
    total_rounds: int
    start: str

    def matchup(self, iteration: int) -> Matchup:
        """The batch of rounds number `iteration`, from 0."""
        ...


def whole_batches(rounds: int, size: int) -> int:
    """The least number of rounds, at least `rounds`, that batches of `size` make."""
    return -(-rounds // size) * size


def falling(first: float, last: float, m: int, rounds: int) -> float:
    """A weight at round m of `rounds`: it falls geometrically from `first` to `last` over half of them."""
    fallen = min(2 * m / rounds, 1)
    return float(first ** (1 - fallen) * last**fallen)
