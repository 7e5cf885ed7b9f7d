"""Noise that knows nothing of the policy: what a gradient attack has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from marlrobust.attacks.attack import ATTACKS, Attack, Threat
from marlrobust.errors import UserError
from marlrobust.policies.networks import Policy


def uniform(threat: Threat, states: Tensor, rng: torch.Generator) -> Tensor:
    """Perturbations (n, d), uniform in the ball over the features that may change."""
    if threat.norm == "l_inf":
        noise = torch.rand(states.shape, generator=rng, device=rng.device) * 2 - 1
        return threat.project(noise.to(states.device) * threat.radius, states)
    # A direction is uniform if it is Gaussian; a radius is if its d-th power is.
    noise = torch.randn(states.shape, generator=rng, device=rng.device)
    radius = torch.rand((len(states), 1), generator=rng, device=rng.device)
    mask = threat.mask(states.shape[1], rng.device)
    if mask is not None:
        noise = noise * mask
    dimensions = max(1, states.shape[1] if mask is None else int(mask.sum()))
    noise *= threat.radius * radius ** (1 / dimensions) / noise.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return threat.project(noise.to(states.device), states)


@ATTACKS.register("random")
@dataclass(frozen=True, kw_only=True)
class RandomNoise(Attack):
    """Noise inside the ball.

    kind: "uniform" in the ball; "sign", a random corner of the l_inf box, or its direction at the l_2
    radius; "gaussian" with half the radius as its deviation, cut off at the ball (l_2: spread over the
    features).
    """

    summary: ClassVar[str] = "noise in the ball: uniform, random signs or Gaussian"

    kind: Literal["uniform", "sign", "gaussian"] = "uniform"

    def __post_init__(self) -> None:
        if self.kind not in ("uniform", "sign", "gaussian"):
            raise UserError(f"unknown kind of noise '{self.kind}': use 'uniform', 'sign' or 'gaussian'")

    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Attack.perturb`; the policy is not asked."""
        threat = self.threat
        if self.kind == "uniform":
            return threat.deliver(states, uniform(threat, states, rng))
        if self.kind == "sign":
            coins = torch.randint(0, 2, states.shape, generator=rng, device=rng.device)
            noise, length = (coins * 2 - 1).float(), 1.0
        else:
            noise, length = torch.randn(states.shape, generator=rng, device=rng.device), 0.5
        scale = threat.radius * length
        if threat.norm == "l_2":
            scale /= max(1, states.shape[1]) ** 0.5
        return threat.deliver(states, noise.to(states.device) * scale)
