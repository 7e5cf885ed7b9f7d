"""States of grid games are nearly all zeros: rows that keep the rest.

A real battle state has about 100 non-zero numbers of 1217.
"""

# numba and llvmlite have few types.
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disable-error-code="call-arg,import-untyped"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

_NUMBERS = ir.VectorType(ir.FloatType(), 64)


@dataclass(frozen=True)
class SparseStates:
    """n states in compressed rows.

    indices: (nnz,) int32, the columns; values: (nnz,) float32; offsets: (n + 1,) int32, where each row
    starts in the two; size: d, the length of a state.
    """

    indices: Tensor
    values: Tensor
    offsets: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def to(self, device: torch.device | str) -> SparseStates:
        return SparseStates(self.indices.to(device), self.values.to(device), self.offsets.to(device), self.size)

    def first(self, n: int) -> SparseStates:
        """The first n of them."""
        end = int(self.offsets[n])
        return SparseStates(self.indices[:end], self.values[:end], self.offsets[: n + 1], self.size)

    def dense(self, rows: Tensor | None = None) -> Tensor:
        """The states at `rows` (m,) int64, or all of them, as (m, d) float32."""
        if self.values.device.type != "cpu":
            row = torch.repeat_interleave(torch.diff(self.offsets).long())
            full = torch.zeros(len(self), self.size, device=self.values.device)
            full[row, self.indices.long()] = self.values
            return full if rows is None else full[rows]
        rows = torch.arange(len(self)) if rows is None else rows
        states = np.empty((len(rows), self.size), np.float32)
        _scatter(self.indices.numpy(), self.values.numpy(), self.offsets.numpy(), rows.numpy(), states)
        return torch.from_numpy(states)


class StateBuffer:
    """Takes up to `rows` states of `size` numbers and keeps them compressed; used again and again."""

    def __init__(self, rows: int, size: int) -> None:
        # room for rows without a zero: what is never written takes no memory
        self._indices = np.empty(rows * size, np.int32)
        self._values = np.empty(rows * size, np.float32)
        self._offsets = np.zeros(rows + 1, np.int32)
        self._size, self._rows = size, 0

    def clear(self) -> None:
        self._rows = 0

    def append(
        self, left: npt.NDArray[np.float32], right: npt.NDArray[np.float32], keep: npt.NDArray[np.bool_]
    ) -> None:
        """Add the kept ones of n states, each a row of `left` and then one of `right`; keep: (n,) bool."""
        self._rows = _append(left, right, keep, self._indices, self._values, self._offsets, self._rows)

    def states(self) -> SparseStates:
        """What was added since `clear`; views, which the next `append` after a `clear` overwrites."""
        offsets = torch.from_numpy(self._offsets[: self._rows + 1])
        n = int(offsets[-1])
        indices, values = torch.from_numpy(self._indices[:n]), torch.from_numpy(self._values[:n])
        return SparseStates(indices, values, offsets, self._size)


def compress(states: npt.NDArray[np.float32]) -> SparseStates:
    """Compressed rows of `states` (n, d) float32, in row order."""
    n, d = states.shape
    buffer = StateBuffer(n, d)
    buffer.append(np.ascontiguousarray(states, np.float32), np.empty((n, 0), np.float32), np.ones(n, np.bool_))
    return buffer.states()


@numba.njit(cache=True)
def _append(left: Any, right: Any, keep: Any, indices: Any, values: Any, offsets: Any, rows: Any) -> Any:
    c = np.int64(offsets[rows])
    for i in range(len(keep)):
        if keep[i]:
            c = _scan(left[i], 0, indices, values, c)
            c = _scan(right[i], left.shape[1], indices, values, c)
            rows += 1
            offsets[rows] = c
    return rows


@numba.njit(cache=True)
def _scan(row: Any, first: Any, indices: Any, values: Any, c: Any) -> Any:
    """Write the non-zeros of `row`, and their columns counted from `first`, at c; returns the next c.

    64 numbers are compared at once, and only the non-zeros among them are visited. A plain loop that tests
    every number takes twice as long.
    """
    end = len(row) // 64 * 64
    for j in range(0, end, 64):
        bits: Any = _non_zeros(row, j)
        while bits:
            k = j + _lowest(bits)
            indices[c], values[c] = first + k, row[k]
            c += 1
            bits &= bits - np.uint64(1)
    for k in range(end, len(row)):  # written always, kept if it is not zero
        indices[c], values[c] = first + k, row[k]
        c += row[k] != 0
    return c


@intrinsic
def _non_zeros(typing: Any, row: Any, start: Any) -> Any:
    """Which of the 64 numbers of `row` from `start` on are not zero, as the bits of an integer."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        numbers = builder.load(builder.bitcast(place, _NUMBERS.as_pointer()))
        numbers.align = 4
        differ = builder.fcmp_unordered("!=", numbers, ir.Constant(_NUMBERS, [0.0] * 64))
        return builder.bitcast(differ, ir.IntType(64))

    return types.uint64(row, types.intp), emit


@intrinsic
def _lowest(typing: Any, bits: Any) -> Any:
    """The position of the lowest bit that is set."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), emit


@numba.njit(cache=True)
def _scatter(indices: Any, values: Any, offsets: Any, rows: Any, states: Any) -> None:
    for i in range(len(rows)):
        states[i] = 0
        for c in range(offsets[rows[i]], offsets[rows[i] + 1]):
            states[i, indices[c]] = values[c]
