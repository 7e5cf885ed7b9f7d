"""The cross-entropy of raw logits to given actions, and its gradient, for ascents that ask for it many times."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

LANES = 16
"""Rows that a processor may take together; those left over are computed one by one."""


class CrossEntropySlope:
    """From logits (n, a) to the cross-entropy (n,) to the actions (n,), and its gradient (n, a): pi less one-hot.

    By the very functions that autograd would call, so that no bit differs. For few actions those are several times as
    quick down the columns of many rows as along each row; that is done where both agree to the last bit.
    """

    def __init__(self, actions: Tensor) -> None:
        self.own = actions[:, None]
        self.marks: Tensor | None = None  # the loss's gradient by the log-probabilities, (n, a)

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        n, a = logits.shape
        if self.marks is None:
            self.marks = torch.zeros_like(logits).scatter_(1, self.own, -1.0)
            whole = n - n % LANES if logits.device.type == "cpu" and logits.dtype == torch.float32 else 0
            self.whole = whole if whole and columns_agree(a) else 0
            self.marks_down = self.marks[: self.whole].t().contiguous()
        if not self.whole:
            return _along(logits, self.marks, self.own)
        down = F.log_softmax(logits[: self.whole].t().contiguous(), 0)
        slope = torch.ops.aten._log_softmax_backward_data(self.marks_down, down, 0, logits.dtype).t()
        value = -down.gather(0, self.own[: self.whole].t())[0]
        if self.whole == n:
            return value, slope.contiguous()
        rest = slice(self.whole, n)
        last_value, last_slope = _along(logits[rest], self.marks[rest], self.own[rest])
        return torch.cat([value, last_value]), torch.cat([slope, last_slope])


def _along(logits: Tensor, marks: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient, row by row."""
    log_pi = F.log_softmax(logits, 1)
    slope = torch.ops.aten._log_softmax_backward_data(marks, log_pi, 1, logits.dtype)
    return -log_pi.gather(1, own)[:, 0], slope


@cache
def columns_agree(a: int) -> bool:
    """Whether this processor finds the same bits down columns as along rows of a numbers; tried once."""
    logits = torch.randn(64 * LANES, a, generator=torch.Generator().manual_seed(0)) * 10
    marks = torch.nn.functional.one_hot(logits.argmin(1), a).float().neg()
    along, down = F.log_softmax(logits, 1), F.log_softmax(logits.t().contiguous(), 0)
    slopes = [
        torch.ops.aten._log_softmax_backward_data(marks, along, 1, logits.dtype),
        torch.ops.aten._log_softmax_backward_data(marks.t().contiguous(), down, 0, logits.dtype).t(),
    ]
    return torch.equal(along, down.t()) and torch.equal(*slopes)
