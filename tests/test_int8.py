"""The integer ascent: its products are exact, it is taken where it may be, and float32 elsewhere."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marlrobust.attacks.fast import kernels
from marlrobust.attacks.fast.network import Grid, Int8Network
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.threat import Threat
from marlrobust.games.game import Decisions
from marlrobust.policies.layers import TwoHidden
from marlrobust.policies.mean_field import MeanFieldPolicy

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="the processor has no AVX2")
WITHOUT_VNNI = """
import sys
import llvmlite.binding
features = llvmlite.binding.get_host_cpu_features()
features["avx512vnni"] = False
llvmlite.binding.get_host_cpu_features = lambda: features
import pytest
from marlrobust.attacks.fast import kernels
assert kernels.available() == "avx2"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", sys.argv[1], "-k", "exact or signs or float32 or threads"]))
"""


def make_policy(**shape: Any) -> MeanFieldPolicy:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MeanFieldPolicy(50, 6, **{"hidden": 24, "embedding": 8, **shape})


def make_batch(n: int) -> Decisions:
    rng = torch.Generator().manual_seed(1)
    return Decisions.of(torch.randn(n, 50, generator=rng), torch.rand(n, 6, generator=rng))


@needs_kernels
@pytest.mark.parametrize("largest", [2, 8, 46, 100, 254])
@pytest.mark.parametrize("extreme", [False, True])
def test_products_are_exact(largest: int, extreme: bool) -> None:
    """Also where every factor is as large as it gets: the 16-bit sums must not overflow."""
    rng = np.random.default_rng(0)
    n, k, m, offset = 10, 200, 35, 3
    a = np.zeros((12, 208), np.uint8)
    a[:, :k] = largest if extreme else rng.integers(0, largest + 1, (12, k))
    weight = (rng.choice([-1.0, 1.0], m) if extreme else rng.normal(size=(k, m))) * np.ones((k, m))
    packed = kernels.pack(torch.from_numpy(weight.astype(np.float32)), largest, offset)
    out = np.zeros((12, 48), np.float32)
    kernels._multiply(a, 0, 12, packed, out)
    levels = kernels.most_levels(packed.run, largest)
    rounded = np.floor(weight.astype(np.float32) * (np.float32(levels) / abs(weight).max(0).astype(np.float32)) + 0.5)
    assert levels >= 22
    assert abs(rounded).max() == levels
    exact = (a[:, :k].astype(np.int64) - offset) @ rounded.astype(np.int64)
    np.testing.assert_allclose(out[:n, :m], (exact * packed.scale[:m])[:n], rtol=1e-6)


@needs_kernels
@pytest.mark.parametrize("step_size", [0.075, 0.075 / 4, 0.02, 2.5 * 0.075 / 63])
def test_one_step_has_the_signs_of_float32(step_size: float) -> None:
    """But for features whose gradient is next to nothing."""
    policy, decisions = make_policy(hidden=40), make_batch(90)
    moves = []
    for precision in ("auto", "float32"):
        attack = PGD(threat=Threat(), steps=1, step_size=step_size, precision=precision)
        moves.append(attack.perturb(policy, decisions, torch.Generator()) - decisions.dense)
    torch.testing.assert_close(moves[0].abs().median(), moves[1].abs().median(), rtol=1e-3, atol=1e-6)
    assert (moves[0].sign() == moves[1].sign()).float().mean() > 0.97


@needs_kernels
@pytest.mark.parametrize("parameters", [{}, {"start": "uniform", "steps": 5}, {"restarts": 2}])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_as_strong_as_float32(parameters: Any, masked: bool) -> None:
    policy, decisions = make_policy(hidden=96), make_batch(400)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(4)
    threat = Threat(features=torch.arange(50) % 2 == 0 if masked else None)
    with torch.no_grad():
        actions = policy.logits(decisions).argmax(1)
    losses = []
    for precision in ("auto", "float32"):
        attack = PGD(threat=threat, precision=precision, **parameters)
        perturbed = attack.perturb(policy, decisions, torch.Generator().manual_seed(2))
        losses.append(attack.loss(policy.logits(decisions.showing(perturbed)), actions).mean().item())
    assert losses[0] >= 0.99 * losses[1]


@pytest.mark.parametrize(
    ("share", "noise", "grid"),
    [
        (1.0, False, Grid(1, 1)),
        (0.25, False, Grid(1, 4)),
        (2.5 / 7, False, Grid(5, 14)),
        (0.25, True, Grid(4, 16)),
        (2.5, False, Grid(2, 1)),
        (2.5 / 1000, False, None),
    ],
)
def test_grids(share: float, noise: bool, grid: Grid | None) -> None:
    assert Grid.of(share * 0.075, 0.075, noise) == grid


def test_no_grid_for_a_ball_of_a_point() -> None:
    assert Grid.of(0.1, 0.0, False) is None


class Warm(MeanFieldPolicy):
    def logits(self, decisions: Decisions) -> Tensor:
        return super().logits(decisions) / 10


def test_only_our_own_untouched_network_is_taken_apart() -> None:
    taken = TwoHidden.of(policy := make_policy())
    assert taken is not None
    assert taken.forward is policy.actor
    assert TwoHidden.of(Warm(50, 6)) is None
    assert TwoHidden.of(nn.Linear(3, 3)) is None
    assert TwoHidden.of(make_policy().double()) is None
    hooked = make_policy()
    hooked.actor.out.register_forward_hook(lambda module, inputs, output: output * 2)
    assert TwoHidden.of(hooked) is None
    changed = make_policy()
    changed.actor.out = nn.Sequential(changed.actor.out, nn.LogSoftmax(dim=1))  # type: ignore[assignment]
    assert TwoHidden.of(changed) is None


@needs_kernels
@pytest.mark.parametrize(
    ("threat", "parameters", "taken"),
    [
        ({}, {}, True),
        ({}, {"restarts": 3, "start": "uniform"}, True),
        ({}, {"precision": "float32"}, False),
        ({}, {"steps": 1000}, False),
        ({"norm": "l_2"}, {}, False),
        ({"low": 0.0}, {}, False),
        ({"epsilon": 0.0}, {}, False),
    ],
)
def test_where_integers_are_taken(threat: Any, parameters: Any, taken: bool) -> None:
    attack = PGD(threat=Threat(**threat), **parameters)
    assert (attack._ways(make_policy(), 100).integers is not None) == taken


@needs_kernels
def test_float32_where_the_processor_has_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "available", lambda: "")
    assert Int8Network.of(make_policy(), Threat(), 0.02) is None
    arguments = (make_policy(), make_batch(5), torch.Generator())
    without = PGD(threat=Threat()).perturb(*arguments)
    assert torch.equal(without, PGD(threat=Threat(), precision="float32").perturb(*arguments))


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("mean_field", [True, False])
def test_threads_change_no_bit(threads: int, mean_field: bool) -> None:
    policy, decisions = make_policy(mean_field=mean_field), make_batch(300)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = PGD(threat=Threat()).perturb(policy, decisions, torch.Generator())
        torch.set_num_threads(threads)
        found = PGD(threat=Threat()).perturb(policy, decisions, torch.Generator())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(expected, found)


@pytest.mark.skipif(kernels.available() != "vnni", reason="all tests here are without VNNI as it is")
def test_products_and_strength_without_vnni() -> None:
    """The other form, on a processor that has both."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_VNNI, __file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
