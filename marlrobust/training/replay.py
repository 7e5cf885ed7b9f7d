"""Replay of transitions: states stay compressed, the next state is a pointer to its own row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions, Floats, Ints
from marlrobust.games.symmetry import Symmetry
from marlrobust.sparse import SparseStates, compress
from marlrobust.training.learner import Transitions


class Batch(NamedTuple):
    """n transitions. states, next_states: n compressed rows of d; mean_actions: (n, a), of the step before,
    what the actor sees; new_mean_actions: (n, a), of the step itself, what the critic sees; actions: (n,);
    rewards: (n,); terminal: (n,) 1 where no value follows; taught: (n, a), what a teacher says of each action, or
    (n, 0)."""

    states: SparseStates
    next_states: SparseStates
    mean_actions: Tensor
    new_mean_actions: Tensor
    actions: Tensor
    rewards: Tensor
    terminal: Tensor
    taught: Tensor = torch.empty(0, 0)

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


@numba.njit(cache=True)
def _mirror(which: Any, offsets: Any, columns: Any, turned: Any, indices: Any, values: Any) -> None:
    for i in range(len(which)):
        g = which[i]
        for c in range(offsets[i], offsets[i + 1]):
            from_ = indices[c]
            indices[c] = columns[g, from_]
            if not np.isnan(turned[g, from_]):
                values[c] = turned[g, from_] - values[c]


class Mirrors:
    """The mirrors of a game as tables, the first of which leaves everything as it is."""

    def __init__(self, symmetries: Sequence[Symmetry], state_size: int, n_actions: int) -> None:
        same = Symmetry(np.arange(state_size), np.full(state_size, np.nan, np.float32), np.arange(n_actions))
        of_all = (same, *symmetries)
        self.columns = np.stack([s.columns for s in of_all])
        self.turned = np.stack([s.turned for s in of_all])
        self.actions = np.stack([s.actions for s in of_all])
        self.inverse = np.argsort(self.actions, 1)

    def __len__(self) -> int:
        return len(self.columns)

    def turn(self, batch: Batch, which: Ints) -> Batch:
        """Each of n transitions in mirror number `which` (n,); the batch's own states are written over."""
        for states in (batch.states, batch.next_states):
            arrays = (states.offsets.numpy(), self.columns, self.turned, states.indices.numpy(), states.values.numpy())
            _mirror(which, *arrays)
        return batch._replace(
            mean_actions=self.of_actions(batch.mean_actions, which),
            new_mean_actions=self.of_actions(batch.new_mean_actions, which),
            actions=torch.from_numpy(self.actions[which, batch.actions.numpy()]),
            taught=self.of_actions(batch.taught, which) if batch.taught.shape[1] else batch.taught,
        )

    def of_actions(self, values: Tensor, which: Ints) -> Tensor:
        """Values (n, a), one per action, in the same mirrors."""
        return values.gather(1, torch.from_numpy(self.inverse[which]))


class Replay:
    """Ring of `capacity` states of one role, each of which becomes a transition when its step's outcome is known."""

    ARRAYS = (
        "slots", "slot_values", "counts", "next", "mean_actions", "new_mean_actions", "actions", "own", "rewards",
        "terminal",
    )  # fmt: skip

    def __init__(
        self,
        capacity: int,
        state_size: int,
        n_actions: int,
        *,
        symmetries: Sequence[Symmetry] = (),
        taught: bool = False,
        width: int = 160,
    ) -> None:
        """symmetries: what is drawn is drawn as often in each of these mirrors as it was; taught: keep what a teacher
        says beside each state, which is for the learner to write; width: non-zeros kept per
        state, to begin with; it grows with the states that come."""
        if state_size > np.iinfo(np.uint16).max:
            raise UserError(
                f"states of {state_size} numbers are too long to learn from: the replay's columns are 16 bits"
            )
        self.capacity, self.state_size = capacity, state_size
        self.mirrors = Mirrors(symmetries, state_size, n_actions)
        self.slots = np.zeros((capacity, width), np.uint16)
        self.slot_values = np.zeros((capacity, width), np.float32)
        self.counts = np.zeros(capacity, np.int32)
        self.next = np.zeros(capacity, np.int64)
        self.mean_actions = np.zeros((capacity, n_actions), np.float32)
        self.new_mean_actions = np.zeros((capacity, n_actions), np.float32)
        self.actions = np.zeros(capacity, np.int64)
        self.own = np.zeros(capacity, np.bool_)
        self.rewards = np.zeros(capacity, np.float32)
        self.taught = np.zeros((capacity, n_actions if taught else 0), np.float32)
        self.arrays = (*self.ARRAYS, *(["taught"] if taught else []))
        self.terminal = np.zeros(capacity, np.float32)
        self.head = 0  # where the next state goes
        self.size = 0  # transitions that can be drawn, the newest of them just before `pending`
        self.pending = 0  # newest states whose outcome is not known yet
        self.owed = 0.0  # transitions that are still to be learned from

    def __len__(self) -> int:
        return self.size

    def see(self, decisions: Decisions) -> Ints:
        """Store what n agents see; see `add_states`."""
        states = decisions.states
        compressed = states if isinstance(states, SparseStates) else compress(states.numpy())
        return self.add_states(compressed, decisions.mean_actions.numpy())

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

    def add_outcomes(self, transitions: Transitions) -> None:
        """Complete the transitions of states that were stored."""
        t = transitions
        self.actions[t.at], self.rewards[t.at], self.new_mean_actions[t.at] = t.actions, t.rewards, t.mean_actions
        self.terminal[t.at], self.next[t.at], self.own[t.at] = t.terminal, t.following, t.own
        self.pending -= len(t.at)
        self.size = min(self.size + len(t.at), self.capacity - self.pending)

    def clear(self) -> None:
        """Forget all of it; the next state is stored at 0."""
        self.head = self.size = self.pending = 0
        self.owed = 0.0

    def sample(self, n: int, rng: np.random.Generator) -> Batch:
        """n transitions drawn evenly, with replacement, each in a mirror drawn evenly."""
        newest = self.head - self.pending
        batch = self.batch((newest - 1 - rng.integers(0, self.size, n)) % self.capacity)
        if len(self.mirrors) == 1:
            return batch
        return self.mirrors.turn(batch, rng.integers(0, len(self.mirrors), n))

    def batch(self, at: Ints) -> Batch:
        """The transitions at positions `at` (n,)."""
        columns = (self.mean_actions, self.new_mean_actions, self.actions, self.rewards, self.terminal, self.taught)
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
        numbers = torch.tensor([self.head, self.size, self.pending, self.owed], dtype=torch.float64)
        return {"numbers": numbers, **{k: torch.from_numpy(getattr(self, k)) for k in self.arrays}}

    def restore(self, state: dict[str, Tensor]) -> None:
        *counts, self.owed = state["numbers"].tolist()
        self.head, self.size, self.pending = map(int, counts)
        for k in self.arrays:
            setattr(self, k, state[k].numpy().copy())
