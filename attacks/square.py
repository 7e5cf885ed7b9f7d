"""A random search that asks for logits alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from marlrobust.attacks.attack import ATTACKS, Attack
from marlrobust.attacks.gradient import margin
from marlrobust.attacks.oracle import logits_of
from marlrobust.errors import UserError
from marlrobust.policies.networks import Policy

SHRINKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the windows are half as long: Square's own schedule."""


@ATTACKS.register("square")
@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Square attack on flat states: a window of features gets new random signs, kept where the margin grows.

    queries: forward passes a state; share: of the features, in the first windows; they shrink. What a square is to an
    image, a window of neighbouring features is to a state. In l_2 a window gets Gaussian noise, and the whole
    is brought back to the radius.
    """

    summary: ClassVar[str] = "gradient-free random search over windows of features (Andriushchenko et al. 2020)"

    queries: int = 200
    share: float = 0.8

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise UserError(f"queries must be at least 1, not {self.queries}")
        if not 0 < self.share <= 1:
            raise UserError(f"share must be above 0 and at most 1, not {self.share}")

    @torch.no_grad()
    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Attack.perturb`."""
        n, d = states.shape
        places = torch.arange(d, device=states.device)
        actions = logits_of(policy, states, mean_actions).argmax(1)
        best = self.threat.deliver(states, self._noise(n, d, rng, states.device))
        highest = margin(logits_of(policy, best, mean_actions), actions)
        for query in range(1, self.queries):
            halvings = sum(query > share * self.queries for share in SHRINKS)
            length = max(1, round(self.share * 0.5**halvings * d))
            first = torch.randint(d, (n, 1), generator=rng, device=rng.device).to(states.device)
            window = (places - first) % d < length
            noise = self._noise(n, d, rng, states.device)
            tried = self.threat.deliver(states, torch.where(window, noise, best - states))
            value = margin(logits_of(policy, tried, mean_actions), actions)
            better = value > highest
            best = torch.where(better[:, None], tried, best)
            highest = torch.where(better, value, highest)
        return best

    def _noise(self, n: int, d: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """(n, d): random corners of the box; in l_2, directions of the radius's length."""
        if self.threat.norm == "l_inf":
            signs = torch.randint(0, 2, (n, d), generator=rng, device=rng.device).to(device)
            return (signs * 2 - 1) * self.threat.radius
        noise = torch.randn(n, d, generator=rng, device=rng.device).to(device)
        noise *= self.threat.radius / noise.norm(dim=1, keepdim=True).clamp_min(1e-30)
        return noise
