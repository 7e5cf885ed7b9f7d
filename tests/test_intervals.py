"""The interval loss's bounds: no state of the box is worse, they are those of certificates, and they can be learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.defenses.intervals import bounded, worst_logits
from marlrobust.games.game import Decisions
from marlrobust.policies.boxes import Box, Layers
from marlrobust.policies.mean_field import MeanFieldNetwork, MeanFieldShape
from marlrobust.sparse import compress
from tests.test_bounds import Bare, batch, network, two_hidden

EPSILON = 0.05


def margins(net: MeanFieldNetwork, states: Tensor, mean_actions: Tensor, actions: Tensor) -> Tensor:
    """How far (n, a) each logit is above that of `actions`."""
    logits: Tensor = net(states, mean_actions)
    return logits - logits.gather(1, actions[:, None])


@pytest.mark.parametrize("mean_field", [True, False])
def test_nothing_in_the_box_is_worse(mean_field: bool) -> None:
    net, (states, mean_actions) = network(6, mean_field=mean_field), batch(50, 6)
    actions = net(states, mean_actions).argmax(1)
    worst = worst_logits(net, states, mean_actions, EPSILON, actions)
    rng = torch.Generator().manual_seed(0)
    moved = [states + EPSILON * (2 * torch.rand(states.shape, generator=rng) - 1).sign() for _ in range(200)]
    attack = PGD(threat=Threat(epsilon=EPSILON), steps=20, restarts=2)
    moved.append(attack.perturb(Bare(net), Decisions.of(states, mean_actions), rng))
    most = torch.stack([margins(net, x, mean_actions, actions) for x in moved]).amax(0)
    assert (most <= worst + 1e-5).all()
    assert (most > worst - 1).any()  # and near enough to be of use


def test_they_are_the_intervals_of_certificates_up_to_rounding() -> None:
    net, (states, mean_actions) = network(30), batch(40, 30)
    actions = torch.arange(40) % 4  # any target, not the likeliest alone
    worst = worst_logits(net, states, mean_actions, EPSILON, actions)
    box = Box.around(Layers(two_hidden(net)), states, mean_actions, EPSILON)
    box = replace(box, rounding=torch.zeros_like(box.rounding))
    others = worst.scatter(1, actions[:, None], -torch.inf)
    torch.testing.assert_close(-others.amax(1).double(), box.by_intervals(actions), rtol=1e-4, atol=1e-4)
    assert (worst.gather(1, actions[:, None]) == 0).all()


def test_without_a_radius_they_are_the_clean_margins() -> None:
    net, (states, mean_actions) = network(30), batch(40, 30)
    actions = torch.arange(40) % 4
    logits, worst, _ = bounded(net, states, mean_actions, 0.0, lambda logits: actions)
    torch.testing.assert_close(logits, net(states, mean_actions))
    torch.testing.assert_close(worst, margins(net, states, mean_actions, actions))


@pytest.mark.parametrize("mean_field", [True, False])
def test_the_gradient_is_that_of_finite_differences(mean_field: bool) -> None:
    shape = MeanFieldShape(state_size=5, n_actions=3, hidden=7, embedding=4, mean_field=mean_field)
    torch.manual_seed(3)
    net = MeanFieldNetwork(shape).double()
    states, mean_actions = torch.randn(6, 5).double(), torch.rand(6, 3).double()
    actions = torch.tensor([0, 2, 2, 1, 0, 0])

    def worst(*weights: Tensor) -> Tensor:
        names = [name for name, _ in net.named_parameters()]
        given = dict(zip(names, weights, strict=True))
        arguments = (_Called(net), (states, mean_actions, EPSILON, actions))
        found: Tensor = torch.func.functional_call(
            arguments[0], {f"net.{k}": v for k, v in given.items()}, arguments[1]
        )
        return found

    assert torch.autograd.gradcheck(worst, tuple(p.detach().requires_grad_() for p in net.parameters()))


class _Called(torch.nn.Module):
    """The bounds as a module, whose weights torch can exchange."""

    def __init__(self, net: MeanFieldNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, *arguments: Tensor) -> Tensor:
        return worst_logits(self.net, *arguments)  # type: ignore[arg-type]


def test_compressed_states_give_the_same_bounds_and_gradients() -> None:
    net, (states, mean_actions) = network(40).requires_grad_(), batch(20, 40)
    states[torch.rand(states.shape, generator=torch.Generator().manual_seed(0)) < 0.8] = 0
    actions = torch.arange(20) % 4
    found = []
    for given in (states, compress(states.numpy())):
        net.zero_grad()
        worst = worst_logits(net, given, mean_actions, EPSILON, actions)
        F.cross_entropy(worst, actions).backward()  # type: ignore[no-untyped-call]
        found.append((worst.detach(), [p.grad.clone() for p in net.parameters() if p.grad is not None]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_learning_from_them_makes_decisions_proven() -> None:
    """A random network's bounds are useless; a hundred steps down their cross-entropy close them."""
    net, (states, mean_actions) = network(6).requires_grad_(), batch(50, 6)
    actions = (states[:, 0] > 0).long()
    states[:, 0] += states[:, 0].sign()  # no state is on both sides
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    proven = []
    for _ in range(100):
        worst = worst_logits(net, states, mean_actions, EPSILON, actions)
        proven.append(((worst < 0).sum(1) == 3).float().mean().item())
        optimizer.zero_grad()
        F.cross_entropy(worst, actions).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert proven[0] < 0.3
    assert proven[-1] > 0.95
