"""PGD on small observations and networks of others, side by side with Foolbox and a plain loop.

    python -m benchmarks.small

All take the same module, observations, start, steps and step size, in one thread of one run; Foolbox and the plain
loop are given the clean actions, ours finds them. Times are of the processor, best of several interleaved repeats.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.pgd import EPSILON, STEP_SIZE, STEPS, interleaved
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.threat import Threat
from marlrobust.games.game import Decisions
from marlrobust.policies.adapters import as_policy

D, ACTIONS = 18, 5
"""Of simple_spread with three agents."""


class Wrapped(nn.Module):
    """A network behind a forward of its own, which can be read."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, states: Tensor) -> Any:
        return self.net(states)


class Scaled(Wrapped):
    """One that cannot be taken apart: autograd alone knows what it does."""

    def forward(self, states: Tensor) -> Any:
        return self.net(states) * 1.5


def networks() -> Mapping[str, nn.Module]:
    """Two hidden layers of common sizes."""

    def layers(h: int, kind: Callable[[], nn.Module]) -> nn.Module:
        return nn.Sequential(nn.Linear(D, h), kind(), nn.Linear(h, h), kind(), nn.Linear(h, ACTIONS))

    torch.manual_seed(0)
    return {
        "64 ReLU": layers(64, nn.ReLU),
        "64 tanh": layers(64, nn.Tanh),
        "256 ReLU": layers(256, nn.ReLU),
        "64 ReLU, own forward": Wrapped(layers(64, nn.ReLU)),
        "64 ReLU, scaled": Scaled(layers(64, nn.ReLU)),
    }


def measure(sizes: tuple[int, ...] = (8, 64, 512, 4096), repeats: int = 7) -> pd.DataFrame:
    """One row per network and number of states.

    Columns: network; states; us_per_state of ours, on decisions; how many times faster than Foolbox and than the
    plain loop it is, on decisions and on a plain tensor (`attack.perturb(module, states)`).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return pd.DataFrame([_row(name, net, n, repeats) for name, net in networks().items() for n in sizes])
    finally:
        torch.set_num_threads(threads)


def _row(name: str, net: nn.Module, n: int, repeats: int) -> dict[str, Any]:
    states = torch.randn(n, D, generator=torch.Generator().manual_seed(n))
    labels, policy, attack = net(states).argmax(1), as_policy(net), PGD(threat=Threat(), step_size=STEP_SIZE)
    decisions = Decisions.of(states)
    runs = [
        foolbox(net, states, labels),
        lambda: plain_loop(net, states, labels),
        lambda: attack.perturb(policy, decisions),
        lambda: attack.perturb(net, states),
    ]
    theirs, loop, ours, front = interleaved(runs, repeats * max(1, 512 // n))
    return {
        "network": name,
        "states": n,
        "us_per_state": ours / n * 1e6,
        "decisions_foolbox": theirs / ours,
        "decisions_loop": loop / ours,
        "tensor_foolbox": theirs / front,
        "tensor_loop": loop / front,
    }


def foolbox(net: nn.Module, states: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Foolbox's PGD, with bounds that nothing reaches."""
    from foolbox import PyTorchModel  # type: ignore[attr-defined]
    from foolbox.attacks import LinfPGD

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PyTorchModel(net.eval(), bounds=(-1000, 1000), device="cpu")
    attack = LinfPGD(rel_stepsize=STEP_SIZE / EPSILON, steps=STEPS, random_start=False)

    def run() -> Tensor:
        perturbed: Tensor = attack.run(model, states, labels, epsilon=EPSILON)
        return perturbed

    return run


def plain_loop(net: nn.Module, states: Tensor, labels: Tensor) -> Tensor:
    """What one writes first."""
    x = states.clone()
    for _ in range(STEPS):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(x), labels), x)
        x = x.detach() + STEP_SIZE * gradient.sign()
        x = torch.minimum(torch.maximum(x, states - EPSILON), states + EPSILON)
    return x


if __name__ == "__main__":
    print(measure().to_string(index=False))
