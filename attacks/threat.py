"""A threat: how far an attack may go. What it delivers obeys it to the last bit of float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PlainValidator
from torch import Tensor

from marlrobust.attacks.fast.rounding import add_inwards, add_inwards_in_kind
from marlrobust.attacks.norms import NORMS, Ball
from marlrobust.errors import UserError
from marlrobust.parameters import Parameters


def _bools(features: Any) -> tuple[bool, ...] | None:
    """As a tuple, which can be compared and hashed."""
    if features is None:
        return None
    mask = torch.as_tensor(features)
    if mask.dtype != torch.bool or mask.dim() != 1:
        raise ValueError("give one bool for each feature of a state, not indices")
    return tuple(mask.tolist())


def _ends(given: Any) -> float | tuple[float, ...] | None:
    """One end of the valid range for all features; or one for each, infinite where there is none."""
    if given is None or isinstance(given, int | float):
        if given is not None and not math.isfinite(given):
            raise ValueError("input should be a finite number")
        return None if given is None else float(given)
    ends = tuple(float(end) for end in given)
    if any(math.isnan(end) for end in ends):
        raise ValueError("an end of the valid range is no number")
    return ends


Ends = float | Sequence[float] | npt.NDArray[np.floating[Any]] | None
Features = Sequence[bool] | npt.NDArray[np.bool_] | Tensor | None


@dataclass(frozen=True)
class Threat(Parameters):
    """How far a state may be moved: the ball B(s), the valid range, the features that may change.

    epsilon: the ball's radius in state units. low, high: valid range of a feature, one for all or (d,), one for each,
    infinite where there is no end; None does not clip, the default, since states are not all in [0, 1]. features: (d,)
    bool, True where the state may be perturbed; None is all of it. Raises UserError for a value out of range.

    Numbers are rounded to float32 inwards (the radius and `high` down, `low` up), so that what is delivered
    obeys the number that was asked for as well as its float32.
    """

    norm: Annotated[Literal["l_inf", "l_2"], Field(description="Norm of the ball.")] = "l_inf"
    epsilon: Annotated[float, Field(ge=0, description="Radius of the ball, in state units.")] = 0.075
    low: Annotated[
        Ends, PlainValidator(_ends), Field(description="Least valid value of a feature; none does not clip.")
    ] = None
    high: Annotated[
        Ends, PlainValidator(_ends), Field(description="Largest valid value of a feature; none does not clip.")
    ] = None
    features: Annotated[Features, PlainValidator(_bools), Field(description="Which features may change.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is not None and self.high is not None and np.any(np.asarray(self.low) > np.asarray(self.high)):
            raise UserError(f"the valid range is empty: low {self.low}, high {self.high}")

    @property
    def ranged(self) -> bool:
        """Whether there is a valid range."""
        return self.low is not None or self.high is not None

    @property
    def radius(self) -> float:
        """The largest float32 that is not above epsilon."""
        return _float32(self.epsilon, -math.inf)

    @cached_property
    def ball(self) -> Ball:
        """The perturbations of at most this radius, in this norm."""
        return NORMS[self.norm](self.radius)

    def mask(self, size: int, device: torch.device | str = "cpu") -> Tensor | None:
        """(d,) bool, True where a feature may be perturbed; None where all may.

        Raises UserError where the mask is not of this size.
        """
        if self.features is None:
            return None
        if len(self._mask) != size:
            raise UserError(f"the threat has a mask of {len(self._mask)} features, the states have {size}")
        return self._mask.to(device)

    @cached_property
    def _mask(self) -> Tensor:
        return torch.as_tensor(self.features)

    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest ascent (n, d) of length 1 in the threat's norm, over the features that may change."""
        mask = self.mask(gradient.shape[1], gradient.device)
        return self.ball.direction(gradient if mask is None else gradient * mask)

    def uniform(self, states: Tensor, rng: torch.Generator) -> Tensor:
        """Perturbations (n, d) of `states` (n, d), uniform in the ball over the features that may change."""
        n, d = states.shape
        mask = self.mask(d)
        free = torch.ones(d, dtype=torch.bool) if mask is None else mask
        return self.project(self.ball.uniform(n, free, rng).to(states.device), states)

    def project(self, delta: Tensor, states: Tensor) -> Tensor:
        """The nearest perturbation (n, d) to `delta` that is inside the ball, the range and the mask."""
        mask = self.mask(states.shape[1], states.device)
        if mask is not None:
            delta = torch.where(mask, delta, 0.0)
        delta = self.ball.project(delta)
        if self.ranged:
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

    def carry(self, states: Tensor, seen: Tensor, moved: Tensor) -> Tensor:
        """`moved`, delivered for `seen` (both (n, d) float32), as a perturbation of `states` of any float type.

        seen: what float32 makes of `states`. The same promise as `deliver`, in the type of `states`.
        """
        if states.dtype == torch.float32:
            return moved if moved is not states else states.clone()
        return self._clip(add_inwards_in_kind(states, moved.double() - seen.double()), states)

    def _clip(self, moved: Tensor, states: Tensor) -> Tensor:
        """`moved` inside the valid range; a feature that was outside it may come nearer, not go farther."""
        inwards = _exact if states.dtype == torch.float64 else _float32
        if self.low is not None:
            moved = torch.maximum(moved, torch.minimum(states, self._end(self.low, math.inf, inwards, states)))
        if self.high is not None:
            moved = torch.minimum(moved, torch.maximum(states, self._end(self.high, -math.inf, inwards, states)))
        return moved

    def _end(self, end: Any, towards: float, inwards: Callable[[float, float], float], states: Tensor) -> Tensor:
        """An end of the range, one number or (d,), in the type of `states` (n, d) and rounded inwards."""
        if isinstance(end, tuple) and len(end) != states.shape[1]:
            raise UserError(f"the threat has a range of {len(end)} features, the states have {states.shape[1]}")
        key = (end is self.low, states.dtype, states.device)
        if key not in self._known_ends:
            rounded = [inwards(x, towards) for x in end] if isinstance(end, tuple) else inwards(end, towards)
            self._known_ends[key] = torch.tensor(rounded, dtype=states.dtype, device=states.device)
        return self._known_ends[key]

    @cached_property
    def _known_ends(self) -> dict[Any, Tensor]:
        return {}

    def parameters(self) -> dict[str, Any]:
        """The threat as JSON-able values; the mask as the indices of the features that may change."""
        features = None if self.features is None else self._mask.nonzero().flatten().tolist()
        return {
            "norm": self.norm,
            "epsilon": self.epsilon,
            "low": _json(self.low),
            "high": _json(self.high),
            "features": features,
        }


def _json(ends: Any) -> Any:
    """None for an infinite end."""
    return [end if math.isfinite(end) else None for end in ends] if isinstance(ends, tuple) else ends


def _exact(x: float, towards: float) -> float:
    """x, which a Python float holds as it is."""
    return x


def _float32(x: float, towards: float) -> float:
    """The nearest float32 to x that is not beyond it, seen from `towards`."""
    y = np.float32(x)
    beyond = float(y) > x if towards < x else float(y) < x
    return float(np.nextafter(y, np.float32(towards))) if beyond else float(y)
