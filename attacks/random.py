"""Noise that knows nothing of the policy: what a gradient attack has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy


@dataclass(frozen=True, kw_only=True)
class RandomNoise(Attack):
    """Noise inside the ball.

    kind: "uniform" in the ball; "sign", a random corner of the l_inf box, or its direction at the l_2
    radius; "gaussian" with half the radius as its deviation, cut off at the ball (l_2: spread over the
    features).
    """

    summary: ClassVar[str] = "noise in the ball: uniform, random signs or Gaussian"
    continuous: ClassVar[bool] = True

    kind: Annotated[Literal["uniform", "sign", "gaussian"], Field(description="Distribution of the noise.")] = "uniform"

    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`; the policy is not asked."""
        states, threat = decisions.dense, self.threat
        if self.kind == "uniform":
            return threat.deliver(states, threat.uniform(states, rng))
        if self.kind == "sign":
            coins = torch.randint(0, 2, states.shape, generator=rng, device=rng.device)
            noise, length = (coins * 2 - 1).float(), 1.0
        else:
            noise, length = torch.randn(states.shape, generator=rng, device=rng.device), 0.5
        scale = threat.ball.per_feature(states.shape[1]) * length
        return threat.deliver(states, noise.to(states.device) * scale)
