"""Compressed states: nothing is lost, and the layer that reads them computes what a dense one does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.state_layer import StateLayer, compress_if_sparse
from marlrobust.sparse import SparseStates, StateBuffer, compress

WIDTHS = [1, 7, 63, 64, 65, 130]  # numbers are compared 64 at a time: around that, and twice


@st.composite
def dense_states(draw: st.DrawFn) -> np.ndarray:
    """Float32 states (n, d) of any fullness, of any numbers: -0.0, denormals, infinities, NaN."""
    n, d = draw(st.integers(0, 5)), draw(st.sampled_from(WIDTHS))
    numbers = st.one_of(st.just(0.0), st.just(-0.0), st.floats(width=32))
    return draw(arrays(np.float32, (n, d), elements=numbers, fill=draw(st.sampled_from([st.just(0.0), st.just(1.0)]))))


def sparse_like(n: int, d: int, share: float, seed: int = 0) -> torch.Tensor:
    """States (n, d), of which a share is not zero; some are negative."""
    rng = torch.Generator().manual_seed(seed)
    return torch.where(torch.rand(n, d, generator=rng) < share, torch.randn(n, d, generator=rng), 0.0)


@given(dense_states())
def test_compressed_states_are_the_same_states(states: np.ndarray) -> None:
    compressed = compress(states)
    assert len(compressed) == len(states)
    np.testing.assert_array_equal(compressed.dense().numpy(), states)


@given(dense_states())
def test_rows_are_in_order_and_hold_no_zero(states: np.ndarray) -> None:
    compressed = compress(states)
    offsets, values = compressed.offsets.numpy(), compressed.values.numpy()
    assert offsets.tolist() == [0, *np.cumsum(np.count_nonzero(states, axis=1)).tolist()]
    assert len(compressed.indices) == len(values) == offsets[-1]
    assert (values != 0).all()
    for start, end in pairwise(offsets):
        assert (np.diff(compressed.indices.numpy()[start:end]) > 0).all()


@given(dense_states(), st.data())
def test_a_buffer_keeps_the_rows_it_is_told_to(states: np.ndarray, data: st.DataObject) -> None:
    """Split anywhere in two, filled in two batches, used a second time."""
    n, d = states.shape
    at, half = data.draw(st.integers(0, d)), data.draw(st.integers(0, n))
    keep = data.draw(arrays(np.bool_, n))
    left, right = np.ascontiguousarray(states[:, :at]), np.ascontiguousarray(states[:, at:])
    buffer = StateBuffer(n, d)
    for _ in range(2):
        buffer.clear()
        for part in (slice(0, half), slice(half, n)):
            buffer.append(left[part], right[part], keep[part])
        np.testing.assert_array_equal(buffer.states().dense().numpy(), states[keep])


@given(dense_states(), st.data())
def test_dense_rows_can_be_picked(states: np.ndarray, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(states) - 1), max_size=6)) if len(states) else []
    picked = compress(states).dense(torch.tensor(rows, dtype=torch.int64))
    np.testing.assert_array_equal(picked.numpy(), states[rows])


def test_slices_of_larger_arrays_are_compressed_as_they_are() -> None:
    whole = sparse_like(6, 130, 0.3).numpy()
    for part in (whole[::2], whole[:, 3:90], whole.T):
        np.testing.assert_array_equal(compress(part).dense().numpy(), part)


@pytest.mark.parametrize("share", [0.0, 0.08, 1.0])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_the_layer_gives_the_same_for_dense_and_compressed_states(n: int, share: float) -> None:
    """Value, and gradients of weight and bias."""
    torch.manual_seed(0)
    layer = StateLayer(130, 24)
    states = sparse_like(n, 130, share)
    upstream = torch.randn(n, 24)
    results = []
    for form in (states, compress(states.numpy())):
        layer.zero_grad()
        y = layer(form)
        (y * upstream).sum().backward()
        assert layer.weight.grad is not None
        assert layer.bias.grad is not None
        results.append((y.detach(), layer.weight.grad.clone(), layer.bias.grad.clone()))
    for dense, compressed in zip(*results, strict=True):
        torch.testing.assert_close(compressed, dense, rtol=1e-5, atol=1e-5)


def test_the_layer_is_the_linear_layer_it_stands_for() -> None:
    torch.manual_seed(0)
    layer = StateLayer(30, 5)
    torch.manual_seed(0)
    linear = torch.nn.Linear(30, 5)
    states = sparse_like(9, 30, 0.2)
    torch.testing.assert_close(layer(compress(states.numpy())), linear(states))


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    layer, states = StateLayer(12, 3), sparse_like(4, 12, 0.5)
    compressed = compress(states.numpy())
    (layer(compressed) ** 2).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():

        def loss() -> float:
            return float((layer(compressed).double() ** 2).sum())

        for i, j in ((0, 0), (5, 2), (11, 1)):
            kept = layer.weight[i, j].item()
            layer.weight[i, j] = kept + 1e-2
            above = loss()
            layer.weight[i, j] = kept - 1e-2
            below = loss()
            layer.weight[i, j] = kept
            assert layer.weight.grad[i, j].item() == pytest.approx((above - below) / 2e-2, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("mean_field", [True, False])
def test_logits_are_the_same_for_sparse_dense_and_compressed_states(mean_field: bool) -> None:
    torch.manual_seed(0)
    policy = MeanFieldPolicy(130, 5, hidden=16, embedding=4, mean_field=mean_field)
    sparse = sparse_like(40, 130, 0.08)
    mean_actions = torch.softmax(torch.randn(40, 5), 1)
    expected = policy.actor(sparse, mean_actions)
    for states in (sparse, compress(sparse.numpy())):
        logits = policy.logits(Decisions.of(sparse, mean_actions).showing(states))
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    full = sparse + 0.01
    torch.testing.assert_close(policy.logits(Decisions.of(full, mean_actions)), policy.actor(full, mean_actions))


def test_logits_pass_a_gradient_to_the_states_that_ask_for_one() -> None:
    torch.manual_seed(0)
    policy = MeanFieldPolicy(130, 5, hidden=16, embedding=4)
    states = sparse_like(8, 130, 0.08).requires_grad_()
    policy.logits(Decisions.of(states, torch.zeros(8, 5))).sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    assert states.grad.abs().sum(1).min() > 0


@pytest.mark.parametrize(("share", "kind"), [(0.0, SparseStates), (0.08, SparseStates), (1.0, torch.Tensor)])
def test_only_sparse_states_are_compressed(share: float, kind: type) -> None:
    assert isinstance(compress_if_sparse(sparse_like(100, 130, share)), kind)


def test_no_states_stay_no_states() -> None:
    policy = MeanFieldPolicy(130, 5, hidden=16, embedding=4)
    nobody = torch.zeros(0, 130)
    for states in (nobody, compress(nobody.numpy())):
        assert policy.logits(Decisions.of(nobody, torch.zeros(0, 5)).showing(states)).shape == (0, 5)
