"""Float32 sums that never land farther from their start than exact ones: what makes epsilon a limit."""

# mypy: disallow-untyped-decorators=False, disable-error-code="call-arg"

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


def add_inwards(states: Tensor, delta: Tensor) -> Tensor:
    """states + delta (n, d) float32, rounded so that |result - states| <= |delta| exactly.

    A float32 sum may be half a unit in the last place too far: that is stepped back. Where delta is 0, or not
    a number, the state keeps its bits.
    """
    if states.device.type == "cpu" and states.dtype == delta.dtype == torch.float32:
        result = torch.empty_like(states, memory_format=torch.contiguous_format)
        _add_inwards(*(t.contiguous().view(-1).numpy() for t in (states, delta, result)))
        return result
    return _add_inwards_anywhere(states, delta)


def _add_inwards_anywhere(states: Tensor, delta: Tensor) -> Tensor:
    moved = states + delta
    over = (moved.double() - states.double()).abs() > delta.double().abs()
    moved = torch.where(over, torch.nextafter(moved, states), moved)
    return torch.where(delta.abs() > 0, moved, states)


def add_inwards_in_kind(states: Tensor, delta: Tensor) -> Tensor:
    """The same for `states` (n, d) of any float type and delta float64, in the type of `states`."""
    moved = (states.double() + delta).to(states.dtype)
    over = (moved.double() - states.double()).abs() > delta.abs()
    moved = torch.where(over, torch.nextafter(moved, states), moved)
    return torch.where(delta.abs() > 0, moved, states)


@numba.njit(cache=True, nogil=True)
def _add_inwards(states: Any, delta: Any, result: Any) -> None:
    """The same in one pass over (n * d,), quick where states are 0: there the sum is exact."""
    for i in range(len(states)):
        s, d = states[i], delta[i]
        if not abs(d) > 0:
            result[i] = s
        elif s == 0:
            result[i] = d
        else:
            moved = s + d
            if abs(np.float64(moved) - np.float64(s)) > abs(np.float64(d)):
                moved = np.nextafter(moved, s)
            result[i] = moved
