"""Networks that are nothing but linear layers and activations, taken apart: ours, and anybody's.

What reads them (integers, bounds, gradients without autograd) never asks whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.policies.actions import is_continuous
from marlrobust.policies.adapters.states import StatePolicy
from marlrobust.policies.mean_field import MeanFieldNetwork, MeanFieldPolicy
from marlrobust.policies.state_layer import StateLayer, compress_if_sparse, linear_of_states
from marlrobust.policies.traced import chain

Forward = Callable[[Tensor], Tensor]
Backward = Callable[[Tensor, Tensor], Tensor]

ACTIVATIONS: dict[type[nn.Module], tuple[Forward, Backward]] = {
    nn.ReLU: (torch.relu_, lambda gradient, y: torch.ops.aten.threshold_backward(gradient, y, 0)),
    nn.Tanh: (torch.tanh_, lambda gradient, y: torch.ops.aten.tanh_backward(gradient, y)),
}
"""Activation, in place, and its gradient by the input from the gradient by the output and that output."""

IDLE = (nn.Identity, nn.Flatten)
"""Layers that do nothing to states (n, d)."""


@singledispatch
def network_of(policy: Any) -> nn.Module | None:
    """The module of flat states that is all there is to the policy's logits; None where something else is.

    A subclass or an instance may have changed what the logits are: then autograd knows.
    """
    return None


@network_of.register
def _(policy: nn.Module) -> nn.Module | None:
    return policy


@network_of.register
def _(policy: StatePolicy) -> nn.Module | None:
    return policy.function.flat_module if type(policy).logits is StatePolicy.logits else None


@network_of.register
def _(policy: MeanFieldPolicy) -> nn.Module | None:
    own_logits = type(policy).logits is not MeanFieldPolicy.logits or "logits" in vars(policy)
    return None if own_logits else policy.actor


def known(policy: Any) -> bool:
    """Whether all of the policy is layers that are known here, which remember nothing."""
    network = network_of(policy)
    return network is not None and _plain(network)


def _plain(network: nn.Module) -> bool:
    """Whether it is float32, on the CPU, and its layers are untouched: a hook or a new `forward` may do anything."""
    kinds = (MeanFieldNetwork, StateLayer, nn.Linear, nn.Sequential, *ACTIVATIONS, *IDLE)
    for part in network.modules():
        if type(part) not in kinds or part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
            return False
    return all(p.device.type == "cpu" and p.dtype == torch.float32 for p in network.parameters())


@dataclass(frozen=True)
class Stack:
    """All of a network on states (n, d): linear layers, with an activation after each but the last.

    weights: (out, in) each; biases: (out,) each; activations: one of `ACTIVATIONS` each.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activations: tuple[type[nn.Module], ...]

    @property
    def size(self) -> int:
        """The number of its weights."""
        return sum(weight.numel() for weight in self.weights)

    @classmethod
    def of(cls, policy: Any) -> Stack | None:
        """None where the policy is something else."""
        network = network_of(policy)
        if not isinstance(network, nn.Sequential | nn.Linear) or not _plain(network):
            return None
        return cls.of_layers(list(_leaves(network)))

    @classmethod
    def read(cls, policy: Any) -> Stack | None:
        """What the policy's module seems to be by its own forward: to be held against what it answers, see `agrees`."""
        network = network_of(policy)
        layers = chain(network) if isinstance(network, nn.Module) else None
        return cls.of_layers(layers) if layers and all(map(_plain, layers)) else None

    @classmethod
    def of_layers(cls, layers: Sequence[Any]) -> Stack | None:
        """None where they are something else than linear layers with activations between them."""
        parts = [part for part in layers if not isinstance(part, IDLE)]
        linear, activations = parts[::2], parts[1::2]
        if len(parts) % 2 == 0 or not all(isinstance(part, nn.Linear) for part in linear):
            return None
        if not all(type(part) in ACTIVATIONS for part in activations):
            return None
        weights = tuple(part.weight.detach() for part in linear)
        biases = tuple(p.weight.new_zeros(len(p.weight)) if p.bias is None else p.bias.detach() for p in linear)
        return cls(weights, biases, tuple(map(type, activations)))

    def agrees(self, states: Tensor, answers: Tensor) -> bool:
        """Whether the layers give these answers (n, m) for states (n, d), but for the order of their sums; of many some
        are looked at."""
        some = slice(None, None, max(1, len(states) // 64))
        states, answers = states[some], answers[some]
        if states.shape[1] != self.weights[0].shape[1] or answers.shape[1] != len(self.biases[-1]):
            return False
        y = states
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = torch.addmm(bias, y, weight.t())
            if k < len(self.activations):
                y = ACTIVATIONS[self.activations[k]][0](y)
        return torch.allclose(y, answers, rtol=1e-4, atol=1e-5)


def _leaves(network: nn.Module) -> Iterator[Any]:
    """The layers in the order in which a `Sequential`, and those inside it, call them."""
    if isinstance(network, nn.Sequential):
        for part in network:
            yield from _leaves(part)
    else:
        yield network


@dataclass(frozen=True)
class TwoHidden:
    """A network with two hidden layers of h ReLU units each; a narrower one is filled up with units that stay 0.

    first: (d, h), second: (h, h), out: (a, h), each with its bias. mean: the layer that reads mean actions, through
    a ReLU of e units, and of_mean: (h, e), its part of the second layer; None and e = 0 where they are not read.
    forward: the network itself, from states and mean actions to logits.
    """

    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    out: Tensor
    out_bias: Tensor
    of_mean: Tensor
    mean: nn.Linear | None
    forward: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(cls, policy: Any) -> TwoHidden | None:
        """None where the policy, or network, is something else, or gives vectors: what reads it reads logits."""
        if is_continuous(policy):
            return None
        network = network_of(policy)
        if type(network) is MeanFieldNetwork:
            return _of_mean_field(network) if _plain(network) else None
        stack = Stack.of(policy)
        if stack is None or stack.activations != (nn.ReLU, nn.ReLU):
            return None
        (w1, w2, w3), (b1, b2, b3) = stack.weights, stack.biases
        h = max(len(w1), len(w2))
        first, second = F.pad(w1, (0, 0, 0, h - len(w1))), F.pad(w2, (0, h - len(w1), 0, h - len(w2)))
        biases = (F.pad(b1, (0, h - len(b1))), F.pad(b2, (0, h - len(b2))))
        called: Any = network
        return cls(
            *(first.t().contiguous(), biases[0], second, biases[1], F.pad(w3, (0, h - len(w2))), b3),
            of_mean=second.new_zeros(h, 0),
            mean=None,
            forward=lambda states, mean_actions: called(states),
        )

    def of_states(self, states: Tensor) -> Tensor:
        """The first layer (n, h) before its ReLU."""
        return linear_of_states(compress_if_sparse(states), self.first, self.first_bias)

    def of_means(self, mean_actions: Tensor) -> Tensor:
        """What the second layer (n, h) gets beside the first: its bias, and what it reads of mean actions (n, a)."""
        second = self.second_bias.repeat(len(mean_actions), 1)
        if self.mean is not None:
            second.addmm_(torch.relu(self.mean(mean_actions)), self.of_mean.t())
        return second


def _of_mean_field(network: MeanFieldNetwork) -> TwoHidden:
    state, hidden, out = network.state, network.hidden, network.out
    h = state.weight.shape[1]
    second = hidden.weight.detach()
    return TwoHidden(
        *(state.weight.detach(), state.bias.detach(), second[:, :h], hidden.bias.detach()),
        *(out.weight.detach(), out.bias.detach()),
        of_mean=second[:, h:],
        mean=network.mean,
        forward=network,
    )
