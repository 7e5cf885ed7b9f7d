"""What an ascent asks of a policy: logits, a loss, and the loss's gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.policies.networks import MeanFieldNetwork, Policy

Loss = Callable[[Tensor], Tensor]
"""From logits (n, a) to a loss a state (n,)."""


def logits_of(policy: Policy | MeanFieldNetwork, states: Tensor, mean_actions: Tensor) -> Tensor:
    """Logits (n, a); a bare actor network is its own policy."""
    if isinstance(policy, MeanFieldNetwork):
        logits: Tensor = policy(states, mean_actions)
        return logits
    return policy.logits(states, mean_actions)


def has_values(policy: Policy | MeanFieldNetwork) -> bool:
    """Whether the policy has a critic that an attack can ask."""
    return callable(getattr(policy, "q_values", None))


def values_of(policy: Policy | MeanFieldNetwork, states: Tensor, mean_actions: Tensor) -> Tensor:
    """Q(s, ., m) (n, a) of the policy's critic; raises UserError where it has none."""
    if not has_values(policy):
        raise UserError(
            f"this attack asks a critic, and {type(policy).__name__} has none: "
            "give it q_values(states, mean_actions), or choose an attack on the actions alone"
        )
    q: Tensor = policy.q_values(states, mean_actions)  # type: ignore[union-attr, operator]
    return q


def gradient_by_states(
    policy: Policy | MeanFieldNetwork, states: Tensor, mean_actions: Tensor, loss: Loss
) -> tuple[Tensor, Tensor]:
    """The loss (n,) at `states` and its gradient (n, d), for any policy on any device.

    Asks autograd for this gradient alone, so that the parameters' `.grad` stay as they are.
    """
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        value = loss(logits_of(policy, states, mean_actions))
        (gradient,) = torch.autograd.grad(value.sum(), states)
    return value.detach(), gradient


def gradient_by_logits(loss: Loss, logits: Tensor) -> Tensor:
    """The gradient (n, a) of the loss by the logits."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits).sum(), logits)
    return gradient
