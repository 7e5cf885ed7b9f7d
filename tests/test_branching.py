"""Chosen slopes and parts: bounds that hold, each as tight as those before it, and at the end the truth."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from marlrobust.policies.bounds import certify
from marlrobust.policies.boxes import Box, Layers
from marlrobust.policies.branching import by_alpha, tightened
from marlrobust.policies.crown import tightened as by_usual_slopes
from marlrobust.policies.mean_field import MeanFieldNetwork
from marlrobust.policies.proofs import Bounds
from tests.test_bounds import batch, flipped, network, two_hidden

EPSILON = 0.1


@pytest.fixture(scope="module")
def turned() -> tuple[MeanFieldNetwork, Tensor, Tensor, Tensor]:
    """A small network, states, mean actions, and which decisions some state of the box turns."""
    net, (states, mean_actions) = network(8, hidden=24), batch(24, 8)
    rng = torch.Generator().manual_seed(0)
    ever = torch.zeros(len(states), dtype=torch.bool)
    for signs in product((-1.0, 1.0), repeat=8):
        ever |= flipped(net, states, mean_actions, states + EPSILON * torch.tensor(signs))
    for _ in range(1000):
        inside = torch.rand(states.shape, generator=rng) * 2 - 1
        ever |= flipped(net, states, mean_actions, states + EPSILON * inside)
    return net, states, mean_actions, ever


def test_what_parts_leave_open_can_be_turned(turned: tuple[MeanFieldNetwork, Tensor, Tensor, Tensor]) -> None:
    """In so small a network both sides meet: every decision is proven or turned, none both, and CROWN alone leaves
    some between them. A few parts prove less, and nothing is random."""
    net, states, mean_actions, ever = turned

    def proven(by: Bounds, branches: int = 256) -> Tensor:
        found = certify(net, states, mean_actions, EPSILON, by=by, branches=branches).certified
        assert not (found & ever).any()
        return found

    crown, alpha, few, again, complete = (
        proven("crown"), proven("alpha"), proven("complete", 2), proven("complete", 2), proven("complete")
    )  # fmt: skip
    assert crown.sum() <= alpha.sum() <= few.sum() < complete.sum()
    assert torch.equal(few, again)
    assert torch.equal(complete, ~ever)


def test_chosen_slopes_bound_the_margins_and_the_second_layer() -> None:
    net, (states, mean_actions) = network(8, hidden=24), batch(6, 8)
    actions = net(states, mean_actions).argmax(1)
    taken = two_hidden(net)
    box = by_usual_slopes(Box.around(Layers(taken), states, mean_actions, 0.1))
    rng = torch.Generator().manual_seed(3)
    least, room = torch.full((6,), torch.inf), 0.0
    for i in range(6):
        one = box.only(torch.tensor([i]))
        closer = tightened(one)
        assert (closer.low2 >= one.low2).all()
        assert (closer.high2 <= one.high2).all()
        room += float((one.high2 - one.low2).sum() - (closer.high2 - closer.low2).sum())
        moved = states[i] + 0.1 * (torch.rand(500, 8, generator=rng) * 2 - 1).sign()
        means = mean_actions[i].expand(500, -1)
        second = taken.of_states(moved).relu() @ taken.second.t() + taken.of_means(means)
        assert (second >= closer.low2 - 1e-4).all()
        assert (second <= closer.high2 + 1e-4).all()
        logits = net(moved, means)
        others = logits.scatter(1, actions[i].expand(500, 1), -torch.inf).amax(1)
        least[i] = (logits[:, actions[i]] - others).min()
    assert room > 0.1
    assert (by_alpha(box, actions) <= least).all()
