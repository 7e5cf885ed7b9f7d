"""Actions drawn from logits: as often as softmax says, decided by each agent's own number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from marlrobust.policies.policy import sample_actions

HIGHEST = 1 - 2.0**-24  # the largest float32 below 1, which numpy's and torch's generators can give


def uniforms(n: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(n, dtype=np.float32))


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_actions_come_as_often_as_softmax_says(scale: float) -> None:
    n, a = 100_000, 6
    logits = scale * torch.randn(a, generator=torch.Generator().manual_seed(1))
    actions = sample_actions(logits.expand(n, a), uniforms(n))
    counts = torch.bincount(actions, minlength=a).numpy()
    expected = torch.softmax(logits.double(), 0).numpy() * n
    assert chisquare(counts, expected).pvalue > 0.01


def test_every_row_has_its_own_distribution() -> None:
    n = 50_000
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]]).repeat(n, 1)
    actions = sample_actions(logits, uniforms(2 * n)).reshape(n, 2)
    for row, column in enumerate(actions.T):
        counts = torch.bincount(column, minlength=3).numpy()
        assert chisquare(counts, torch.softmax(logits[row].double(), 0).numpy() * n).pvalue > 0.01


def test_an_agents_number_alone_decides_its_action() -> None:
    rng = torch.Generator().manual_seed(2)
    logits, numbers = torch.randn(200, 21, generator=rng), uniforms(200)
    actions = sample_actions(logits, numbers)
    assert torch.equal(actions, sample_actions(logits, numbers))
    order = torch.randperm(200, generator=rng)[:50]
    assert torch.equal(sample_actions(logits[order], numbers[order]), actions[order])
    others = numbers.clone()
    others[1:] = uniforms(199, seed=3)
    assert sample_actions(logits, others)[0] == actions[0]
    assert not torch.equal(sample_actions(logits, others), actions)


def test_a_larger_number_never_gives_an_earlier_action() -> None:
    numbers = torch.linspace(0, HIGHEST, 1000)
    actions = sample_actions(torch.randn(1, 21, generator=torch.Generator().manual_seed(4)).expand(1000, 21), numbers)
    assert (actions.diff() >= 0).all()
    assert (int(actions[0]), int(actions[-1])) == (0, 20)


@pytest.mark.parametrize("u", [0.0, 2.0**-24, 0.5, HIGHEST])
@pytest.mark.parametrize("large", [2e2, 1e30, float("inf")])
def test_impossible_actions_are_never_drawn(u: float, large: float) -> None:
    """Only actions 1 and 3 of 5 are possible, at both ends of the interval too."""
    logits = torch.tensor([[-large, 0.0, -large, 0.0, -large]])
    assert sample_actions(logits, torch.tensor([u])).item() == (1 if u < 0.5 else 3)


def test_extreme_logits_give_the_likeliest_action() -> None:
    logits = torch.eye(21) * 1e30
    for u in (0.0, 0.5, HIGHEST):
        assert torch.equal(sample_actions(logits, torch.full((21,), u)), torch.arange(21))


def test_actions_are_in_range_at_the_ends_of_the_interval() -> None:
    """Sums of rounded probabilities end a little above or below 1: the last number must not fall behind them."""
    logits = 10 * torch.randn(20_000, 21, generator=torch.Generator().manual_seed(5))
    logits[::2, -1] = -torch.inf
    for u in (0.0, HIGHEST):
        actions = sample_actions(logits, torch.full((len(logits),), u))
        assert actions.dtype == torch.int64
        assert actions.min() >= 0
        assert actions.max() <= 20
        chances = torch.softmax(logits, 1).gather(1, actions[:, None])
        assert (chances > 0).all()


def test_nobody_draws_nothing() -> None:
    assert sample_actions(torch.zeros(0, 21), torch.zeros(0)).shape == (0,)
