"""A threat is a limit: what is delivered obeys it to the last bit of float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from marlrobust.attacks.fast.rounding import _add_inwards_anywhere, add_inwards
from marlrobust.attacks.norms import NORMS
from marlrobust.attacks.threat import Threat
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
        ({"epsilon": -0.1}, "epsilon: input should be greater than or equal to 0"),
        ({"epsilon": float("nan")}, "epsilon: input should be"),
        ({"epsilon": float("inf")}, "epsilon: input should be a finite number"),
        ({"epsilon": "wide"}, "epsilon: input should be a valid number"),
        ({"norm": "l_1"}, "norm: input should be 'l_inf' or 'l_2'"),
        ({"low": float("nan")}, "low: input should be a finite number"),
        ({"high": float("nan")}, "high: input should be a finite number"),
        ({"high": float("inf")}, "high: input should be a finite number"),
        ({"low": 1.0, "high": 0.0}, "valid range is empty"),
        ({"features": [0, 3, 4]}, "features: give one bool for each feature"),
        ({"features": [0, 1]}, "features: give one bool for each feature"),
        ({"features": [[True]]}, "features: give one bool for each feature"),
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


@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("radius", [0.0, 0.075, 3.0])
def test_every_norm_agrees_with_its_own_length(norm: str, radius: float) -> None:
    """What is projected, drawn and stepped is as long as it says, by the norm of numpy."""
    ball, rng = NORMS[norm](Threat(epsilon=radius).radius), torch.Generator().manual_seed(0)
    order = {"l_inf": np.inf, "l_2": 2}[norm]
    delta = torch.randn(40, 9, generator=rng)
    expected = np.linalg.norm(delta.numpy().astype(float), order, axis=1)
    np.testing.assert_allclose(ball.length(delta).numpy(), expected, rtol=1e-12)
    assert (ball.length(ball.project(delta)) <= ball.radius).all()
    assert (ball.length(ball.uniform(40, torch.ones(9, dtype=torch.bool), rng)) <= ball.radius * (1 + 1e-6)).all()
    for most in (ball.edge(40, 9, rng), torch.full((40, 9), ball.per_feature(9))):
        np.testing.assert_allclose(ball.length(most).numpy(), np.full(40, ball.radius), rtol=1e-6)
    np.testing.assert_allclose(ball.length(ball.direction(delta)).numpy(), np.ones(40), rtol=1e-6)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_the_direction_of_a_norm_is_the_steepest(norm: str) -> None:
    """No other step of length 1 rises more along the gradient."""
    ball, rng = NORMS[norm](1.0), torch.Generator().manual_seed(0)
    gradient = torch.randn(1, 9, generator=rng)
    steepest = (ball.direction(gradient) * gradient).sum()
    others = torch.cat([ball.edge(2000, 9, rng), ball.uniform(2000, torch.ones(9, dtype=torch.bool), rng)])
    assert ((others * gradient).sum(1) <= steepest + 1e-5).all()


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_uniform_noise_fills_the_ball_of_the_free_features(norm: str) -> None:
    """The share of the noise within half the radius is 1 / 2^d, of d free features."""
    threat = Threat(norm, 0.5, features=[True, False, True, True])  # type: ignore[arg-type]
    noise = threat.uniform(torch.zeros(40_000, 4), torch.Generator().manual_seed(0))
    assert (noise[:, 1] == 0).all()
    assert (threat.ball.length(noise) <= 0.25).float().mean().item() == pytest.approx(1 / 8, abs=0.01)


def test_each_number_may_have_limits_of_its_own() -> None:
    """Infinite ones clip nothing; what was outside comes no nearer than it was asked to, and goes no farther."""
    low, high = [0.0, -np.inf, 0.5], [1.0, 0.1, np.inf]
    states = torch.tensor([[0.05, 0.05, 0.6], [0.98, 0.0, 0.4], [2.0, -5.0, 9.0]])
    for norm in ("l_inf", "l_2"):
        threat = Threat(norm=norm, epsilon=0.3, low=low, high=high)
        for sign in (-1, 1):
            shown = threat.deliver(states, torch.full_like(states, 0.2 * sign))
            assert bool((shown >= torch.minimum(states, torch.tensor(low))).all())
            assert bool((shown <= torch.maximum(states, torch.tensor(high))).all())
            assert bool((shown != states).any(1).all())
    one = Threat(epsilon=0.3, low=0.0, high=1.0)
    each = Threat(epsilon=0.3, low=[0.0] * 3, high=[1.0] * 3)
    delta = torch.tensor([[0.3, -0.3, 0.2]]).repeat(3, 1)
    assert torch.equal(one.deliver(states, delta), each.deliver(states, delta))
    assert Threat(low=low).parameters()["low"] == [0.0, None, 0.5]
    with pytest.raises(UserError, match="a range of 2 features, the states have 3"):
        Threat(low=[0.0, 1.0]).deliver(states, delta)
    with pytest.raises(UserError, match="the valid range is empty"):
        Threat(low=[0.0, 1.0], high=[1.0, 0.5])
