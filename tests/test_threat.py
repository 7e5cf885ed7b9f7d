"""A threat is a limit: what is delivered obeys it to the last bit of float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from marlrobust.attacks.attack import Threat
from marlrobust.attacks.rounding import _add_inwards_anywhere, add_inwards
from marlrobust.errors import UserError

SHAPE = (3, 7)
STATES = arrays.arrays(
    np.float32, SHAPE, elements=st.floats(-1e6, 1e6, width=32) | st.floats(-1, 1, width=32) | st.just(-0.0)
)
DELTAS = arrays.arrays(np.float32, SHAPE, elements=st.floats(-4, 4, width=32))
EPSILONS = st.sampled_from([0.0, 1.4e-45, 1e-30, 1e-7, 0.003, 0.075, 0.1, 1 / 3, 2.0]) | st.floats(0, 3)
quick = settings(max_examples=150, deadline=None)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.numpy().tobytes() == b.numpy().tobytes()


def distances(delivered: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """Elementwise |delivered - states| in float32 and in float64."""
    return (delivered - states).abs(), (delivered.double() - states.double()).abs()


@quick
@given(STATES, DELTAS, EPSILONS)
def test_l_inf_budget_holds_exactly(states: np.ndarray, delta: np.ndarray, epsilon: float) -> None:
    s = torch.from_numpy(states)
    delivered = Threat("l_inf", epsilon).deliver(s, torch.from_numpy(delta))
    single, double = distances(delivered, s)
    assert (single.double() <= epsilon).all()
    assert (double <= epsilon).all()


@quick
@given(STATES, DELTAS, EPSILONS)
def test_l_2_budget_holds_exactly(states: np.ndarray, delta: np.ndarray, epsilon: float) -> None:
    s = torch.from_numpy(states)
    delivered = Threat("l_2", epsilon).deliver(s, torch.from_numpy(delta))
    assert (distances(delivered, s)[1].norm(dim=1) <= epsilon).all()


def test_plain_sum_would_break_the_budget() -> None:
    """What the exact rounding is for: without it, float32 delivers more than epsilon."""
    states = torch.rand(64, 100, generator=torch.Generator().manual_seed(0))
    threat = Threat("l_inf", 0.075)
    delta = torch.full_like(states, threat.radius)
    assert (distances(states + delta, states)[1] > 0.075).any()
    delivered = threat.deliver(states, delta)
    assert (distances(delivered, states)[1] <= 0.075).all()
    assert (distances(delivered, states)[1] > 0.0749999).all()  # and gives up a rounding, not more


@quick
@given(STATES, DELTAS, st.sampled_from(["l_inf", "l_2"]))
def test_epsilon_0_is_the_identity_bit_for_bit(states: np.ndarray, delta: np.ndarray, norm: str) -> None:
    s = torch.from_numpy(states)
    assert same_bits(Threat(norm, 0.0).deliver(s, torch.from_numpy(delta)), s)  # type: ignore[arg-type]


@quick
@given(STATES, DELTAS, st.sampled_from(["l_inf", "l_2"]))
def test_masked_features_keep_their_bits(states: np.ndarray, delta: np.ndarray, norm: str) -> None:
    features = np.array([True, False, True, False, False, True, True])
    s = torch.from_numpy(states)
    threat = Threat(norm, 0.5, features=features)  # type: ignore[arg-type]
    delivered = threat.deliver(s, torch.from_numpy(delta))
    assert same_bits(delivered[:, ~features].contiguous(), s[:, ~features].contiguous())


@quick
@given(STATES, DELTAS, EPSILONS, st.sampled_from(["l_inf", "l_2"]))
def test_valid_range_is_never_left(states: np.ndarray, delta: np.ndarray, epsilon: float, norm: str) -> None:
    s = torch.from_numpy(states)
    threat = Threat(norm, epsilon, low=-0.3, high=0.7)  # type: ignore[arg-type]
    delivered = threat.deliver(s, torch.from_numpy(delta)).double()
    inside = (s.double() >= -0.3) & (s.double() <= 0.7)
    assert ((delivered >= -0.3) & (delivered <= 0.7))[inside].all()
    farther = (delivered > s.clamp_min(0.7)) | (delivered < s.clamp_max(-0.3))
    assert not farther[~inside].any()
    assert (distances(delivered.float(), s)[1] <= epsilon).all()


@quick
@given(STATES, DELTAS)
def test_both_forms_of_the_sum_agree(states: np.ndarray, delta: np.ndarray) -> None:
    s, d = torch.from_numpy(states), torch.from_numpy(delta)
    assert same_bits(add_inwards(s, d), _add_inwards_anywhere(s, d))


def test_what_is_not_a_number_moves_nothing() -> None:
    states = torch.tensor([[0.5, -0.0, 2.0]])
    delta = torch.tensor([[torch.nan, torch.nan, 0.05]])
    delivered = Threat("l_inf", 0.1).deliver(states, delta)
    assert same_bits(delivered[:, :2], states[:, :2])
    assert delivered[0, 2] > 2


def test_project_keeps_what_is_inside_and_is_idempotent() -> None:
    rng = torch.Generator().manual_seed(0)
    states, delta = torch.rand(5, 9, generator=rng), torch.randn(5, 9, generator=rng)
    for norm in ("l_inf", "l_2"):
        threat = Threat(norm, 0.5)
        small = delta * 0.01
        assert torch.equal(threat.project(small, states), small)
        projected = threat.project(delta, states)
        assert not torch.equal(projected, delta)
        torch.testing.assert_close(threat.project(projected, states), projected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon": -0.1}, "epsilon must be a finite number >= 0"),
        ({"epsilon": float("nan")}, "epsilon must be a finite number >= 0"),
        ({"epsilon": float("inf")}, "epsilon must be a finite number >= 0"),
        ({"norm": "l_1"}, "unknown norm 'l_1'"),
        ({"low": 1.0, "high": 0.0}, "valid range is empty"),
        ({"features": [0, 3, 4]}, "one bool for each feature"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Threat(**arguments)  # type: ignore[arg-type]


def test_mask_of_the_wrong_length_is_told() -> None:
    with pytest.raises(UserError, match="mask of 2 features, the states have 3"):
        Threat(features=[True, False]).deliver(torch.zeros(1, 3), torch.zeros(1, 3))


def test_threats_are_values() -> None:
    assert Threat(features=[True, False]) == Threat(features=torch.tensor([True, False]))
    assert hash(Threat(features=np.array([True]))) == hash(Threat(features=[True]))
    assert Threat(features=[False, True, True]).parameters()["features"] == [1, 2]
