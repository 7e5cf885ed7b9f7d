"""An l_inf box of states as a network's hidden layers see it, in float64, with float32's rounding counted.

What is proven here holds for the network as it is computed in float32, in whatever order its sums are taken:
`Box.rounding` bounds how far that may be from exact arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from marlrobust.policies.layers import TwoHidden
from marlrobust.policies.state_layer import compress_if_sparse, linear_of_states
from marlrobust.sparse import SparseStates

UNIT = 2.0**-24  # of float32's rounding


class Layers:
    """The network's weights in float64, and the sizes of them."""

    def __init__(self, network: TwoHidden) -> None:
        self.w1, self.b1 = network.first.double(), network.first_bias.double()  # (d, h)
        self.w2, self.wm = network.second.double(), network.of_mean.double()  # of the state's part, the mean action's
        self.b2, self.w3, self.b3 = (x.double() for x in (network.second_bias, network.out, network.out_bias))
        self.mean: nn.Linear | None = network.mean
        self.sizes1, self.spread1 = self.w1.abs(), self.w1.abs().sum(0)

    def margins(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """z_a* - z_a as weights (n, a, h) of the second layer, and biases (n, a)."""
        return self.w3[actions][:, None] - self.w3, self.b3[actions][:, None] - self.b3


@dataclass(frozen=True)
class Box:
    """The states within epsilon of n states, and intervals of both hidden layers before their ReLU.

    centre: (n, h) of the first layer; low1, high1, low2, high2: (n, h), of the layers; constant: (n, h), what the
    second layer gets beside the first; rounding: (n, a), how far float32 logits may be from exact ones.
    """

    layers: Layers
    epsilon: float
    centre: Tensor
    low1: Tensor
    high1: Tensor
    constant: Tensor
    low2: Tensor
    high2: Tensor
    rounding: Tensor

    @classmethod
    def around(cls, layers: Layers, states: Tensor, mean_actions: Tensor, epsilon: float) -> Box:
        """The box of radius `epsilon` around states (n, d) float32; mean_actions: (n, a), or (n, 0)."""
        known = _in_double(compress_if_sparse(states))
        centre = linear_of_states(known, layers.w1, layers.b1)
        radius = epsilon * layers.spread1
        low1, high1 = centre - radius, centre + radius
        means = mean_actions.double()
        embedded = torch.zeros(len(states), 0, dtype=torch.float64, device=states.device)
        if layers.mean is not None:
            embedded = (means @ layers.mean.weight.double().t() + layers.mean.bias.double()).relu()
        constant = embedded @ layers.wm.t() + layers.b2
        low2, high2 = interval(low1.relu(), high1.relu(), layers.w2, constant)
        box = cls(layers, epsilon, centre, low1, high1, constant, low2, high2, rounding=centre)
        return replace(box, rounding=box._rounding(known, means, embedded))

    def only(self, rows: Tensor) -> Box:
        """The same for some of the states."""
        return Box(self.layers, self.epsilon, *(part[rows] for part in self._tensors))

    def joined(self, other: Box) -> Box:
        """The states of both."""
        pairs = zip(self._tensors, other._tensors, strict=True)
        return Box(self.layers, self.epsilon, *(torch.cat(pair) for pair in pairs))

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self.centre, self.low1, self.high1, self.constant, self.low2, self.high2, self.rounding

    def _rounding(self, states: Tensor | SparseStates, mean_actions: Tensor, embedded: Tensor) -> Tensor:
        """How far (n, a) float32 logits may be from exact ones, anywhere in the box.

        A sum of k products, in any order, is off by at most k u / (1 - k u) times the sum of their sizes (Higham 2002,
        section 3.1); what a layer is off by reaches the next through the sizes of its weights.
        """
        layers = self.layers
        sizes = replace(states, values=states.values.abs()) if isinstance(states, SparseStates) else states.abs()
        off = linear_of_states(sizes, layers.sizes1, self.epsilon * layers.spread1 + layers.b1.abs())
        off = _gamma(len(layers.w1) + 1) * off
        above = torch.maximum(self.low1.abs(), self.high1.abs()) + off
        off = off @ layers.w2.t().abs()
        if layers.mean is not None:
            weight, bias = layers.mean.weight.double().abs(), layers.mean.bias.double().abs()
            off_mean = _gamma(weight.shape[1] + 1) * (mean_actions.abs() @ weight.t() + bias)
            off += off_mean @ layers.wm.t().abs()
            embedded = embedded + off_mean
        sums = above @ layers.w2.t().abs() + embedded @ layers.wm.t().abs() + layers.b2.abs()
        off += _gamma(layers.w2.shape[1] + layers.wm.shape[1] + 1) * sums
        above = torch.maximum(self.low2.abs(), self.high2.abs()) + off
        weight = layers.w3.t().abs()
        return off @ weight + _gamma(len(weight) + 1) * (above @ weight + layers.b3.abs())

    def by_intervals(self, actions: Tensor) -> Tensor:
        """A lower bound (n,) of the least margin of `actions` (n,), from the second layer's intervals."""
        low, high = self.low2.relu(), self.high2.relu()
        worst = worst_margins((low + high) / 2, (high - low) / 2, self.layers.w3, self.layers.b3, actions)
        return self.least(-worst, actions)

    def least(self, bound: Tensor, actions: Tensor) -> Tensor:
        """The least (n,) of bounds (n, a) of z_a* - z_a over a != a*, less what rounding may take."""
        return self.safe(bound, actions).scatter(1, actions[:, None], torch.inf).amin(1)

    def safe(self, bound: Tensor, actions: Tensor) -> Tensor:
        """Bounds (n, a) of z_a* - z_a less what rounding may take of both logits, and float64's own."""
        return bound - (self.rounding + self.rounding.gather(1, actions[:, None])) - 1e-9


def _gamma(k: int) -> float:
    return k * UNIT / (1 - k * UNIT)


def _in_double(states: Tensor | SparseStates) -> Tensor | SparseStates:
    return replace(states, values=states.values.double()) if isinstance(states, SparseStates) else states.double()


def interval(low: Tensor, high: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Ends (n, k) of weight (k, h) times anything between low and high (n, h), plus bias (n, k)."""
    centre, radius = (low + high) / 2 @ weight.t() + bias, (high - low) / 2 @ weight.t().abs()
    return centre - radius, centre + radius


def worst_margins(centre: Tensor, radius: Tensor, weight: Tensor, bias: Tensor, actions: Tensor) -> Tensor:
    """The most (n, a) of z_a - z_t, t the row's of `actions` (n,), where the last hidden layer is anything between
    centre - radius and centre + radius (n, h). Differentiable; 0 at `actions`."""
    logits = torch.addmm(bias, centre, weight.t())
    middle = logits - logits.gather(1, actions[:, None])
    order = actions.argsort()  # rows of one target share their margins' weights
    parts = torch.split(radius[order], actions.bincount(minlength=len(weight)).tolist())
    spread = torch.cat([part @ (weight - weight[t]).abs().t() for t, part in enumerate(parts)])
    return middle + spread[order.argsort()]
