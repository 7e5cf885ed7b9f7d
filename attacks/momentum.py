"""Ascents that remember: momentum, and steps that shrink where they gain nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from marlrobust.attacks.gradient import PGD, GradientAttack, StepRule, Steps, StepSize, margin


@dataclass(frozen=True, kw_only=True)
class MIM(PGD):
    """PGD along a running sum of gradients, each scaled to an l_1 norm of 1. decay: of the sum, at least 0."""

    summary: ClassVar[str] = "PGD with momentum (Dong et al. 2018)"

    decay: Annotated[float, Field(ge=0, description="Of the running sum, per step.")] = 1.0

    def step_rule(self, states: Tensor) -> StepRule:
        """See `GradientAttack.step_rule`."""
        total = torch.zeros_like(states)

        def step(delta: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
            gradient = gradient / gradient.abs().amax(dim=1, keepdim=True).clamp_min(1e-38)
            total.mul_(self.decay).add_(gradient / gradient.abs().sum(1, keepdim=True).clamp_min(1e-30))
            return torch.add(delta, self.threat.direction(total), alpha=self._step_size())

        return step


@dataclass(frozen=True, kw_only=True)
class APGD(GradientAttack):
    """Auto-PGD: steps of 2 epsilon to begin with, halved for a state that stops gaining, and momentum."""

    keep_best: ClassVar[bool] = True

    steps: Steps = 20
    step_size: StepSize | None = field(default=None, init=False)

    def step_rule(self, states: Tensor) -> StepRule:
        """See `GradientAttack.step_rule`."""
        return _AutoSteps(self, states)


@dataclass(frozen=True, kw_only=True)
class APGDCrossEntropy(APGD, PGD):
    """APGD on the cross-entropy."""

    summary: ClassVar[str] = "auto-PGD on the cross-entropy: no step size to choose (Croce and Hein 2020)"


@dataclass(frozen=True, kw_only=True)
class APGDRatio(APGD):
    """APGD on the difference of logits ratio, which no rescaling of the logits changes."""

    summary: ClassVar[str] = "auto-PGD on the difference of logits ratio (Croce and Hein 2020)"

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """(max over a != a* of z_a - z_a*) / (z_(1) - z_(3)): (n,) from logits (n, a) and the actions a* (n,)."""
        order = logits.sort(1, descending=True).values
        spread = order[:, 0] - order[:, min(2, order.shape[1] - 1)]
        return margin(logits, reference) / spread.clamp_min(1e-12)


class _AutoSteps:
    """Algorithm 1 of Croce and Hein 2020, for a batch: each state has its own step size and best point."""

    GAINING, MOMENTUM = 0.75, 0.25

    def __init__(self, attack: APGD, states: Tensor) -> None:
        self.attack, self.states = attack, states
        self.size = torch.full((len(states), 1), 2 * attack.threat.radius, device=states.device)
        self.step, self.gains = 0, torch.zeros(len(states), device=states.device)
        self.checkpoints = _checkpoints(attack.steps)
        self.last = 0  # step of the last checkpoint
        self.halved = torch.ones(len(states), dtype=torch.bool, device=states.device)

    def __call__(self, delta: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        if self.step == 0:
            self.before, self.loss_before = delta, loss
            self.best, self.best_loss, self.best_gradient = delta, loss, gradient
            self.best_loss_then = loss
        else:
            self.gains += loss > self.loss_before
            better = loss > self.best_loss
            self.best = torch.where(better[:, None], delta, self.best)
            self.best_gradient = torch.where(better[:, None], gradient, self.best_gradient)
            self.best_loss = torch.where(better, loss, self.best_loss)
            self.loss_before = loss
        if self.step in self.checkpoints:
            delta, gradient = self._check(delta, gradient)
        momentum = self.MOMENTUM if self.step else 0.0
        ahead = self._project(delta + self.size * self.attack.threat.direction(gradient))
        following = delta + (1 - momentum) * (ahead - delta) + momentum * (delta - self.before)
        self.before = delta
        self.step += 1
        return following

    def _check(self, delta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the steps of states that gain too seldom, or nothing since; those go on from their best point."""
        seldom = self.gains < self.GAINING * (self.step - self.last)
        stuck = ~self.halved & (self.best_loss <= self.best_loss_then)
        self.halved = seldom | stuck
        self.size = torch.where(self.halved[:, None], self.size / 2, self.size)
        self.last, self.best_loss_then = self.step, self.best_loss
        self.gains.zero_()
        back = self.halved[:, None]
        return torch.where(back, self.best, delta), torch.where(back, self.best_gradient, gradient)

    def _project(self, delta: Tensor) -> Tensor:
        return self.attack.threat.project(delta, self.states)


def _checkpoints(steps: int) -> set[int]:
    """Steps at which the step sizes are looked at: at shares 0.22, 0.41, 0.57, ... of them, ever closer."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return {math.ceil(share * steps) for share in shares[1:-1]}
