"""Gradient oracles: d loss / d states at states + delta, which is all an ascent asks of a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from marlrobust.policies.networks import MeanFieldNetwork, MeanFieldPolicy, Policy
from marlrobust.policies.sparse import compress_if_sparse

Loss = Callable[[Tensor], Tensor]
"""From logits (n, a) to a loss a state (n,)."""


class Oracle(Protocol):
    """Bound to one batch of states and one loss."""

    def __call__(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient (n, d) and the loss (n,) at states + delta; both may be overwritten by the next call."""
        ...


def logits_of(policy: Policy, states: Tensor, mean_actions: Tensor) -> Tensor:
    """Logits (n, a), without a gradient."""
    with torch.no_grad():
        return (policy if isinstance(policy, MeanFieldNetwork) else policy.logits)(states, mean_actions)


def network_of(policy: Policy) -> MeanFieldNetwork | None:
    """The float32 CPU network that is all there is to the policy's logits; None where something else is.

    A subclass may have changed what the logits are, and a hook may: they go the general way.
    """
    network = policy
    if isinstance(policy, MeanFieldPolicy):
        if type(policy).logits is not MeanFieldPolicy.logits or "logits" in vars(policy):
            return None
        network = policy.actor
    if type(network) is not MeanFieldNetwork:
        return None
    if any(m._forward_hooks or m._forward_pre_hooks for m in network.modules()):
        return None
    plain = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in network.parameters())
    return network if plain else None


class AutogradOracle:
    """For any policy that has logits, on any device."""

    def __init__(self, policy: Policy, states: Tensor, mean_actions: Tensor, loss: Loss) -> None:
        self.policy, self.states, self.mean_actions, self.loss = policy, states, mean_actions, loss

    def __call__(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            states = (self.states + delta).requires_grad_()
            if isinstance(self.policy, MeanFieldNetwork):
                logits = self.policy(states, self.mean_actions)
            else:
                logits = self.policy.logits(states, self.mean_actions)
            loss = self.loss(logits)
            (gradient,) = torch.autograd.grad(loss.sum(), states)
        return gradient, loss.detach()


class NetworkOracle:
    """The same for our own network on the CPU, with its backward pass written out.

    The states' part of the first layer is computed once, from compressed rows, and the mean action's part of
    the second; a step is left with the perturbation's own products.
    """

    def __init__(self, network: MeanFieldNetwork, states: Tensor, mean_actions: Tensor, loss: Loss) -> None:
        self.loss = loss
        with torch.no_grad():
            hidden = network.state.weight.shape[1]
            self.w1 = network.state.weight.detach()  # (d, h)
            self.w2 = network.hidden.weight.detach()[:, :hidden]  # (h, h), without the embedding's columns
            self.w3, self.b3 = network.out.weight.detach(), network.out.bias.detach()
            self.first = network.state(compress_if_sparse(states))  # (n, h)
            self.second = mean_action_part(network, mean_actions)  # (n, h)

    def __call__(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            h1 = torch.addmm(self.first, delta, self.w1).relu_()
            h2 = torch.addmm(self.second, h1, self.w2.t()).relu_()
            logits = torch.addmm(self.b3, h2, self.w3.t())
            loss, gradient = loss_and_gradient(self.loss, logits)
            g2 = (gradient @ self.w3).mul_(h2 > 0)
            g1 = (g2 @ self.w2).mul_(h1 > 0)
            return g1 @ self.w1.t(), loss


def mean_action_part(network: MeanFieldNetwork, mean_actions: Tensor) -> Tensor:
    """What the second layer adds up besides the states' part (n, h): its bias and the mean action's."""
    bias = network.hidden.bias.detach()
    if network.mean is None:
        return bias.expand(len(mean_actions), -1)
    hidden = network.state.weight.shape[1]
    with torch.no_grad():
        embedded = torch.relu(network.mean(mean_actions))
        return torch.addmm(bias, embedded, network.hidden.weight[:, hidden:].t())


def loss_and_gradient(loss: Loss, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The loss (n,) and its gradient (n, a) by the logits."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        value = loss(logits)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), gradient
