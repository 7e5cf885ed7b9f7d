"""`attack.perturb` on what users have: any kind of array, float type and shape of an observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marlrobust.attacks import ATTACKS, Attack, Threat
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy

EPSILON, N, ACTIONS = 0.1, 40, 5
SHAPES = pytest.mark.parametrize("shape", [(18,), (3, 8, 8)], ids=str)
KINDS = pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
NORMS = pytest.mark.parametrize("norm", ["l_inf", "l_2"])
NAMES = pytest.mark.parametrize("name", ["pgd", "apgd-ce", "square", "random", "auto"])


def network(shape: tuple[int, ...]) -> nn.Module:
    """Convolutions for images, else layers of numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if len(shape) == 3:
            return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, ACTIONS))
        return nn.Sequential(nn.Linear(18, 32), nn.Tanh(), nn.Linear(32, ACTIONS))


def observations(shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    return torch.randn(N, *shape, generator=torch.Generator().manual_seed(2)).to(kind)


def make(name: str, **threat: Any) -> Attack:
    return ATTACKS[name](threat=Threat(**{"epsilon": EPSILON, **threat}))


def lengths(moved: Tensor, states: Tensor, norm: str) -> Tensor:
    """(n,) of each whole perturbation, in float64."""
    delta = (moved.double() - states.double()).flatten(1)
    return delta.norm(dim=1) if norm == "l_2" else delta.abs().amax(1)


@NAMES
@NORMS
@KINDS
@SHAPES
def test_the_budget_is_each_observation_s_whatever_its_shape(
    name: str, norm: str, kind: torch.dtype, shape: tuple[int, ...]
) -> None:
    states = observations(shape, kind)
    before = states.clone()
    moved = make(name, norm=norm).perturb(network(shape), states)
    assert torch.equal(states, before)
    assert moved.dtype == kind
    assert moved.shape == states.shape
    length = lengths(moved, states, norm)
    assert length.max() <= EPSILON
    assert length.mean() > 0.75 * EPSILON


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_arrays_of_numpy_come_back_as_such(kind: Any) -> None:
    states = observations((18,), torch.float64).numpy().astype(kind)
    moved = make("pgd").perturb(network((18,)), states)
    assert type(moved) is np.ndarray
    assert moved.dtype == kind
    assert 0.05 < abs(moved.astype(np.float64) - states.astype(np.float64)).max() <= EPSILON
    again = make("pgd").perturb(network((18,)), torch.from_numpy(states))
    np.testing.assert_array_equal(moved, again.numpy())


@SHAPES
@KINDS
def test_epsilon_0_and_a_mask_keep_every_bit(shape: tuple[int, ...], kind: torch.dtype) -> None:
    states = observations(shape, kind)
    assert torch.equal(make("pgd", epsilon=0.0).perturb(network(shape), states), states)
    features = np.arange(states[0].numel()) % 3 == 0
    moved = make("pgd", features=features).perturb(network(shape), states).flatten(1)
    changed = (moved != states.flatten(1)).any(0).numpy()
    assert not changed[~features].any()
    assert changed[features].all()


@KINDS
def test_the_valid_range_holds_in_the_own_type(kind: torch.dtype) -> None:
    low, high = -0.3, 0.7  # no float type has these exactly
    clamped = observations((18,), kind).double().clamp(low, high)
    states = (clamped * (1 - 2 * torch.finfo(kind).eps)).to(kind)  # inside, after rounding too
    moved = make("pgd", low=low, high=high).perturb(network((18,)), states)
    assert moved.double().min() >= low
    assert moved.double().max() <= high
    assert (moved != states).float().mean() > 0.5


def test_float32_gets_the_same_as_decisions() -> None:
    policy, states = MeanFieldPolicy(18, ACTIONS, mean_field=False), observations((18,), torch.float32)
    for seed in (0, 5):
        rng = torch.Generator().manual_seed(seed)
        attack = ATTACKS["pgd"](threat=Threat(), restarts=2)  # type: ignore[call-arg]
        expected = attack.perturb(policy, Decisions.of(states, torch.zeros(N, 0)), rng)
        assert torch.equal(attack.perturb(policy, states, seed), expected)


def test_without_mean_actions_they_are_those_of_a_round_s_first_step() -> None:
    policy, states = MeanFieldPolicy(18, ACTIONS), observations((18,), torch.float32)
    expected = make("pgd").perturb(policy, Decisions.of(states, torch.zeros(N, ACTIONS)))
    assert torch.equal(make("pgd").perturb(policy, states), expected)


def test_a_seed_repeats_and_another_differs() -> None:
    states = observations((18,), torch.float64)
    first, again, other = (make("random").perturb(network((18,)), states, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_observations_give_none() -> None:
    assert make("pgd").perturb(network((3, 8, 8)), torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(4, 18, dtype=torch.uint8), "floats"),
        (torch.zeros(18), "batch first"),
        ([[0.0] * 18], "not list"),
    ],
)
def test_what_is_no_array_of_floats_is_refused(given: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make("pgd").perturb(network((18,)), given)


class Counting(nn.Module):
    """Remembers what it was asked, and says nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.before = nn.Linear(18, ACTIONS), torch.zeros(())

    def forward(self, states: Tensor) -> Tensor:
        self.before = self.before + 1
        y: Tensor = self.net(states) + self.before * torch.arange(ACTIONS)
        return y


def test_a_hidden_memory_is_refused_and_noise_is_not() -> None:
    states = observations((18,), torch.float32)
    with pytest.raises(UserError, match="initial_memory"):
        make("pgd").perturb(Counting(), states)
    noisy = nn.Sequential(nn.Linear(18, ACTIONS), nn.Dropout(0.5))
    before = torch.get_rng_state()
    moved = make("random").perturb(noisy, states)
    assert torch.equal(torch.get_rng_state(), before)
    assert (moved != states).any()
