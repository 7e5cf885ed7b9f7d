"""The l_inf sign ascent on our own network in 8-bit integers: several times the speed of float32.

It gives up little. A perturbation that starts at the state and moves by epsilon / 4 has nine levels, so it
is exact in a byte; of the gradient by the states only the signs are used, and those that rounding turns are
of features that matter least. What is delivered is computed in float32 and obeys the threat exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from marlrobust.attacks import kernels
from marlrobust.attacks.oracle import loss_and_gradient, mean_action_part
from marlrobust.policies.networks import MeanFieldNetwork
from marlrobust.policies.sparse import compress_if_sparse

LEVELS = 127  # most levels on a side of a perturbation, for its stored form to fit a byte
LEVELS_OF_NOISE = 16  # least levels on a side that a random start is drawn from


@dataclass(frozen=True)
class Grid:
    """The perturbations that an ascent can reach: multiples of epsilon / levels, moved by `step` of them."""

    step: int
    levels: int

    @classmethod
    def of(cls, step_size: float, epsilon: float, noise: bool) -> Grid | None:
        """The coarsest grid for a step, fine enough for a random start with `noise`; None if there is none."""
        if not epsilon > 0:
            return None
        size = min(step_size / epsilon, 2.0)  # a longer step crosses the box all the same
        share = Fraction(size).limit_denominator(LEVELS)
        if abs(float(share) - size) > 1e-3 * size:
            return None
        times = -(-LEVELS_OF_NOISE // share.denominator) if noise else 1
        return cls(share.numerator * times, share.denominator * times)


class Int8Ascent:
    """Ascents on one network and one grid; its weights are rounded here, at each construction.

    features: (d,) bool, which may be perturbed; None is all.
    """

    def __init__(
        self, network: MeanFieldNetwork, grid: Grid, epsilon: float, features: Tensor | None
    ) -> None:
        self.network, self.grid = network, grid
        self.unit = epsilon / grid.levels
        w1 = network.state.weight.detach()  # (d, h)
        self.size, hidden = w1.shape
        w2 = network.hidden.weight.detach()[:, :hidden]  # (h, h), without the embedding's columns
        self.w3, self.b3 = network.out.weight.detach(), network.out.bias.detach()
        high, gradients = 2 * grid.levels, 2 * kernels.BACKWARD_LEVELS
        first = kernels.pack(w1.numpy(), high, grid.levels)
        self.w1 = first._replace(scale=first.scale * np.float32(self.unit))
        self.w2 = kernels.pack(w2.t().numpy(), kernels.FORWARD_LEVELS, 0)
        self.w2_back = kernels.pack(w2.numpy(), gradients, kernels.BACKWARD_LEVELS)
        self.w1_back = kernels.pack(w1.t().numpy(), gradients, kernels.BACKWARD_LEVELS)
        free = np.ones(self.size, bool) if features is None else features.numpy()
        self.low = np.full(4 * self.w1.panels.shape[1], grid.levels, np.uint8)
        self.high = self.low.copy()
        self.low[: self.size][free] = 0
        self.high[: self.size][free] = high

    def __call__(
        self,
        states: Tensor,
        mean_actions: Tensor,
        loss: Callable[[Tensor], Tensor],
        steps: int,
        rng: torch.Generator | None,
    ) -> Tensor:
        """The perturbation (n, d) float32 after `steps`, from a random start if there is an `rng`."""
        n, hidden = len(states), len(self.w3[0])
        delta = np.full((-(-n // 4) * 4, len(self.low)), self.grid.levels, np.uint8)
        if rng is not None:
            noise = torch.randint(
                0, 2 * self.grid.levels + 1, states.shape, generator=rng, device=rng.device, dtype=torch.uint8
            )
            delta[:n, : self.size] = noise.cpu().numpy().clip(self.low[: self.size], self.high[: self.size])
        with torch.no_grad():
            first = self.network.state(compress_if_sparse(states)).numpy()
            second = mean_action_part(self.network, mean_actions).numpy()
            h1, h2 = torch.empty(n, hidden), torch.empty(n, hidden)
            gradient = torch.empty(n, hidden)
            for step in range(steps):
                moved = step > 0 or rng is not None
                kernels.forward(delta, moved, first, second, self.w1, self.w2, h1.numpy(), h2.numpy())
                _, by_logits = loss_and_gradient(loss, torch.addmm(self.b3, h2, self.w3.t()))
                torch.mm(by_logits, self.w3, out=gradient)
                kernels.backward(
                    gradient.numpy(), h1.numpy(), h2.numpy(), self.w2_back, self.w1_back,
                    delta, self.grid.step, self.low, self.high,
                )  # fmt: skip
            levels = torch.from_numpy(delta)[:n, : self.size].float()
            return levels.sub_(self.grid.levels).mul_(self.unit)
