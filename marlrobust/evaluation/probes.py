"""What the strength of an attack hangs on, measured on a sample of the states that it was shown.

The numbers go into the rows; `reports.doubts` says which of them cast doubt on a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.gradient import PGD, GradientAttack
from marlrobust.evaluation.observer import Observer
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy


class Sample(Observer):
    """Up to `size` of the attacked decisions of all rounds; each is as likely to be among them."""

    def __init__(self, rng: np.random.Generator, size: int = 256) -> None:
        self.rng, self.size = rng, size
        self._keys = np.zeros(0)
        self._kept: list[Decisions] = []

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """See `Observer.attacked`; what is kept is copied."""
        keys = self.rng.random(len(decisions))
        full = len(self._keys) == self.size
        new = np.flatnonzero(keys < self._keys.max()) if full else np.arange(len(keys))
        keys = np.concatenate([self._keys, keys[new]])
        kept = np.argsort(keys, kind="stable")[: self.size]
        self._keys = keys[kept]
        own = decisions.take(torch.from_numpy(new))
        seen = [*self._kept, *(own.take(slice(i, i + 1)) for i in range(len(own)))]
        self._kept = [seen[i] for i in kept]

    def decisions(self) -> dict[int, Decisions]:
        """The decisions that were kept, at most `size` in all, by the number of their group."""
        groups = sorted({row.group for row in self._kept})
        return {group: Decisions.joined([row for row in self._kept if row.group == group]) for group in groups}


PROBES = ("probe_noise", "probe_probabilities", "probe_zero_gradients", "probe_loss_rises")


def together(groups: Sequence[tuple[int, Mapping[str, float | None]]]) -> dict[str, Any]:
    """What was measured of several groups, each with its number of decisions, as the columns of a row: their mean over
    all decisions; None where one has no such thing, or there is none. probe_states: decisions in all."""
    total = sum(n for n, _ in groups)
    found: dict[str, Any] = {"probe_states": total}
    for name in PROBES:
        shares = [(n / total, share) for n, measured in groups if (share := measured[name]) is not None]
        found[name] = sum(n * share for n, share in shares) if shares and len(shares) == len(groups) else None
    return found


def measure(policy: Policy, attack: Attack, decisions: Decisions, rng: torch.Generator) -> dict[str, float | None]:
    """Shares of the m clean `decisions`, m > 0, in [0, 1]; None where the attack has no such thing.

    probe_noise: two forward passes differ; probe_probabilities: the outputs are not below zero
    and sum to one; probe_zero_gradients: the gradient of the cross-entropy to the likeliest action is zero, or so
    saturated that it is below 1e-10, in every feature (gradient attacks alone); probe_loss_rises: PGD (FGSM is
    one) ends with a higher cross-entropy than it found.
    """
    with torch.no_grad():
        logits, again = (policy.logits(decisions) for _ in range(2))
    noise = ((logits - again).abs() > 1e-5 * (1 + logits.abs())).any(1)
    probabilities = (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < 1e-3)
    actions = logits.argmax(1)
    zero = rises = None
    if isinstance(attack, GradientAttack):
        zero = float((_gradient(policy, decisions, actions).abs() < 1e-10).all(1).float().mean())
    if isinstance(attack, PGD):
        attacked = decisions.showing(attack.perturb(policy, decisions, rng))
        with torch.no_grad():
            before, after = (F.cross_entropy(x, actions, reduction="none") for x in (logits, policy.logits(attacked)))
        rises = float((after > before).float().mean())
    shares = {"probe_noise": float(noise.float().mean()), "probe_probabilities": float(probabilities.float().mean())}
    return {**shares, "probe_zero_gradients": zero, "probe_loss_rises": rises}


def _gradient(policy: Policy, decisions: Decisions, actions: Tensor) -> Tensor:
    """The cross-entropy's gradient by the states (m, d); zeros for a policy through which none flows."""
    with torch.enable_grad():
        states = decisions.dense.detach().clone().requires_grad_()
        loss = F.cross_entropy(policy.logits(decisions.showing(states)), actions, reduction="sum")
        if not loss.requires_grad:
            return torch.zeros_like(states)
        (gradient,) = torch.autograd.grad(loss, states, allow_unused=True)
    return torch.zeros_like(states) if gradient is None else gradient
