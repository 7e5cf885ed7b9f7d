"""What an attack is: a threat (how far it may go) and a way to perturb states inside it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marlrobust.attacks.rounding import add_inwards
from marlrobust.errors import UserError
from marlrobust.policies.networks import Policy
from marlrobust.policies.runs import StoredPolicy
from marlrobust.registry import Registry


@dataclass(frozen=True)
class Threat:
    """How far a state may be moved: the ball B(s), the valid range, the features that may change.

    epsilon: the ball's radius in state units. low, high: valid range of a feature; None does not clip, the
    default, since states are not all in [0, 1]. features: (d,) bool, True where the state may be perturbed;
    None is all of it. Raises UserError for a value out of range.

    Numbers are rounded to float32 inwards (the radius and `high` down, `low` up), so that what is delivered
    obeys the number that was asked for as well as its float32.
    """

    norm: Literal["l_inf", "l_2"] = "l_inf"
    epsilon: float = 0.075
    low: float | None = None
    high: float | None = None
    features: Sequence[bool] | npt.NDArray[np.bool_] | Tensor | None = None

    def __post_init__(self) -> None:
        if self.norm not in ("l_inf", "l_2"):
            raise UserError(f"unknown norm '{self.norm}': use 'l_inf' or 'l_2'")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise UserError(f"epsilon must be a finite number >= 0, not {self.epsilon}")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise UserError(f"the valid range is empty: low {self.low}, high {self.high}")
        if self.features is not None:
            mask = torch.as_tensor(self.features)
            if mask.dtype != torch.bool or mask.dim() != 1:
                raise UserError("features must be one bool for each feature of a state, not indices")
            object.__setattr__(self, "features", tuple(mask.tolist()))  # comparable, hashable

    @property
    def radius(self) -> float:
        """The largest float32 that is not above epsilon."""
        return _float32(self.epsilon, -math.inf)

    def mask(self, size: int, device: torch.device | str = "cpu") -> Tensor | None:
        """(d,) bool, True where a feature may be perturbed; None where all may."""
        if self.features is None:
            return None
        if len(self._mask) != size:
            raise UserError(f"the threat has a mask of {len(self._mask)} features, the states have {size}")
        return self._mask.to(device)

    @cached_property
    def _mask(self) -> Tensor:
        return torch.as_tensor(self.features)

    def project(self, delta: Tensor, states: Tensor) -> Tensor:
        """The nearest perturbation (n, d) to `delta` that is inside the ball, the range and the mask."""
        mask = self.mask(states.shape[1], states.device)
        if mask is not None:
            delta = torch.where(mask, delta, 0.0)
        if self.norm == "l_inf":
            delta = delta.clamp(-self.radius, self.radius)
        else:
            norm = torch.linalg.vector_norm(delta, dim=1, keepdim=True, dtype=torch.float64)
            # A hair inside, for float64's own rounding; and each feature to float32 towards zero, however small.
            exact = delta.double() * (self.radius / norm.clamp_min(1e-300) * (1 - 2**-40))
            shrunk = exact.float()
            over = shrunk.double().abs() > exact.abs()
            shrunk = torch.where(over, torch.nextafter(shrunk, torch.zeros_like(shrunk)), shrunk)
            delta = torch.where(norm > self.radius, shrunk, delta)
        if self.low is not None or self.high is not None:
            moved = add_inwards(states, delta)
            clipped = self._clip(moved, states)
            delta = torch.where(clipped == moved, delta, clipped - states)
        return delta

    def deliver(self, states: Tensor, delta: Tensor) -> Tensor:
        """The perturbed states (n, d) float32 for a perturbation that need not be inside the threat.

        Exact where it counts: |delivered - states| <= epsilon in float32 and in float64 (l_2: its float64
        norm), no feature leaves the valid range that was inside it, and a feature that may not change, or
        has no perturbation, keeps its bits.
        """
        return self._clip(add_inwards(states, self.project(delta, states)), states)

    def _clip(self, moved: Tensor, states: Tensor) -> Tensor:
        """`moved` inside the valid range; a feature that was outside it may come nearer, not go farther."""
        if self.low is not None:
            moved = torch.maximum(moved, states.clamp_max(_float32(self.low, math.inf)))
        if self.high is not None:
            moved = torch.minimum(moved, states.clamp_min(_float32(self.high, -math.inf)))
        return moved

    def parameters(self) -> dict[str, Any]:
        """The threat as JSON-able values; the mask as the indices of the features that may change."""
        features = None if self.features is None else self._mask.nonzero().flatten().tolist()
        return {
            "norm": self.norm,
            "epsilon": self.epsilon,
            "low": self.low,
            "high": self.high,
            "features": features,
        }


def _float32(x: float, towards: float) -> float:
    """The nearest float32 to x that is not beyond it, seen from `towards`."""
    y = np.float32(x)
    beyond = float(y) > x if towards < x else float(y) < x
    return float(np.nextafter(y, np.float32(towards))) if beyond else float(y)


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Perturbs states inside a threat. A subclass is a frozen dataclass whose fields are its parameters."""

    summary: ClassVar[str] = ""
    """One line for `marlrobust list attacks`: what it does, and the paper it comes from."""

    threat: Threat

    @classmethod
    def resolved(cls, parameters: Mapping[str, Any], victim: StoredPolicy) -> dict[str, Any]:
        """The parameters as a sweep stores them: with what they mean on this policy, files by their hashes.

        Raises UserError, before anything is played, for what is not there.
        """
        return dict(parameters)

    @abstractmethod
    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """Perturbed states (n, d) float32, inside the threat.

        states: (n, d) float32; mean_actions: (n, a) float32; n may be 0. rng: the only source of
        randomness. Changes neither its arguments, nor the policy's mode, gradients or parameters.
        """

    def parameters(self) -> dict[str, Any]:
        """Every parameter, defaults included, as JSON-able values: what a row needs to repeat the attack."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "threat"}
        return {"threat": self.threat.parameters(), **own}


ATTACKS: Registry[type[Attack]] = Registry("attack", "marlrobust.attacks")
"""Every attack by name; an installed package adds its own by an entry point of this group."""
