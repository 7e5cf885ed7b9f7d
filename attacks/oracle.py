"""What an ascent asks of a policy: a loss of its logits, and the loss's gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.layers import ACTIVATIONS, Stack
from marlrobust.policies.library import StoredPolicy
from marlrobust.policies.policy import Policy

Method = TypeVar("Method", bound=Callable[..., Tensor])

Slope = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From logits (n, a) to a loss (n,) and its gradient (n, a) by the logits."""


def with_slope(slope: Callable[[Tensor], Slope]) -> Callable[[Method], Method]:
    """Decorator of an attack's `loss` whose gradient by the logits is known: autograd is then not asked for it.
    slope: gives it, from what the loss compares with."""

    def mark(loss: Method) -> Method:
        loss.slope = slope  # type: ignore[attr-defined]
        return loss

    return mark


@dataclass(frozen=True)
class Loss:
    """An attack's loss of logits (n, a). function: its method `loss`; reference: (n, ...), what it compares with."""

    function: Callable[[Tensor, Tensor], Tensor]
    reference: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """The loss (n,)."""
        return self.function(logits, self.reference)

    def slope(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (n,) and its gradient (n, a) by the logits."""
        if self.known is not None:
            return self.known(logits)
        with torch.enable_grad():
            logits = logits.detach().requires_grad_()
            value = self(logits)
            (gradient,) = torch.autograd.grad(value.sum(), logits)
        return value.detach(), gradient

    @cached_property
    def known(self) -> Slope | None:
        """The loss and its gradient, where no autograd is needed for them."""
        made: Callable[[Tensor], Slope] | None = getattr(self.function, "slope", None)
        return None if made is None else made(self.reference)


Oracle = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From states (n, d) to the loss (n,) there, and its gradient (n, d) by the states."""


def oracle(policy: Policy, stack: Stack | None, decisions: Decisions, loss: Loss) -> Oracle:
    """The quickest there is in float32: without autograd where `stack` is all of the policy."""
    return partial(gradient_by_states, policy, decisions, loss=loss) if stack is None else _Layers(stack, loss)


class _Layers:
    """The gradient through a stack of layers, whose weights are taken once."""

    def __init__(self, stack: Stack, loss: Loss) -> None:
        activations = [ACTIVATIONS[kind] for kind in stack.activations]
        self.loss, self.last = loss, (stack.biases[-1], stack.weights[-1].t())
        self.forward = [
            (b, w.t(), act) for b, w, (act, _) in zip(stack.biases, stack.weights, activations, strict=False)
        ]
        self.backward = [(w, back) for w, (_, back) in zip(stack.weights[1:], activations, strict=True)][::-1]
        self.first = stack.weights[0]

    def __call__(self, states: Tensor) -> tuple[Tensor, Tensor]:
        outputs, y = [], states
        for bias, weight, activate in self.forward:
            y = activate(torch.addmm(bias, y, weight))
            outputs.append(y)
        value, gradient = self.loss.slope(torch.addmm(self.last[0], y, self.last[1]))
        for weight, back in self.backward:
            gradient = back(gradient @ weight, outputs.pop())
        return value, gradient @ self.first


def gradient_by_states(policy: Policy, decisions: Decisions, states: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The loss (n,) where `decisions` are shown `states` (n, d), and its gradient (n, d) by those.

    For any policy on any device. Asks autograd for this gradient alone, so that the parameters' `.grad` stay as
    they are. Raises UserError for a policy through which no gradient flows.
    """
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        try:
            answers = policy.logits(decisions.showing(states))
        except RuntimeError as error:
            if "requires grad" not in str(error):  # as where a policy turns its states into an array
                raise
            raise _without_gradients(policy) from None
        if not answers.requires_grad:
            raise _without_gradients(policy)
        if loss.known is None:
            value = loss(answers)
            (gradient,) = torch.autograd.grad(value.sum(), states)
            return value.detach(), gradient
    value, slope = loss.known(answers.detach())
    (gradient,) = torch.autograd.grad(answers, states, slope)
    return value, gradient


def _without_gradients(policy: Policy) -> UserError:
    return UserError(
        f"no gradient flows through {type(policy).__name__}, and this attack climbs by gradients: "
        "choose 'square' or 'random', which ask for logits alone, or 'transfer'"
    )


def ready(given: Any, field: str, device: torch.device) -> Policy:
    """The policy that the parameter `field` stands for, on `device`: a stored one is loaded, once.

    Raises UserError for a name that nobody has looked up.
    """
    if given is None or isinstance(given, str):
        raise UserError(f"the parameter {field} holds no policy yet: give one, or call resolved(victim, library) first")
    policy: Policy = given.load(str(device)) if isinstance(given, StoredPolicy) else given
    return policy
