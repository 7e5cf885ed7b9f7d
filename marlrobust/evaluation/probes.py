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
from marlrobust.attacks.vectors import vectors_of
from marlrobust.evaluation.observer import Observer
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import is_continuous
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
    """Shares of the m clean `decisions`, m > 0, in [0, 1]; None where the attack, or the policy, has no such thing.

    probe_noise: two forward passes differ; probe_probabilities: the outputs are not below zero
    and sum to one, where logits are expected; probe_zero_gradients: the gradient of the cross-entropy to the likeliest
    action, or of each of a vector's numbers, is zero, or so saturated that it is below 1e-10, in every feature
    (gradient attacks alone); probe_loss_rises: PGD (FGSM is one) ends with a higher loss than it found.
    """
    with torch.no_grad():
        answers, again = (policy.logits(decisions) for _ in range(2))
    noise = ((answers - again).abs() > 1e-5 * (1 + answers.abs())).any(1)
    zero = rises = None
    if isinstance(attack, GradientAttack):
        zero = _share((_gradients(policy, decisions, answers).abs() < 1e-10).all(1))
    if isinstance(attack, PGD):
        attacked = decisions.showing(attack.perturb(policy, decisions, rng))
        loss = attack.objective(policy, decisions, answers)
        with torch.no_grad():
            rises = _share(loss(policy.logits(attacked)) > loss(answers))
    probabilities = None
    if not is_continuous(policy):
        probabilities = _share((answers >= 0).all(1) & ((answers.sum(1) - 1).abs() < 1e-3))
    shares = {"probe_noise": _share(noise), "probe_probabilities": probabilities}
    return {**shares, "probe_zero_gradients": zero, "probe_loss_rises": rises}


def _share(found: Tensor) -> float:
    return float(found.float().mean())


def _gradients(policy: Policy, decisions: Decisions, answers: Tensor) -> Tensor:
    """The gradients (m, d) or (m, k d) by the states of what tells actions apart: the cross-entropy to the likeliest,
    or each number of the mean action; zeros for a policy through which none flows."""
    kind = vectors_of(policy)
    with torch.enable_grad():
        states = decisions.dense.detach().clone().requires_grad_()
        found = policy.logits(decisions.showing(states))
        if not found.requires_grad:
            return torch.zeros_like(states)
        ce = [F.cross_entropy(found, answers.argmax(1), reduction="sum")]
        parts = ce if kind is None else [part.sum() for part in kind.means(found).unbind(1)]
        gradients = [torch.autograd.grad(part, states, allow_unused=True, retain_graph=True)[0] for part in parts]
    return torch.cat([torch.zeros_like(states) if g is None else g for g in gradients], dim=1)
