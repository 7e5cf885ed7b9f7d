"""The layer that reads states, dense or in compressed rows.

A real battle state has about 100 non-zero numbers of 1217. The first layer of a network then costs a sum of
100 rows of its weight instead of a dense product.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.sparse import SparseStates, compress

DENSE_ABOVE = 0.2  # share of non-zeros above which a dense product is the faster one


@numba.njit(cache=True, fastmath=True)
def _add_outer(indices: Any, values: Any, offsets: Any, grad: Any, total: Any) -> None:
    for i in range(len(offsets) - 1):
        row = grad[i]
        for c in range(offsets[i], offsets[i + 1]):
            x = values[c]
            into = total[indices[c]]
            for k in range(len(row)):
                into[k] += x * row[k]


def compress_if_sparse(states: Tensor) -> Tensor | SparseStates:
    """`states` (n, d) in whichever form makes the first layer cheaper; dense where it is not on the CPU."""
    if states.device.type != "cpu" or len(states) == 0:
        return states
    array = states.detach().numpy()
    sample = array[:: max(1, len(array) // 32)]
    if np.count_nonzero(sample) > DENSE_ABOVE * sample.size:
        return states
    return compress(array)


class _SparseLinear(torch.autograd.Function):
    """y = S W for compressed rows S; the gradient of W is S^T dy."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, indices: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(indices, values, offsets)
        ctx.size = weight.shape[0]
        return F.embedding_bag(
            indices, weight, offsets, mode="sum", per_sample_weights=values, include_last_offset=True
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        indices, values, offsets = ctx.saved_tensors
        total = torch.zeros(ctx.size, grad.shape[1], device=grad.device)
        if grad.device.type == "cpu":
            arrays = (t.numpy() for t in (indices, values, offsets, grad.contiguous(), total))
            _add_outer(*arrays)
        else:
            row = torch.repeat_interleave(torch.diff(offsets).long())
            total.index_add_(0, indices.long(), values[:, None] * grad[row])
        return total, None, None, None


def linear_of_states(states: Tensor | SparseStates, weight: Tensor, bias: Tensor) -> Tensor:
    """(n, h) from states (n, d), dense or compressed, weight (d, h) and bias (h,)."""
    if isinstance(states, SparseStates):
        y: Tensor = _SparseLinear.apply(weight, states.indices, states.values, states.offsets)  # type: ignore[no-untyped-call]
        return y + bias
    return torch.addmm(bias, states, weight)


class StateLayer(nn.Module):
    """Linear layer from states (n, d), dense or compressed, to (n, h).

    `weight` is (d, h), the transpose of `nn.Linear`'s, so that a feature's weights are one stretch of memory.
    """

    def __init__(self, state_size: int, hidden: int) -> None:
        super().__init__()
        linear = nn.Linear(state_size, hidden)
        self.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        self.bias = nn.Parameter(linear.bias.detach())

    def forward(self, states: Tensor | SparseStates) -> Tensor:
        return linear_of_states(states, self.weight, self.bias)
