"""Bounds on what a network can say of any state in an l_inf box: intervals and CROWN, rounding included.

Everything is computed in float64 from the float32 weights. What is proven holds for the network as it is computed in
float32, in whatever order its sums are taken: `_rounding` bounds how far that may be from exact arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.policies.layers import TwoHidden

UNIT = 2.0**-24  # of float32's rounding
CHUNK = 32  # states bounded together


@dataclass(frozen=True)
class Certificate:
    """certified: (n,) bool, the argmax is the same for every state of the box; intervals: (n,) bool, which of them
    intervals alone have proven; margin: (n,) float64, a lower bound of the least z_a* - z_a over the box."""

    certified: Tensor
    intervals: Tensor
    margin: Tensor


@torch.no_grad()
def certify(policy: Any, states: Tensor, mean_actions: Tensor, epsilon: float) -> Certificate:
    """Whether the likeliest action of each of `states` (n, d) can change inside the box of radius `epsilon`.

    policy: whatever has two hidden ReLU layers and nothing else (`TwoHidden`), or its network. mean_actions: (n, a),
    not perturbed; (n, 0) where they are not read. Intervals first (Gowal et al. 2018), then CROWN (Zhang et al. 2018),
    backwards through both hidden layers, for the states that they leave open. Raises ValueError for a negative
    epsilon, UserError for another kind of policy.
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative: {epsilon}")
    network = TwoHidden.of(policy)
    if network is None:
        raise UserError(
            "certificates are for networks of two hidden ReLU layers, in float32 on the CPU: "
            f"{type(policy).__name__} is something else"
        )
    clean = network.forward(states, mean_actions)
    actions = clean.argmax(1)
    layers = _Layers(network)
    margin = torch.empty(len(states), dtype=torch.float64, device=states.device)
    intervals = torch.zeros(len(states), dtype=torch.bool, device=states.device)
    for first in range(0, len(states), CHUNK):
        rows = slice(first, first + CHUNK)
        box = _Box(layers, states[rows].double(), mean_actions[rows].double(), epsilon)
        low = box.by_intervals(actions[rows])
        intervals[rows] = low > 0
        open_ = (low <= 0).nonzero()[:, 0]
        if len(open_):
            low[open_] = torch.maximum(low[open_], box.only(open_).by_crown(actions[rows][open_]))
        margin[rows] = low
    return Certificate(margin > 0, intervals, margin)


class _Layers:
    """The network's weights in float64."""

    def __init__(self, network: TwoHidden) -> None:
        self.w1, self.b1 = network.first.double(), network.first_bias.double()  # (d, h)
        self.w2, self.wm = network.second.double(), network.of_mean.double()  # of the state's part, the mean action's
        self.b2, self.mean = network.second_bias.double(), network.mean
        self.w3, self.b3 = network.out.double(), network.out_bias.double()


class _Box:
    """The states within epsilon of `states` (n, d), and intervals of both hidden layers before their ReLU."""

    def __init__(self, layers: _Layers, states: Tensor, mean_actions: Tensor, epsilon: float) -> None:
        self.layers, self.epsilon = layers, epsilon
        self.centre = states @ layers.w1 + layers.b1
        radius = epsilon * layers.w1.abs().sum(0)
        self.low1, self.high1 = self.centre - radius, self.centre + radius
        embedded = torch.zeros(len(states), 0, dtype=torch.float64, device=states.device)
        if layers.mean is not None:
            embedded = (mean_actions @ layers.mean.weight.double().t() + layers.mean.bias.double()).relu()
        self.constant = embedded @ layers.wm.t() + layers.b2
        self.low2, self.high2 = _interval(self.low1.relu(), self.high1.relu(), layers.w2, self.constant)
        self.rounding = self._rounding(states, mean_actions, embedded)

    def only(self, rows: Tensor) -> _Box:
        """The same for some of the states."""
        box = object.__new__(_Box)
        box.layers, box.epsilon = self.layers, self.epsilon
        for name in ("centre", "low1", "high1", "constant", "low2", "high2", "rounding"):
            setattr(box, name, getattr(self, name)[rows])
        return box

    def _rounding(self, states: Tensor, mean_actions: Tensor, embedded: Tensor) -> Tensor:
        """How far (n, a) float32 logits may be from exact ones, anywhere in the box.

        A sum of k products, in any order, is off by at most k u / (1 - k u) times the sum of their sizes (Higham 2002,
        section 3.1); what a layer is off by reaches the next through the sizes of its weights.
        """
        layers = self.layers
        off = _gamma(len(layers.w1) + 1) * ((states.abs() + self.epsilon) @ layers.w1.abs() + layers.b1.abs())
        above = torch.maximum(self.low1.abs(), self.high1.abs()) + off
        off = off @ layers.w2.t().abs()
        if layers.mean is not None:
            weight, bias = layers.mean.weight.double().abs(), layers.mean.bias.double().abs()
            off_mean = _gamma(weight.shape[1] + 1) * (mean_actions.abs() @ weight.t() + bias)
            off += off_mean @ layers.wm.t().abs()
            embedded = embedded + off_mean
        sizes = above @ layers.w2.t().abs() + embedded @ layers.wm.t().abs() + layers.b2.abs()
        off += _gamma(layers.w2.shape[1] + layers.wm.shape[1] + 1) * sizes
        above = torch.maximum(self.low2.abs(), self.high2.abs()) + off
        weight = layers.w3.t().abs()
        return off @ weight + _gamma(len(weight) + 1) * (above @ weight + layers.b3.abs())

    def by_intervals(self, actions: Tensor) -> Tensor:
        """A lower bound (n,) of the least margin of `actions` (n,), from the second layer's intervals."""
        weight, bias = self._margins(actions)  # (n, a, h), (n, a)
        low, high = self.low2.relu()[:, None], self.high2.relu()[:, None]
        bound = (weight.clamp(min=0) * low + weight.clamp(max=0) * high).sum(2) + bias
        return self._least(bound, actions)

    def by_crown(self, actions: Tensor) -> Tensor:
        """The same by linear bounds, with the second layer's intervals tightened by them first."""
        n, h = self.low2.shape
        every = self.layers.w2.expand(n, h, -1)
        low = self._through_first(every, self.constant)
        high = -self._through_first(-every, -self.constant)
        self.low2, self.high2 = torch.maximum(self.low2, low), torch.minimum(self.high2, high)
        weight, bias = self._margins(actions)
        weight, bias = _below(weight, bias, self.low2, self.high2)
        bias = bias + (weight * self.constant[:, None]).sum(2)
        return self._least(self._through_first(weight @ self.layers.w2, bias), actions)

    def _through_first(self, weight: Tensor, bias: Tensor) -> Tensor:
        """A lower bound (n, k) of weight (n, k, h) times the first layer after its ReLU, plus bias (n, k)."""
        weight, bias = _below(weight, bias, self.low1, self.high1)
        spread = (weight @ self.layers.w1.t()).abs().sum(2)
        return (weight * self.centre[:, None]).sum(2) + bias - self.epsilon * spread

    def _margins(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """z_a* - z_a as weights (n, a, h) of the second layer, and biases (n, a)."""
        layers = self.layers
        return layers.w3[actions][:, None] - layers.w3, layers.b3[actions][:, None] - layers.b3

    def _least(self, bound: Tensor, actions: Tensor) -> Tensor:
        """The least over a != a*, less what rounding may take of both logits, and float64's own."""
        bound = bound - (self.rounding + self.rounding.gather(1, actions[:, None])) - 1e-9
        return bound.scatter(1, actions[:, None], torch.inf).amin(1)


def _gamma(k: int) -> float:
    return k * UNIT / (1 - k * UNIT)


def _interval(low: Tensor, high: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Ends (n, k) of weight (k, h) times anything between low and high (n, h), plus bias (n, k)."""
    centre, radius = (low + high) / 2 @ weight.t() + bias, (high - low) / 2 @ weight.t().abs()
    return centre - radius, centre + radius


def _below(weight: Tensor, bias: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Linear bounds from below, of weight (n, k, h) times relu(x) plus bias (n, k), for x in [low, high] (n, h).

    Where x may have either sign, relu(x) lies under the chord, and above x or 0, whichever leaves less room.
    """
    width = (high - low).clamp_min(1e-300)
    chord = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / width))
    lift = torch.where((low < 0) & (high > 0), -chord * low, 0.0)
    under = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, (high > -low).double()))
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    bias = bias + (down * lift[:, None]).sum(2)
    return up * under[:, None] + down * chord[:, None], bias
