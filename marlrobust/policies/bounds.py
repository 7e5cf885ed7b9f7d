"""Proofs that no state in an l_inf box changes a decision: by intervals, CROWN, optimised slopes, branch and bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.policies.boxes import Box, Layers, worst_margins
from marlrobust.policies.branching import by_alpha
from marlrobust.policies.crown import through_second, tightened, usual_lines
from marlrobust.policies.layers import TwoHidden
from marlrobust.policies.proofs import BRANCHES, Bounds

CHUNK = 32  # states bounded together


@dataclass(frozen=True)
class Certificate:
    """certified: (n,) bool, the argmax is the same for every state of the box; intervals: (n,) bool, which of them
    intervals alone have proven; margin: (n,) float64, a lower bound of the least z_a* - z_a over the box."""

    certified: Tensor
    intervals: Tensor
    margin: Tensor


@torch.no_grad()
def certify(
    policy: Any,
    states: Tensor,
    mean_actions: Tensor,
    epsilon: float,
    *,
    by: Bounds = "crown",
    branches: int = BRANCHES,
) -> Certificate:
    """Whether the likeliest action of each of `states` (n, d) can change inside the box of radius `epsilon`.

    policy: whatever has two hidden ReLU layers and nothing else (`TwoHidden`), or its network. mean_actions: (n, a),
    not perturbed; (n, 0) where they are not read. by: intervals (Gowal et al. 2018); crown, backwards through both
    hidden layers (Zhang et al. 2018); alpha, the same by chosen slopes; complete, in up to `branches` parts per action
    (see `branching`): each for what those before it leave open. Raises ValueError for a negative epsilon, UserError for
    another kind of policy.
    """
    network = _taken(policy, epsilon)
    actions = network.forward(states, mean_actions).argmax(1)
    layers = Layers(network)
    margin = torch.empty(len(states), dtype=torch.float64, device=states.device)
    intervals = torch.zeros(len(states), dtype=torch.bool, device=states.device)
    for first in range(0, len(states), CHUNK):
        rows = slice(first, first + CHUNK)
        box = Box.around(layers, states[rows], mean_actions[rows], epsilon)
        low = box.by_intervals(actions[rows])
        intervals[rows] = low > 0
        open_ = (low <= 0).nonzero()[:, 0]
        if len(open_) and by != "intervals":
            low[open_] = torch.maximum(low[open_], _backwards(box.only(open_), actions[rows][open_], by, branches))
        margin[rows] = low
    return Certificate(margin > 0, intervals, margin)


class Prover:
    """Which decisions intervals alone prove: made once for a policy and a radius, and asked often."""

    def __init__(self, policy: Any, epsilon: float) -> None:
        """Raises what `certify` raises."""
        self.network, self.epsilon = _taken(policy, epsilon), epsilon
        self.layers = Layers(self.network)
        self.radius = epsilon * self.network.first.abs().sum(0)

    @torch.no_grad()
    def __call__(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        """(n,) bool, of states (n, d) and mean actions (n, a): what `certify` by intervals says."""
        actions = self.network.forward(states, mean_actions).argmax(1)
        found = self._may_be(states, mean_actions, actions)
        if rows := found.nonzero()[:, 0].tolist():
            box = Box.around(self.layers, states[rows], mean_actions[rows], self.epsilon)
            found[rows] = box.by_intervals(actions[rows]) > 0
        return found

    def _may_be(self, states: Tensor, mean_actions: Tensor, actions: Tensor) -> Tensor:
        """(n,) bool, a first look in float32, without rounding, at a tenth of the cost: the others are left open."""
        net, first = self.network, self.network.of_states(states)
        low, high = (first - self.radius).relu_(), (first + self.radius).relu_()
        centre = torch.addmm(net.of_means(mean_actions), (low + high) / 2, net.second.t())
        radius = (high - low) / 2 @ net.second.t().abs()
        low, high = (centre - radius).relu_(), (centre + radius).relu_()
        worst = worst_margins((low + high) / 2, (high - low) / 2, net.out, net.out_bias, actions)
        return worst.scatter(1, actions[:, None], -torch.inf).amax(1) < 0


def _taken(policy: Any, epsilon: float) -> TwoHidden:
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative: {epsilon}")
    network = TwoHidden.of(policy)
    if network is None:
        raise UserError(
            "certificates are for networks of two hidden ReLU layers, in float32 on the CPU: "
            f"{type(policy).__name__} is something else"
        )
    return network


def _backwards(box: Box, actions: Tensor, by: Bounds, branches: int) -> Tensor:
    """A lower bound (n,) of the least margin of `actions` (n,), with the second layer's intervals tightened first."""
    box = tightened(box)
    low = by_crown(box, actions)
    open_ = (low <= 0).nonzero()[:, 0]
    if len(open_) and by != "crown":
        tighter = by_alpha(box.only(open_), actions[open_], branches if by != "alpha" else 0)
        low[open_] = torch.maximum(low[open_], tighter)
    return low


def by_crown(box: Box, actions: Tensor) -> Tensor:
    """The same, of a box that is tightened, by the usual slopes."""
    return box.least(through_second(box, *box.layers.margins(actions), usual_lines(box)), actions)
