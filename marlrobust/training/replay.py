"""Replay of transitions: states stay compressed, the next state is a pointer to its own row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Bools, Floats, Ints
from marlrobust.sparse import SparseStates


class Batch(NamedTuple):
    """n transitions. states, next_states: n compressed rows of d; mean_actions: (n, a), of the step before,
    what the actor sees; new_mean_actions: (n, a), of the step itself, what the critic sees; actions: (n,);
    rewards: (n,); terminal: (n,) 1 where no value follows."""

    states: SparseStates
    next_states: SparseStates
    mean_actions: Tensor
    new_mean_actions: Tensor
    actions: Tensor
    rewards: Tensor
    terminal: Tensor

    def to(self, device: torch.device) -> Batch:
        return self if device.type == "cpu" else Batch._make(part.to(device) for part in self)


@numba.njit(cache=True)
def _store(indices: Any, values: Any, offsets: Any, at: Any, slots: Any, slot_values: Any, counts: Any) -> None:
    for i in range(len(at)):
        n = offsets[i + 1] - offsets[i]
        counts[at[i]] = n
        for c in range(n):
            slots[at[i], c] = indices[offsets[i] + c]
            slot_values[at[i], c] = values[offsets[i] + c]


@numba.njit(cache=True)
def _gather(at: Any, slots: Any, slot_values: Any, offsets: Any, indices: Any, values: Any) -> None:
    for i in range(len(at)):
        start = offsets[i]
        for c in range(offsets[i + 1] - start):
            indices[start + c] = slots[at[i], c]
            values[start + c] = slot_values[at[i], c]


class Replay:
    """Ring of `capacity` states of one role, each of which becomes a transition when its step's outcome is known."""

    ARRAYS = (
        "slots", "slot_values", "counts", "next", "mean_actions", "new_mean_actions", "actions", "rewards", "terminal"
    )  # fmt: skip

    def __init__(self, capacity: int, state_size: int, n_actions: int, *, width: int = 160) -> None:
        """width: non-zeros kept a state, to begin with; it grows with the states that come."""
        if state_size > np.iinfo(np.uint16).max:
            raise UserError(
                f"states of {state_size} numbers are too long to learn from: the replay's columns are 16 bits"
            )
        self.capacity, self.state_size = capacity, state_size
        self.slots = np.zeros((capacity, width), np.uint16)
        self.slot_values = np.zeros((capacity, width), np.float32)
        self.counts = np.zeros(capacity, np.int32)
        self.next = np.zeros(capacity, np.int64)
        self.mean_actions = np.zeros((capacity, n_actions), np.float32)
        self.new_mean_actions = np.zeros((capacity, n_actions), np.float32)
        self.actions = np.zeros(capacity, np.int64)
        self.rewards = np.zeros(capacity, np.float32)
        self.terminal = np.zeros(capacity, np.float32)
        self.head = 0  # where the next state goes
        self.size = 0  # transitions that can be drawn, the newest of them just before `pending`
        self.pending = 0  # newest states whose outcome is not known yet

    def __len__(self) -> int:
        return self.size

    def add_states(self, states: SparseStates, mean_actions: Floats) -> Ints:
        """Store n states and what their actor saw; returns their positions (n,). UserError where there are too many."""
        n = len(states)
        if n > self.capacity:
            raise UserError(
                f"a replay of {self.capacity} cannot hold the {n} states of one step: give a larger replay_size, or "
                "fewer parallel_rounds"
            )
        at = (self.head + np.arange(n)) % self.capacity
        most = int(torch.diff(states.offsets).max()) if n else 0
        if most > self.slots.shape[1]:
            more = ((0, 0), (0, 2 * most - self.slots.shape[1]))
            self.slots, self.slot_values = np.pad(self.slots, more), np.pad(self.slot_values, more)
        indices, values, offsets = states.indices.numpy(), states.values.numpy(), states.offsets.numpy()
        _store(indices, values, offsets, at, self.slots, self.slot_values, self.counts)
        self.mean_actions[at] = mean_actions
        self.head = (self.head + n) % self.capacity
        self.pending += n
        self.size = min(self.size, self.capacity - self.pending)
        return at

    def add_outcomes(
        self,
        at: Ints,
        actions: Ints,
        rewards: Floats,
        new_mean_actions: Floats,
        terminal: Bools,
        following: Ints,
    ) -> None:
        """Complete the transitions at positions `at` (n,); following: (n,) the next state's position.

        Where a round was cut at its step limit no next state is shown: give the state's own position.
        """
        self.actions[at], self.rewards[at], self.new_mean_actions[at] = actions, rewards, new_mean_actions
        self.terminal[at], self.next[at] = terminal, following
        self.pending -= len(at)
        self.size = min(self.size + len(at), self.capacity - self.pending)

    def sample(self, n: int, rng: np.random.Generator) -> Batch:
        """n transitions drawn evenly, with replacement."""
        newest = self.head - self.pending
        at = (newest - 1 - rng.integers(0, self.size, n)) % self.capacity
        columns = (self.mean_actions, self.new_mean_actions, self.actions, self.rewards, self.terminal)
        tensors = (torch.from_numpy(column[at]) for column in columns)
        return Batch(self._states(at), self._states(self.next[at]), *tensors)

    def _states(self, at: Ints) -> SparseStates:
        offsets = np.zeros(len(at) + 1, np.int32)
        np.cumsum(self.counts[at], out=offsets[1:])
        indices, values = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
        _gather(at, self.slots, self.slot_values, offsets, indices, values)
        tensors = torch.from_numpy(indices), torch.from_numpy(values), torch.from_numpy(offsets)
        return SparseStates(*tensors, self.state_size)

    def state(self) -> dict[str, Tensor]:
        """All of it, to be stored; `restore` takes it back."""
        numbers = torch.tensor([self.head, self.size, self.pending])
        return {"numbers": numbers, **{k: torch.from_numpy(getattr(self, k)) for k in self.ARRAYS}}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.head, self.size, self.pending = state["numbers"].tolist()
        for k in self.ARRAYS:
            setattr(self, k, state[k].numpy().copy())
