"""What an ascent asks of a policy: a loss of its logits, and the loss's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.library import StoredPolicy
from marlrobust.policies.policy import Policy

Loss = Callable[[Tensor], Tensor]
"""From logits (n, a) to a loss per state (n,)."""


def gradient_by_states(policy: Policy, decisions: Decisions, states: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The loss (n,) where `decisions` are shown `states` (n, d), and its gradient (n, d) by those.

    For any policy on any device. Asks autograd for this gradient alone, so that the parameters' `.grad` stay as
    they are.
    """
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        value = loss(policy.logits(decisions.showing(states)))
        (gradient,) = torch.autograd.grad(value.sum(), states)
    return value.detach(), gradient


def gradient_by_logits(loss: Loss, logits: Tensor) -> Tensor:
    """The gradient (n, a) of the loss by the logits."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits).sum(), logits)
    return gradient


def ready(given: Any, field: str, device: torch.device) -> Policy:
    """The policy that the parameter `field` stands for, on `device`: a stored one is loaded, once.

    Raises UserError for a name that nobody has looked up.
    """
    if given is None or isinstance(given, str):
        raise UserError(f"the parameter {field} holds no policy yet: give one, or call resolved(victim, library) first")
    policy: Policy = given.load(str(device)) if isinstance(given, StoredPolicy) else given
    return policy
