"""A random search that asks for logits alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.gradient import margin
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy

SHRINKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the windows are half as long: Square's own schedule."""


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Square attack on flat states: a window of features gets new random signs, kept where the margin grows.

    queries: forward passes per state; share: of the features, in the first windows; they shrink. What a square is
    to an image, a window of neighbouring features is to a state. In l_2 a window gets Gaussian noise, and the whole
    is brought back to the radius.
    """

    summary: ClassVar[str] = "gradient-free random search over windows of features (Andriushchenko et al. 2020)"

    queries: Annotated[int, Field(ge=1, description="Forward passes per state.")] = 200
    share: Annotated[float, Field(gt=0, le=1, description="Share of the features in the first windows.")] = 0.8

    @torch.no_grad()
    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`."""
        states, edge = decisions.dense, self.threat.ball.edge
        n, d = states.shape
        places = torch.arange(d, device=states.device)
        actions = policy.logits(decisions).argmax(1)
        best = self.threat.deliver(states, edge(n, d, rng).to(states.device))
        highest = margin(policy.logits(decisions.showing(best)), actions)
        for query in range(1, self.queries):
            halvings = sum(query > share * self.queries for share in SHRINKS)
            length = max(1, round(self.share * 0.5**halvings * d))
            first = torch.randint(d, (n, 1), generator=rng, device=rng.device).to(states.device)
            window = (places - first) % d < length
            noise = edge(n, d, rng).to(states.device)
            tried = self.threat.deliver(states, torch.where(window, noise, best - states))
            value = margin(policy.logits(decisions.showing(tried)), actions)
            better = value > highest
            best = torch.where(better[:, None], tried, best)
            highest = torch.where(better, value, highest)
        return best
