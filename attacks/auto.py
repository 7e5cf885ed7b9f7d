"""An ensemble with nothing to tune, as AutoAttack is for image classifiers (Croce and Hein 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.gradient import FGSM, PGD, Margin, margin
from marlrobust.attacks.momentum import APGDCrossEntropy, APGDRatio
from marlrobust.attacks.square import Square
from marlrobust.attacks.values import Critic, Targeted
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy, has_values, values_of

FLIPPING: tuple[type[Attack], ...] = (FGSM, PGD, Margin, APGDCrossEntropy, APGDRatio)
"""Cheap first: each is made on the states whose action still stands."""

QUERIES, STUCK = 1000, 1e-3
"""Of a random search where gradients lead nowhere: where they all raised the margin by less than STUCK."""

PASSES = 16
"""Forward passes over which the logits of a policy that is random are averaged."""

LOWERING: tuple[type[Attack], ...] = (Targeted, Critic)
"""Made on all states, where the policy has a critic: flipping an action is not yet harming the team."""


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """The strongest that we have, state by state, without a parameter.

    A perturbation that changes the argmax goes before one that does not; among those that do, the one that lowers
    the true state's value sum_a pi(a | s') Q(s, a, m) most, or by a policy without a critic raises the margin most.
    So it flips every state that one of its gradient attacks flips. Where none of them gets anywhere, which is not
    so with a network but with one that rounds what it sees or is saturated, a random search follows.
    """

    summary: ClassVar[str] = (
        "parameter-free ensemble, cheap members first, keeps the most harmful (Croce and Hein 2020)"
    )

    @torch.no_grad()
    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`."""
        search = _Search(policy, decisions.showing(decisions.dense))
        for kind in FLIPPING:
            search.offer(kind(threat=self.threat), ~search.flipped, rng)
        search.offer(Square(threat=self.threat, queries=QUERIES), ~search.flipped & (search.raised < STUCK), rng)
        if search.values is not None:
            for kind in LOWERING:
                search.offer(kind(threat=self.threat), torch.ones_like(search.flipped), rng)
        return search.best


class _Search:
    """The best perturbation of each state so far."""

    def __init__(self, policy: Policy, decisions: Decisions) -> None:
        self.policy, self.decisions = policy, decisions
        once, again = (policy.logits(decisions) for _ in range(2))
        self.passes = 1 if torch.equal(once, again) else PASSES
        logits = self._logits(decisions)
        self.actions = logits.argmax(1)
        self.margins = margin(logits, self.actions)
        self.raised = torch.zeros_like(self.margins)  # the margin, by the best of all attempts
        self.values = values_of(policy, decisions) if has_values(policy) else None
        self.best = decisions.dense.clone()
        self.flipped = torch.zeros_like(self.margins, dtype=torch.bool)
        self.harm = self._harm(logits, torch.arange(len(logits), device=logits.device))

    def offer(self, attack: Attack, on: Tensor, rng: torch.Generator) -> None:
        """Make `attack` on the states `on` (n,) bool, and keep what it does better."""
        rows = on.nonzero()[:, 0]
        if not len(rows):
            return
        clean = self.decisions.take(rows)
        tried = attack.move(self.policy, clean, rng)
        logits = self._logits(clean.showing(tried))
        risen = margin(logits, self.actions[rows]) - self.margins[rows]
        self.raised[rows] = torch.maximum(self.raised[rows], risen)
        flips, harm = logits.argmax(1) != self.actions[rows], self._harm(logits, rows)
        better = torch.where(flips == self.flipped[rows], harm > self.harm[rows], flips)
        rows, flips, harm = rows[better], flips[better], harm[better]
        self.best[rows], self.flipped[rows], self.harm[rows] = tried[better], flips, harm

    def _logits(self, decisions: Decisions) -> Tensor:
        """Logits (n, a), the mean of `passes`."""
        passes = [self.policy.logits(decisions) for _ in range(self.passes)]
        return passes[0] if self.passes == 1 else torch.stack(passes).mean(0)

    def _harm(self, logits: Tensor, rows: Tensor) -> Tensor:
        """How bad (n,) it is for the team to act by `logits` in the true states of `rows`."""
        if self.values is None:
            return margin(logits, self.actions[rows])
        return -(F.softmax(logits, 1) * self.values[rows]).sum(1)
