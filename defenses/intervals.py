"""The worst that an actor can say of any state in an l_inf box, by interval arithmetic, differentiable in its weights.

In float32 and for learning. What is certified is computed by `marlrobust.policies.bounds`, which counts rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from marlrobust.policies.boxes import worst_margins
from marlrobust.policies.mean_field import MeanFieldNetwork
from marlrobust.sparse import SparseStates


def worst_logits(
    network: MeanFieldNetwork, states: Tensor | SparseStates, mean_actions: Tensor, epsilon: float, actions: Tensor
) -> Tensor:
    """The most (n, a) by which any action's logit can be above that of `actions` (n,) within `epsilon` of the states.

    states: (n, d), dense or compressed; mean_actions: (n, a), not moved. 0 at `actions` themselves: where all others
    are negative, the decision is proven. Their cross-entropy to `actions` is the loss of Gowal et al. 2018, with the
    last layer taken as margins.
    """
    return bounded(network, states, mean_actions, epsilon, lambda logits: actions).worst


class Bounded(NamedTuple):
    """logits: (n, a), clean; worst: (n, a), `worst_logits` of actions (n,)."""

    logits: Tensor
    worst: Tensor
    actions: Tensor


def bounded(
    network: MeanFieldNetwork,
    states: Tensor | SparseStates,
    mean_actions: Tensor,
    epsilon: float,
    choose: Callable[[Tensor], Tensor],
) -> Bounded:
    """The clean logits, and the worst of the actions that `choose` names when it sees them: the first layer is computed
    once for both."""
    first = network.state(states)
    of_means: Tensor = network.hidden.bias
    hidden, h = network.hidden.weight, first.shape[1]
    if network.mean is not None:
        of_means = torch.addmm(of_means, network.mean(mean_actions).relu(), hidden[:, h:].t())
    of_states = hidden[:, :h].t()
    radius = epsilon * network.state.weight.abs().sum(0)  # of the first layer, the same for all states
    low, high = (first - radius).relu(), (first + radius).relu()
    centre = (low + high) / 2 @ of_states + of_means
    radius = (high - low) / 2 @ of_states.abs()
    low, high = (centre - radius).relu(), (centre + radius).relu()
    logits: Tensor = network.out((first.relu() @ of_states + of_means).relu())
    actions = choose(logits.detach())
    out = network.out
    return Bounded(logits, worst_margins((low + high) / 2, (high - low) / 2, out.weight, out.bias, actions), actions)
