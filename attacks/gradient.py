"""Gradient attacks: one ascent loop; an attack is a loss and, if it likes, a step rule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import ATTACKS, Attack
from marlrobust.attacks.oracle import AutogradOracle, NetworkOracle, Oracle, logits_of, network_of
from marlrobust.attacks.random import uniform
from marlrobust.errors import UserError
from marlrobust.policies.networks import Policy

CHUNK = 256  # states perturbed together: what a step touches then stays in the cache

StepRule = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From delta (n, d), the gradient (n, d) and the loss (n,) there to the next delta, not yet projected."""


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """Ascent on `loss` over the perturbation, projected on the threat after each step.

    steps: gradient steps. step_size: in state units; None is 2.5 * epsilon / steps, with which an ascent can
    cross the ball from any start. restarts: ascents from different starts; the one with the highest loss is
    kept, state by state. start: "state" (eq. 11 of Zhou and Liu 2022) or "uniform" in the ball; restarts
    after the first are always uniform.

    A new attack writes `loss`; one that compares with something else than the clean action writes
    `reference`; one that steps otherwise writes `step_rule`.
    """

    steps: int = 10
    step_size: float | None = None
    restarts: int = 1
    start: Literal["state", "uniform"] = "state"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise UserError(f"steps and restarts must be at least 1, not {self.steps} and {self.restarts}")
        if self.step_size is not None and not self.step_size > 0:
            raise UserError(f"step_size must be above 0, not {self.step_size}")
        if self.start not in ("state", "uniform"):
            raise UserError(f"unknown start '{self.start}': use 'state' or 'uniform'")

    @abstractmethod
    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """What is ascended, for each state: (n,) from logits (n, a) and what `reference` returned."""

    def reference(self, policy: Policy, states: Tensor, mean_actions: Tensor, logits: Tensor) -> Tensor:
        """What the loss compares with, (n, ...), from the clean states and logits: the clean actions (n,)."""
        return logits.argmax(dim=1)

    def step_rule(self) -> StepRule:
        """A new ascent's step: along the gradient's sign in l_inf, along the gradient in l_2."""

        def step(delta: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
            if self.threat.norm == "l_inf":
                return torch.add(delta, gradient.sign(), alpha=self._step_size())
            mask = self.threat.mask(gradient.shape[1], gradient.device)
            if mask is not None:
                gradient = gradient * mask
            # The largest number is divided out first: gradients of a sure policy are tiny, their squares 0.
            gradient = gradient / gradient.abs().amax(dim=1, keepdim=True).clamp_min(1e-38)
            length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(1e-30)
            return delta + gradient * (self._step_size() / length)

        return step

    def _step_size(self) -> float:
        return 2.5 * self.threat.radius / self.steps if self.step_size is None else self.step_size

    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Attack.perturb`."""
        with torch.inference_mode(False), torch.no_grad():
            states, mean_actions = states.detach().clone(), mean_actions.detach().clone()
            reference = self.reference(policy, states, mean_actions, logits_of(policy, states, mean_actions))
            best = self._ascend(policy, states, mean_actions, reference, rng, self.start)
            if self.restarts == 1:
                return best
            best_loss = self.loss(logits_of(policy, best, mean_actions), reference)
            for _ in range(self.restarts - 1):
                other = self._ascend(policy, states, mean_actions, reference, rng, "uniform")
                loss = self.loss(logits_of(policy, other, mean_actions), reference)
                better = loss > best_loss
                best = torch.where(better[:, None], other, best)
                best_loss = torch.where(better, loss, best_loss)
            return best

    def _ascend(
        self,
        policy: Policy,
        states: Tensor,
        mean_actions: Tensor,
        reference: Tensor,
        rng: torch.Generator,
        start: str,
    ) -> Tensor:
        """One ascent from `start` for all states, chunk by chunk: perturbed states (n, d)."""
        perturbed = torch.empty_like(states)
        network = network_of(policy)
        for rows in torch.arange(len(states)).split(CHUNK):
            i = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0)
            s, m, r = states[i], mean_actions[i], reference[i]

            def loss(logits: Tensor, r: Tensor = r) -> Tensor:
                return self.loss(logits, r)

            oracle: Oracle = (
                AutogradOracle(policy, s, m, loss) if network is None else NetworkOracle(network, s, m, loss)
            )
            delta = torch.zeros_like(s) if start == "state" else uniform(self.threat, s, rng)
            step = self.step_rule()
            for _ in range(self.steps):
                gradient, value = oracle(delta)
                delta = self.threat.project(step(delta, gradient, value), s)
            perturbed[i] = self.threat.deliver(s, delta)
        return perturbed


@ATTACKS.register("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD(GradientAttack):
    """Projected gradient descent on the cross-entropy to the clean action, as an ascent (eq. 11)."""

    summary: ClassVar[str] = "projected gradient ascent on the cross-entropy (Madry et al. 2018)"

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Cross-entropy of raw logits (n, a) to the clean actions (n,)."""
        return F.cross_entropy(logits, reference, reduction="none")


@ATTACKS.register("fgsm")
@dataclass(frozen=True, kw_only=True)
class FGSM(PGD):
    """The fast gradient sign method: PGD with one step of epsilon from the state."""

    summary: ClassVar[str] = "one gradient step of epsilon (Goodfellow et al. 2015)"

    steps: int = field(default=1, init=False)
    step_size: float | None = field(default=None, init=False)
    restarts: int = field(default=1, init=False)
    start: Literal["state", "uniform"] = field(default="state", init=False)

    def _step_size(self) -> float:
        return self.threat.radius
