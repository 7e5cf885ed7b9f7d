"""Linear bounds backwards through both hidden layers (CROWN, Zhang et al. 2018).

A ReLU whose input may have either sign lies under the chord between its ends, and above any line through 0 of a slope
in [0, 1]: every such slope gives a bound that holds, the best of them (alpha-CROWN, Xu et al. 2021) the tightest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marlrobust.policies.boxes import Box


@dataclass(frozen=True)
class Lines:
    """What may be chosen in a bound, each (n, k, h) or what broadcasts to it: slopes in [0, 1] under the ReLUs of the
    first and the second layer, and multipliers, at least 0, of what splits say of them."""

    under1: Tensor
    under2: Tensor
    held1: Tensor | None = None
    held2: Tensor | None = None


def usual(low: Tensor, high: Tensor) -> Tensor:
    """The slope (n, 1, h), 0 or 1, that leaves less room between line and chord."""
    return (high > -low).to(low.dtype)[:, None]


def below(weight: Tensor, bias: Tensor, low: Tensor, high: Tensor, under: Tensor) -> tuple[Tensor, Tensor]:
    """Linear bounds from below, of weight (n, k, h) times relu(x) plus bias (n, k), for x in [low, high] (n, h);
    under: slopes where x may have either sign."""
    width = (high - low).clamp_min(1e-300)
    either = (low < 0) & (high > 0)
    chord = torch.where(either, high / width, (low >= 0).to(low.dtype))
    lift = torch.where(either, -chord * low, 0.0)
    slope = torch.where(either[:, None], under, chord[:, None])
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    bias = bias + (down @ lift[:, :, None])[..., 0]
    return up * slope + down * chord[:, None], bias


def through_first(box: Box, weight: Tensor, bias: Tensor, under: Tensor, held: Tensor | None = None) -> Tensor:
    """A lower bound (n, k) of weight (n, k, h) times the first layer after its ReLU, plus bias (n, k).

    held: what is taken from the weights of its inputs, where splits say which sign those have.
    """
    weight, bias = below(weight, bias, box.low1, box.high1, under)
    if held is not None:
        weight = weight - held
    spread = (weight @ box.layers.w1.t()).abs().sum(2)
    return (weight @ box.centre[:, :, None])[..., 0] + bias - box.epsilon * spread


def through_second(box: Box, weight: Tensor, bias: Tensor, lines: Lines) -> Tensor:
    """The same for the second layer after its ReLU."""
    weight, bias = below(weight, bias, box.low2, box.high2, lines.under2)
    if lines.held2 is not None:
        weight = weight - lines.held2
    bias = bias + (weight @ box.constant[:, :, None])[..., 0]
    return through_first(box, weight @ box.layers.w2, bias, lines.under1, lines.held1)


def tightened(box: Box) -> Box:
    """The box with the second layer's intervals tightened by linear bounds of the usual slopes."""
    n, h = box.low2.shape
    every, under = box.layers.w2.expand(n, h, -1), usual(box.low1, box.high1)
    low = through_first(box, every, box.constant, under)
    high = -through_first(box, -every, -box.constant, under)
    return replace(box, low2=torch.maximum(box.low2, low), high2=torch.minimum(box.high2, high))


def usual_lines(box: Box) -> Lines:
    """The usual slopes in both layers."""
    return Lines(usual(box.low1, box.high1), usual(box.low2, box.high2))
