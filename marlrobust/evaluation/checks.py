"""What the strength of an attack hangs on, measured on a sample of the states it was shown.

The numbers go into the rows; `reports.checks` says which of them cast doubt on a result.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.gradient import PGD, GradientAttack
from marlrobust.policies.networks import Policy

MEASURED = ["probe_states", "probe_noise", "probe_probabilities", "probe_zero_gradients", "probe_loss_rises"]
"""What `measure` gives, in this order."""


class Sample:
    """Up to `size` of the attacked states of a batch of rounds; each state is as likely to be among them."""

    def __init__(self, rng: np.random.Generator, size: int = 256) -> None:
        self.rng, self.size = rng, size
        self._keys = np.zeros(0)
        self._states: list[Tensor] = []
        self._mean_actions: list[Tensor] = []

    def see(self, states: Tensor, mean_actions: Tensor) -> None:
        """Take from states (n, d), mean_actions (n, a); what is kept is copied."""
        keys = self.rng.random(len(states))
        full = len(self._keys) == self.size
        new = np.flatnonzero(keys < self._keys.max()) if full else np.arange(len(keys))
        keys = np.concatenate([self._keys, keys[new]])
        kept = np.argsort(keys, kind="stable")[: self.size]
        self._keys = keys[kept]
        seen, means = [*self._states, *states[new].unbind()], [*self._mean_actions, *mean_actions[new].unbind()]
        self._states, self._mean_actions = [seen[i] for i in kept], [means[i] for i in kept]

    @property
    def states(self) -> Tensor:
        """(m, d), m <= size."""
        return torch.stack(self._states) if self._states else torch.zeros(0, 0)

    @property
    def mean_actions(self) -> Tensor:
        """(m, a)."""
        return torch.stack(self._mean_actions) if self._mean_actions else torch.zeros(0, 0)


def measure(
    policy: Policy, attack: Attack, states: Tensor, mean_actions: Tensor, rng: torch.Generator
) -> dict[str, float]:
    """Shares of the clean `states` (m, d), in [0, 1]; NaN where there are none, and where the attack has no such thing.

    probe_states: m; probe_noise: two forward passes differ; probe_probabilities: the outputs are not below zero
    and sum to one; probe_zero_gradients: the gradient of the cross-entropy to the likeliest action is zero, or so
    saturated that it is below 1e-10, in every feature (gradient attacks alone); probe_loss_rises: PGD (FGSM is
    one) ends with a higher cross-entropy than it found.
    """
    m = len(states)
    if m == 0:
        return dict(zip(MEASURED, [0.0, *[math.nan] * 4], strict=True))
    states, mean_actions = states.detach().clone(), mean_actions.detach().clone()
    with torch.no_grad():
        logits, again = (policy.logits(states, mean_actions) for _ in range(2))
    noise = ((logits - again).abs() > 1e-5 * (1 + logits.abs())).any(1)
    probabilities = (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < 1e-3)
    actions = logits.argmax(1)
    zero = rises = math.nan
    if isinstance(attack, GradientAttack):
        zero = float((_gradient(policy, states, mean_actions, actions).abs() < 1e-10).all(1).float().mean())
    if isinstance(attack, PGD):
        attacked = attack.perturb(policy, states, mean_actions, rng)
        with torch.no_grad():
            before, after = (F.cross_entropy(x, actions, reduction="none")
                             for x in (logits, policy.logits(attacked, mean_actions)))  # fmt: skip
        rises = float((after > before).float().mean())
    shares = [float(share.float().mean()) for share in (noise, probabilities)]
    return dict(zip(MEASURED, [float(m), *shares, zero, rises], strict=True))


def _gradient(policy: Policy, states: Tensor, mean_actions: Tensor, actions: Tensor) -> Tensor:
    """The cross-entropy's gradient by the states (m, d); zeros for a policy through which none flows."""
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        loss = F.cross_entropy(policy.logits(states, mean_actions), actions, reduction="sum")
        if not loss.requires_grad:
            return torch.zeros_like(states)
        (gradient,) = torch.autograd.grad(loss, states, allow_unused=True)
    return torch.zeros_like(states) if gradient is None else gradient
