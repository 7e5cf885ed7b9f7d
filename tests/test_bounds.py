"""What is certified cannot be flipped: by brute force, by PGD, and where it can be computed by hand."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD, Margin
from marlrobust.games.game import Decisions
from marlrobust.policies import bounds
from marlrobust.policies.bounds import certify
from marlrobust.policies.boxes import Box, Layers
from marlrobust.policies.crown import tightened
from marlrobust.policies.layers import TwoHidden
from marlrobust.policies.mean_field import MeanFieldNetwork, MeanFieldPolicy, MeanFieldShape


def network(
    d: int, seed: int = 0, *, hidden: int = 16, scale: float = 1.5, mean_field: bool = True
) -> MeanFieldNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = MeanFieldNetwork(
            MeanFieldShape(state_size=d, n_actions=4, hidden=hidden, embedding=6, mean_field=mean_field)
        )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made.requires_grad_(False)


def two_hidden(net: MeanFieldNetwork) -> TwoHidden:
    taken = TwoHidden.of(net)
    assert taken is not None
    return taken


class Bare:
    """A policy that is an actor alone."""

    def __init__(self, net: MeanFieldNetwork) -> None:
        self.net = net

    def logits(self, decisions: Decisions) -> Tensor:
        logits: Tensor = self.net(decisions.states, decisions.mean_actions)
        return logits


def batch(n: int, d: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=rng), torch.rand(n, 4, generator=rng)


def flipped(net: MeanFieldNetwork, states: Tensor, mean_actions: Tensor, moved: Tensor) -> Tensor:
    turned: Tensor = net(moved, mean_actions).argmax(1) != net(states, mean_actions).argmax(1)
    return turned


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mean_field", [True, False])
def test_no_point_of_a_certified_box_flips(seed: int, mean_field: bool) -> None:
    """Every corner, and random points inside: attacked flips <= true <= 1 - certified."""
    net, (states, mean_actions) = network(6, seed, mean_field=mean_field), batch(60, 6, seed)
    epsilon = 0.15
    found = certify(net, states, mean_actions, epsilon)
    ever = torch.zeros(60, dtype=torch.bool)
    corners = [torch.tensor(signs) for signs in product((-1.0, 1.0), repeat=6)]
    rng = torch.Generator().manual_seed(seed)
    inside = [torch.rand(6, generator=rng) * 2 - 1 for _ in range(300)]
    for direction in (*corners, *inside):
        ever |= flipped(net, states, mean_actions, states + epsilon * direction)
    assert not (ever & found.certified).any()
    attack = PGD(threat=Threat(epsilon=epsilon), steps=40, restarts=3)
    moved = attack.perturb(Bare(net), Decisions.of(states, mean_actions), rng)
    attacked = flipped(net, states, mean_actions, moved)
    assert attacked.float().mean() <= (ever | attacked).float().mean() <= 1 - found.certified.float().mean()
    assert 0.1 < found.certified.float().mean() < 1
    assert ever.any()


def test_the_bound_holds_and_crown_is_tighter() -> None:
    net, (states, mean_actions) = network(8, hidden=24), batch(40, 8)
    actions = net(states, mean_actions).argmax(1)
    box = Box.around(Layers(two_hidden(net)), states, mean_actions, 0.1)
    by_intervals = box.by_intervals(actions)
    by_crown = bounds.by_crown(tightened(box), actions)
    rng = torch.Generator().manual_seed(3)
    least = torch.full((40,), torch.inf)
    for _ in range(500):
        moved = states + 0.1 * (torch.rand(states.shape, generator=rng) * 2 - 1).sign()
        logits = net(moved, mean_actions)
        own = logits.gather(1, actions[:, None])[:, 0]
        least = torch.minimum(least, own - logits.scatter(1, actions[:, None], -torch.inf).amax(1))
    assert (by_crown <= least).all()
    assert (by_intervals <= least).all()
    assert by_crown.mean() > by_intervals.mean()


def test_a_network_that_is_linear_on_the_box_is_bounded_exactly() -> None:
    """With every unit far above 0, margins are linear: least at a corner that is known."""
    net, (states, mean_actions) = network(5, hidden=8), batch(10, 5)
    with torch.no_grad():
        net.state.bias.fill_(50.0)
        net.hidden.bias.fill_(900.0)
    found = certify(net, states, mean_actions, 0.01)
    logits = net(states, mean_actions)
    actions = logits.argmax(1)
    slope = net.out.weight @ net.hidden.weight[:, :8] @ net.state.weight.t()  # (a, d)
    difference = slope[actions][:, None] - slope
    margins = logits.gather(1, actions[:, None]) - logits - 0.01 * difference.abs().sum(2)
    least = margins.scatter(1, actions[:, None], torch.inf).amin(1)
    assert (found.margin <= least.double() + 1e-2).all()
    torch.testing.assert_close(found.margin, least.double(), rtol=0, atol=0.1)  # float32's rounding at this size


def test_epsilon_0_certifies_all_that_rounding_cannot_turn() -> None:
    net, (states, mean_actions) = network(6), batch(200, 6)
    found = certify(net, states, mean_actions, 0.0)
    assert found.certified.float().mean() > 0.98
    with pytest.raises(ValueError, match="must not be negative"):
        certify(net, states, mean_actions, -0.1)


def test_certified_shares_fall_with_epsilon_and_bracket_a_strong_attack() -> None:
    policy = MeanFieldPolicy(61, 4, hidden=32, embedding=6).requires_grad_(False)
    states, mean_actions = batch(100, 61)
    shares = []
    for epsilon in (0.0, 0.003, 0.01, 0.03, 0.1):
        found = certify(policy.actor, states, mean_actions, epsilon)
        shares.append(found.certified.float().mean().item())
        attack = Margin(threat=Threat(epsilon=epsilon), steps=30)
        moved = attack.perturb(policy, Decisions.of(states, mean_actions), torch.Generator().manual_seed(0))
        assert not (flipped(policy.actor, states, mean_actions, moved) & found.certified).any()
        assert (found.certified | ~found.intervals).all()
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]
