"""The l_inf sign ascent on two hidden layers in 8-bit integers: several times the speed of float32.

It gives up little. A perturbation that starts at the state and moves by epsilon / 4 has nine levels, so it
is exact in a byte; of the gradient by the states only the signs are used, and those that rounding turns are
of features that matter least. What is delivered is computed in float32 and obeys the threat exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marlrobust.attacks.fast import kernels
from marlrobust.attacks.oracle import Loss
from marlrobust.attacks.threat import Threat
from marlrobust.policies.layers import TwoHidden

LEVELS = 127  # most levels on a side of a perturbation, for its stored form to fit a byte
LEVELS_OF_NOISE = 16  # least levels on a side that a random start is drawn from


@dataclass(frozen=True)
class Grid:
    """The perturbations that an ascent can reach: multiples of epsilon / levels, moved by `step` of them."""

    step: int
    levels: int

    @classmethod
    def of(cls, step_size: float, epsilon: float, noise: bool) -> Grid | None:
        """The coarsest grid for a step, fine enough for a random start if `noise`; None if there is none."""
        if not epsilon > 0:
            return None
        size = min(step_size / epsilon, 2.0)  # a longer step crosses the box all the same
        share = Fraction(size).limit_denominator(LEVELS)
        if abs(float(share) - size) > 1e-3 * size:
            return None
        times = -(-LEVELS_OF_NOISE // share.denominator) if noise else 1
        return cls(share.numerator * times, share.denominator * times)


class Weights:
    """A network's weights rounded for one grid, and the bounds of a perturbation on it."""

    def __init__(self, network: TwoHidden, threat: Threat, grid: Grid) -> None:
        self.grid, self.unit = grid, threat.radius / grid.levels
        w1, w2 = network.first, network.second
        high, gradients = 2 * grid.levels, 2 * kernels.BACKWARD_LEVELS
        first = kernels.pack(w1, high, grid.levels)
        self.forward = (
            first._replace(scale=first.scale * np.float32(self.unit)),
            kernels.pack(w2.t(), kernels.FORWARD_LEVELS, 0),
        )
        self.backward = (
            kernels.pack(w2, gradients, kernels.BACKWARD_LEVELS),
            kernels.pack(w1.t(), gradients, kernels.BACKWARD_LEVELS),
        )
        mask = threat.mask(len(w1))
        free = np.ones(len(w1), bool) if mask is None else mask.numpy()
        self.low = np.full(4 * first.panels.shape[1], grid.levels, np.uint8)  # as wide as the product takes
        self.high = self.low.copy()
        self.low[: len(w1)][free] = 0
        self.high[: len(w1)][free] = high


class Int8Network:
    """A network in integers for one threat and step: made anew for each call, as training changes weights."""

    def __init__(self, network: TwoHidden, threat: Threat, step_size: float) -> None:
        self.network, self.threat, self.step_size = network, threat, step_size
        self._weights: dict[bool, Weights] = {}

    @classmethod
    def of(cls, policy: Any, threat: Threat, step_size: float) -> Int8Network | None:
        """None where the processor, the policy or the step does not allow integers."""
        network = TwoHidden.of(policy) if kernels.available() else None
        no_grid = Grid.of(step_size, threat.radius, noise=False) is None
        return None if network is None or no_grid else cls(network, threat, step_size)

    def weights(self, noise: bool) -> Weights:
        """For ascents that start at the state, or from noise: those need a finer grid."""
        if noise not in self._weights:
            grid = Grid.of(self.step_size, self.threat.radius, noise)
            assert grid is not None
            self._weights[noise] = Weights(self.network, self.threat, grid)
        return self._weights[noise]

    def batch(self, states: Tensor, mean_actions: Tensor) -> Int8Batch:
        return Int8Batch(self, states, mean_actions)


class Int8Batch:
    """A batch of states: what does not depend on the perturbation is computed once, in float32.

    That is the states' part of the first layer, the mean action's part of the second, and `clean_logits`
    (n, a).
    """

    def __init__(self, network: Int8Network, states: Tensor, mean_actions: Tensor) -> None:
        self.network, self.states = network, states
        whole = network.network
        self.w3, self.b3 = whole.out, whole.out_bias
        self.first, self.second = whole.of_states(states), whole.of_means(mean_actions)  # (n, h) each
        h2 = torch.addmm(self.second, self.first.relu(), whole.second.t()).relu_()
        self.clean_logits = torch.addmm(self.b3, h2, self.w3.t())

    def ascend(self, loss: Loss, steps: int, start: torch.Generator | None) -> Tensor:
        """The perturbation (n, d) float32 after `steps`, from the states or from `start`'s noise."""
        weights, (n, d) = self.network.weights(noise=start is not None), self.states.shape
        delta = self._start(weights, start)
        h1, h2 = (torch.empty_like(self.first) for _ in range(2))
        first, second, a1, a2, w3 = (t.numpy() for t in (self.first, self.second, h1, h2, self.w3))

        def forward(moved: bool, rows: slice) -> None:
            inputs = (delta[_padded(rows)], moved, first[rows], second[rows])
            kernels.forward(*inputs, *weights.forward, a1[rows], a2[rows])

        def backward(gradient: npt.NDArray[np.float32], rows: slice) -> None:
            moves = (delta[_padded(rows)], weights.grid.step, weights.low, weights.high)
            kernels.backward(gradient[rows], a1[rows], a2[rows], w3, *weights.backward, *moves)

        with _Threads(n) as each:
            for step in range(steps):
                each(partial(forward, step > 0 or start is not None))
                _, by_logits = loss.slope(torch.addmm(self.b3, h2, self.w3.t()))
                # A sure policy's gradients are as small as 1e-45: their signs survive only if they grow.
                by_logits /= by_logits.abs().amax(dim=1, keepdim=True).clamp_min(1e-45)
                each(partial(backward, by_logits.numpy()))
        levels = torch.from_numpy(delta)[:n, :d].float()
        return levels.sub_(weights.grid.levels).mul_(weights.unit)

    def _start(self, weights: Weights, start: torch.Generator | None) -> npt.NDArray[np.uint8]:
        """The perturbation's levels, stored upwards from 0, with rows and columns to fill whole tiles."""
        (n, d), levels = self.states.shape, weights.grid.levels
        delta = np.full((-(-n // kernels.ROWS) * kernels.ROWS, len(weights.low)), levels, np.uint8)
        if start is not None:
            noise = torch.randint(2 * levels + 1, (n, d), generator=start, device=start.device)
            delta[:n, :d] = noise.cpu().numpy()
            np.clip(delta, weights.low, weights.high, out=delta)
        return delta


def _padded(rows: slice) -> slice:
    """The same rows of an array that was filled up to whole tiles."""
    return slice(rows.start, -(-rows.stop // kernels.ROWS) * kernels.ROWS)


class _Threads:
    """Runs a function on parts of the rows, in as many threads as torch uses; one part, and none, for one."""

    def __init__(self, n: int) -> None:
        threads = min(torch.get_num_threads(), -(-n // kernels.BLOCK))
        size = -(-n // max(1, threads) // kernels.BLOCK) * kernels.BLOCK
        self.parts = [slice(i, min(n, i + size)) for i in range(0, n, max(1, size))]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Callable[[Callable[[slice], None]], None]:
        return self.each

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def each(self, do: Callable[[slice], None]) -> None:
        for _ in (map if self.pool is None else self.pool.map)(do, self.parts):
            pass
