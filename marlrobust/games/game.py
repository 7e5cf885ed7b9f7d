"""What every game shows and takes: R rounds of groups of agents, stepped together, flat and ragged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.sparse import SparseStates

if TYPE_CHECKING:
    from gymnasium.spaces import Box

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Actions = npt.NDArray[Any]
"""Of n agents: numbers (n,) int64, or where actions are continuous vectors (n, k) float32."""


@dataclass(frozen=True)
class Group:
    """Agents of one kind. role: what their policy is for (two groups of one role share it); size: agents at the start;
    state_size: d, of which the first view_size numbers are the view, the others the agent's own features;
    n_actions: a; team: number of the team to which they belong; shape: of an observation before it was made flat, d
    numbers in all; None where it always was; box: where continuous actions lie, of n_actions numbers each; None where
    actions are discrete; masked: whether decisions carry a mask of the legal actions; low, high: limits of the numbers
    of a state, where the game gives any: one for all, or d of them, infinite where there is none."""

    role: str
    size: int
    state_size: int
    view_size: int
    n_actions: int
    team: int = 0
    shape: tuple[int, ...] | None = None
    box: Box | None = None
    masked: bool = False
    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None


def refuse_other_actions(group: Group, what: str) -> None:
    """Raises UserError where the group's agents do something else than choose between actions that are all legal."""
    if group.box is not None or group.masked:
        does = "has actions that are not legal" if group.box is None else f"acts by vectors of numbers, {group.box}"
        raise UserError(
            f"{what} for agents that choose between actions, all of them legal; the role '{group.role}' here {does}"
        )


def can_swap(groups: Sequence[Group]) -> bool:
    """Whether there are two teams, of groups of the same roles and sizes in the same order: they can change sides."""
    one, other = ([(g.role, g.size) for g in groups if g.team == team] for team in (0, 1))
    return one == other and len(one) + len(other) == len(groups)


@dataclass(frozen=True, eq=False)
class Decisions:
    """n living agents of a group about to act, over all rounds that go on, ordered by round, then agent.

    What goes through victims, attack and policy. states: (n, d) float32, dense or compressed; those of a game are
    overwritten by its next step: copy what must last. mean_actions: (n, a) float32, the group's mean action of
    the last step, zeros at the first. round: (n,) in [0, R), agent: (n,) in [0, size), step: (n,) from 0, all int64:
    which agent's decision each row is. group: the number of the group in its game. memory: what the agents remember,
    a tensor (n, ...) or a tuple of such, for a policy that has a memory; else None. mask: (n, a) bool, True for the
    actions that are legal; None where all are.
    """

    states: Tensor | SparseStates
    mean_actions: Tensor
    round: Ints
    agent: Ints
    step: Ints
    group: int = 0
    memory: Any = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, states: Tensor | SparseStates, mean_actions: Tensor | None = None) -> Decisions:
        """Decisions of n agents of one round, from states (n, d) float32 alone; mean actions are (n, 0) if not given.

        Raises UserError for states of another type or shape.
        """
        if isinstance(states, SparseStates):
            numbers = states.values
        elif isinstance(states, Tensor) and states.dtype == torch.float32 and states.dim() == 2:
            numbers = states
        else:
            found = f"{states.dtype}, {tuple(states.shape)}" if isinstance(states, Tensor) else type(states).__name__
            raise UserError(f"states are a float32 tensor of shape (n, d), not {found}: try states.float()")
        n = len(states)
        zeros = np.zeros(n, np.int64)
        mean_actions = numbers.new_zeros(n, 0) if mean_actions is None else mean_actions
        return cls(states, mean_actions, zeros, np.arange(n), zeros)

    def __len__(self) -> int:
        return len(self.round)

    @property
    def dense(self) -> Tensor:
        """The states as a tensor (n, d) float32; of compressed ones a copy."""
        return self.states.dense() if isinstance(self.states, SparseStates) else self.states

    def take(self, rows: Tensor | slice) -> Decisions:
        """Some of the rows, (m,) int64 or bool or a slice; their states are dense."""
        if isinstance(rows, slice):
            at: Ints | slice = rows
            states = self.dense[rows]
        else:
            at = rows.cpu().numpy()
            if isinstance(self.states, SparseStates):
                chosen = torch.from_numpy(np.flatnonzero(at)) if rows.dtype == torch.bool else rows.cpu()
                states = self.states.dense(chosen)
            else:
                states = self.states[rows.to(self.states.device)]
        return replace(
            self,
            states=states,
            mean_actions=of_rows(self.mean_actions, rows),
            round=self.round[at],
            agent=self.agent[at],
            step=self.step[at],
            memory=of_rows(self.memory, rows),
            mask=of_rows(self.mask, rows),
        )

    @classmethod
    def joined(cls, parts: Sequence[Decisions]) -> Decisions:
        """The rows of one or more parts of one group, in their order; their states are dense."""
        round_, agent, step = (
            np.concatenate(p) for p in zip(*((d.round, d.agent, d.step) for d in parts), strict=True)
        )
        states, means = torch.cat([d.dense for d in parts]), torch.cat([d.mean_actions for d in parts])
        memory, mask = (_joined([getattr(d, name) for d in parts]) for name in ("memory", "mask"))
        return cls(states, means, round_, agent, step, parts[0].group, memory, mask)

    def showing(self, states: Tensor | SparseStates) -> Decisions:
        """The same agents, shown other states (n, d)."""
        shown = object.__new__(Decisions)  # as `replace` does, which takes five times as long: attacks ask at each step
        vars(shown).update(vars(self), states=states)
        return shown

    def to(self, device: torch.device | str) -> Decisions:
        """The same with its tensors on `device`."""
        if torch.device(device) == self.mean_actions.device:
            return self
        mask = None if self.mask is None else self.mask.to(device)
        return replace(self, states=self.states.to(device), mean_actions=self.mean_actions.to(device), mask=mask)


def of_rows(memory: Any, rows: Tensor | slice) -> Any:
    """Some of the rows of a tensor, or of each of a tuple of tensors; of None, None."""
    if memory is None:
        return None
    if isinstance(memory, tuple):
        return tuple(of_rows(part, rows) for part in memory)
    return memory[rows if isinstance(rows, slice) else rows.to(memory.device)]


def _joined(parts: Sequence[Any]) -> Any:
    """Memories, or masks, of several parts as one."""
    if parts[0] is None:
        return None
    if isinstance(parts[0], tuple):
        return tuple(_joined(same) for same in zip(*parts, strict=True))
    return torch.cat(list(parts))


class Outcome(NamedTuple):
    """What a step brought the n agents that acted, row by row as they were observed.

    rewards: (n,) float32; dead: (n,) bool, died in this step; mean_actions: (n, a), of this step: the mean of the
    group's actions, where those are numbers the share that each has.
    """

    rewards: Floats
    dead: Bools
    mean_actions: Floats


class Game(Protocol):
    """R parallel rounds of G groups of agents, each in a team; teams are numbered from 0."""

    rounds: int
    """R, the rounds that are played side by side."""

    groups: tuple[Group, ...]
    """The G groups, in an order that stays."""

    active: Bools
    """(R,) rounds that go on."""

    ended: Bools
    """(R,) rounds ended by the game itself, not by the step limit."""

    steps: Ints
    """(R,) steps played."""

    alive: Ints
    """(R, G) living agents of each group."""

    swapped: Bools
    """(R,) whether the two teams play each other's side."""

    def reset(self, seeds: Ints, swap: Bools) -> None:
        """Start all R rounds; seeds: (R,) int in [0, 2^31); swap: (R,) whether the teams change sides, which they
        do where `can_swap` says so alone."""
        ...

    def observe(self, group: int) -> Decisions:
        """The group's living agents of rounds that go on, about to act."""
        ...

    def positions(self, group: int) -> Ints:
        """Where the agents just observed are, (n, 2) in cells; zeros in a game without places."""
        ...

    def step(self, actions: Sequence[Actions]) -> Sequence[Outcome]:
        """Play one action for every agent just observed, of each group; an outcome for each group. actions: numbers
        (n,), or vectors (n, k) inside the group's box."""
        ...

    def results(self, team: int) -> Mapping[str, npt.NDArray[np.generic]]:
        """What the game measures of each round for a team, beside its reward: column of a row (`rows.Round`) to (R,)
        values."""
        ...
