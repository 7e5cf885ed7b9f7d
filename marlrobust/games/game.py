"""What every game shows and takes: R rounds of two teams, stepped together, flat and ragged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from marlrobust.states import SparseStates

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Team:
    """role: what its policy is for (two teams of one role share a policy); size: agents at the start;
    state_size: d, of which the first view_size numbers are the view, the others the agent's own features;
    n_actions: a."""

    role: str
    size: int
    state_size: int
    view_size: int
    n_actions: int


@dataclass(frozen=True)
class Observation:
    """What a team's n living agents see, over all rounds that go on, ordered by round, then agent.

    compressed: their n states, overwritten by the game's next step: copy what must last;
    mean_actions: (n, a) float32, the team's mean action of the last step, zeros at the first;
    round: (n,) int64 in [0, R); agent: (n,) int64 in [0, size).
    """

    compressed: SparseStates
    mean_actions: Floats
    round: Ints
    agent: Ints

    @property
    def states(self) -> Floats:
        """The same states as an array of its own, (n, d) float32."""
        states: Floats = self.compressed.dense().numpy()
        return states


class Outcome(NamedTuple):
    """What a step brought the n agents that acted, row by row as they were observed.

    rewards: (n,) float32; dead: (n,) bool, died in this step; mean_actions: (n, a), of this step.
    """

    rewards: Floats
    dead: Bools
    mean_actions: Floats


class Game(Protocol):
    """R parallel rounds. Team 0 is the one under test, team 1 its opponent."""

    rounds: int
    teams: tuple[Team, Team]
    active: Bools  # (R,) rounds that go on
    extinct: Bools  # (R,) rounds ended because a team died out, not by the step limit
    steps: Ints  # (R,) steps played
    alive: Ints  # (R, 2) living agents of each team

    def reset(self, seeds: Ints, swap: Bools) -> None:
        """Start all R rounds; seeds: (R,) int in [0, 2^31); swap: (R,) whether team 0 changes sides."""
        ...

    def observe(self, team: int) -> Observation:
        """The living agents' view, of rounds that go on."""
        ...

    def positions(self, team: int) -> Ints:
        """Where the agents just observed are, (n, 2) in cells."""
        ...

    def step(self, actions: tuple[Ints, Ints]) -> tuple[Outcome, Outcome]:
        """Play one action (n,) for every agent just observed, of both teams."""
        ...
