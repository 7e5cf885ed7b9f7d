"""Balls of perturbations, one class for each norm: what is different between l_inf and l_2 stands here alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ball(ABC):
    """All perturbations delta (n, d) whose rows have at most the length `radius` (in state units, a float32 number)."""

    signed: ClassVar[bool] = False
    """Whether the steepest direction is the sign of the gradient, so that its size does not matter."""

    radius: float

    @staticmethod
    @abstractmethod
    def length(delta: Tensor) -> Tensor:
        """The norm (n,) float64 of each row of `delta` (n, d)."""

    @abstractmethod
    def project(self, delta: Tensor) -> Tensor:
        """The nearest perturbation (n, d) float32 inside the ball; exact: its `length` is not above `radius`."""

    @staticmethod
    @abstractmethod
    def direction(gradient: Tensor) -> Tensor:
        """The steepest ascent (n, d) of length 1 along `gradient` (n, d); 0 where that is 0."""

    @abstractmethod
    def uniform(self, n: int, free: Tensor, rng: torch.Generator) -> Tensor:
        """Noise (n, d), uniform in the ball of the features `free` (d,) bool; the others may get noise too."""

    @abstractmethod
    def edge(self, n: int, d: int, rng: torch.Generator) -> Tensor:
        """Noise (n, d) as far out as it gets: random corners in l_inf, random directions in l_2."""

    @abstractmethod
    def per_feature(self, d: int) -> float:
        """The size of each of d features in a perturbation of length `radius` in which all are equal."""


class LInf(Ball):
    """l_inf: no feature changes by more than the radius."""

    signed: ClassVar[bool] = True

    @staticmethod
    def length(delta: Tensor) -> Tensor:
        """See `Ball.length`."""
        length: Tensor = torch.linalg.vector_norm(delta, torch.inf, dim=1, dtype=torch.float64)
        return length

    def project(self, delta: Tensor) -> Tensor:
        """See `Ball.project`."""
        return delta.clamp(-self.radius, self.radius)

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        """See `Ball.direction`."""
        return gradient.sign()

    def uniform(self, n: int, free: Tensor, rng: torch.Generator) -> Tensor:
        """See `Ball.uniform`."""
        return (torch.rand((n, len(free)), generator=rng, device=rng.device) * 2 - 1) * self.radius

    def edge(self, n: int, d: int, rng: torch.Generator) -> Tensor:
        """See `Ball.edge`."""
        return (torch.randint(0, 2, (n, d), generator=rng, device=rng.device) * 2 - 1) * self.radius

    def per_feature(self, d: int) -> float:
        """See `Ball.per_feature`."""
        return self.radius


class L2(Ball):
    """l_2: the root of the sum of the squared changes is not above the radius."""

    @staticmethod
    def length(delta: Tensor) -> Tensor:
        """See `Ball.length`."""
        length: Tensor = torch.linalg.vector_norm(delta, dim=1, dtype=torch.float64)
        return length

    def project(self, delta: Tensor) -> Tensor:
        """See `Ball.project`."""
        length = self.length(delta)[:, None]
        # A hair inside, for float64's own rounding; and each feature to float32 towards zero, however small.
        exact = delta.double() * (self.radius / length.clamp_min(1e-300) * (1 - 2**-40))
        shrunk = exact.float()
        over = shrunk.double().abs() > exact.abs()
        shrunk = torch.where(over, torch.nextafter(shrunk, torch.zeros_like(shrunk)), shrunk)
        return torch.where(length > self.radius, shrunk, delta)

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        """See `Ball.direction`."""
        # The largest number is divided out first: gradients of a sure policy are tiny, their squares 0.
        gradient = gradient / gradient.abs().amax(dim=1, keepdim=True).clamp_min(1e-38)
        unit: Tensor = gradient / torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(1e-30)
        return unit

    def uniform(self, n: int, free: Tensor, rng: torch.Generator) -> Tensor:
        """See `Ball.uniform`. A direction is uniform if it is Gaussian; a length is if its d-th power is."""
        noise = torch.randn((n, len(free)), generator=rng, device=rng.device)
        length = torch.rand((n, 1), generator=rng, device=rng.device)
        noise *= free.to(rng.device)
        noise *= self.radius * length ** (1 / max(1, int(free.sum()))) / _at_least_tiny(noise)
        return noise

    def edge(self, n: int, d: int, rng: torch.Generator) -> Tensor:
        """See `Ball.edge`."""
        noise = torch.randn((n, d), generator=rng, device=rng.device)
        noise *= self.radius / _at_least_tiny(noise)
        return noise

    def per_feature(self, d: int) -> float:
        """See `Ball.per_feature`."""
        size: float = self.radius / max(1, d) ** 0.5
        return size


def _at_least_tiny(noise: Tensor) -> Tensor:
    """The l_2 norm (n, 1) float32 of each row, never 0."""
    norm: Tensor = torch.linalg.vector_norm(noise, dim=1, keepdim=True)
    return norm.clamp_min(1e-30)


NORMS: dict[str, type[Ball]] = {"l_inf": LInf, "l_2": L2}
