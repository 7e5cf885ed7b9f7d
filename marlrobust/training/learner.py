"""What a training asks of whatever learns: it is shown what the agents live through, and makes its policy better."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from marlrobust.defenses.methods import Method
from marlrobust.games.game import Bools, Decisions, Floats, Group, Ints
from marlrobust.parameters import Parameters
from marlrobust.policies.recurrent import Trainable

if TYPE_CHECKING:
    from marlrobust.training.settings import TrainSettings

METRICS = ("critic_loss", "actor_loss", "action_loss", "entropy", "flip_rate", "action_share")
"""What every update tells, as means over its batch."""


@dataclass(frozen=True)
class Phase:
    """What an update depends on beside its batch: the schedules' values at this round.

    mu: weight of the action loss; epsilon: l_inf radius of its attack; entropy: weight of the bonus; replay_ratio:
    transitions learned from per transition played, where learning is from replay.
    """

    mu: float
    epsilon: float
    entropy: float
    learning_rate: float
    replay_ratio: float = 1.0


class Chance(NamedTuple):
    """The random numbers of one batch of rounds. draws: of transitions; attack: of the action loss's attack."""

    draws: np.random.Generator
    attack: torch.Generator


class Transitions(NamedTuple):
    """What a step brought n agents of one group, each (n,) but mean_actions (n, a).

    at: where the learner keeps their states, as `see` said; own: whether the learner's own policy chose the action;
    mean_actions: of this step; terminal: whether no value follows; following: where their next states are, or `at`
    where none is shown.
    """

    at: Ints
    actions: Ints
    own: Bools
    rewards: Floats
    mean_actions: Floats
    terminal: Bools
    following: Ints


class Learner(Protocol):
    """Turns transitions into a better policy.

    It learns after each step of the R parallel rounds, or after the whole batch of them. Between batches nothing is
    under way: `state` is all that it needs to go on to the same weights.
    """

    @property
    def policy(self) -> Trainable:
        """What learns."""
        ...

    def see(self, decisions: Decisions) -> Ints:
        """Keep what n agents see; returns where, (n,)."""
        ...

    def remember(self, transitions: Transitions, phase: Phase) -> None:
        """Keep what came of what they saw."""
        ...

    def after_step(self, phase: Phase, chance: Chance) -> list[dict[str, float]]:
        """The updates that are due after a step of all groups; METRICS of each."""
        ...

    def after_batch(self, phase: Phase, chance: Chance) -> list[dict[str, float]]:
        """The updates that are due when all rounds of the batch have ended; METRICS of each."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that is to be stored; `restore` takes it back."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Algorithm(Parameters):
    """A way to learn, as it can be named and set: a subclass's fields are its parameters."""

    summary: ClassVar[str] = ""
    """One line for `marlrobust list learners`."""

    prefix: ClassVar[str] = ""
    """Of the names of what it trains: `ippo-` makes `ippo-romfac` of the method `romfac`."""

    @abstractmethod
    def learner(self, group: Group, method: Method, settings: TrainSettings) -> Learner:
        """One for the group's role, with random weights from torch's generator."""
