"""Actions from logits."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_actions(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Actions (n,) int64 from logits (n, a) by the inverse distribution at uniforms (n,) in [0, 1).

    One number an agent decides its action: equal logits and numbers give equal actions, whoever else is there.
    """
    cumulative = torch.softmax(logits, 1).cumsum_(1)
    thresholds = (uniforms * cumulative[:, -1])[:, None]
    actions: Tensor = torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
    return actions.clamp_(max=logits.shape[1] - 1)
