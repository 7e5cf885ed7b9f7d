"""Anybody's stack of layers is treated as ours: taken apart, attacked in integers, certified."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.attacks.cross_entropy import CrossEntropySlope
from marlrobust.attacks.fast import kernels
from marlrobust.attacks.gradient import PGD, GradientAttack
from marlrobust.attacks.oracle import Loss, gradient_by_states, oracle
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.bounds import certify
from marlrobust.policies.layers import Stack, TwoHidden
from marlrobust.policies.mean_field import MeanFieldPolicy

D, A = 18, 5


def stack(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU, scale: float = 2.0, seed: int = 0) -> nn.Module:
    """A network of these hidden widths, sure of its actions."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = [D, *widths, A]
        parts = [p for pair in pairwise(sizes) for p in (nn.Linear(*pair), activation())]
        net = nn.Sequential(*parts[:-1])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    return net


def batch(n: int = 200) -> Decisions:
    return Decisions.of(torch.randn(n, D, generator=torch.Generator().manual_seed(1)))


DEPTHS = pytest.mark.parametrize("widths", [(), (24,), (40, 24), (24, 40), (32, 16, 48, 8)], ids=str)


@DEPTHS
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_gradients_without_autograd_are_autograd_s(widths: tuple[int, ...], activation: Any) -> None:
    policy, decisions = as_policy(stack(*widths, activation=activation)), batch()
    actions = policy.logits(decisions).argmax(1)
    taken = Stack.of(policy)
    assert taken is not None
    for name in ("pgd", "margin", "apgd-dlr"):
        attack = ATTACKS[name](threat=Threat())
        assert isinstance(attack, GradientAttack)
        loss = Loss(attack.loss, actions)
        with torch.no_grad():
            value, gradient = oracle(policy, taken, decisions, loss)(decisions.dense + 0.1)
        expected, by_autograd = gradient_by_states(policy, decisions, decisions.dense + 0.1, loss)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, by_autograd)


def test_the_known_slope_of_the_cross_entropy_is_autograd_s() -> None:
    logits = torch.randn(50, A, generator=torch.Generator().manual_seed(0)) * 5
    loss = Loss(PGD(threat=Threat()).loss, logits.argmax(1))
    value, slope = loss.slope(logits)
    leaf = logits.clone().requires_grad_()
    F.cross_entropy(leaf, logits.argmax(1), reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert torch.equal(slope, leaf.grad)
    torch.testing.assert_close(value, F.cross_entropy(logits, logits.argmax(1), reduction="none"))


def test_an_attack_with_a_loss_of_its_own_does_not_inherit_the_slope() -> None:
    class Own(PGD):
        def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
            return logits[:, 0]

    logits = torch.randn(4, A)
    _, slope = Loss(Own(threat=Threat()).loss, logits.argmax(1)).slope(logits)
    assert torch.equal(slope, F.one_hot(torch.zeros(4, dtype=torch.int64), A).float())


@DEPTHS
def test_two_hidden_layers_of_any_widths_say_the_same(widths: tuple[int, ...]) -> None:
    net, decisions = stack(*widths), batch()
    taken = TwoHidden.of(as_policy(net))
    assert (taken is not None) == (len(widths) == 2)
    if taken is not None:
        h2 = torch.relu(
            torch.relu(taken.of_states(decisions.dense)) @ taken.second.t() + taken.of_means(torch.zeros(200, 0))
        )
        torch.testing.assert_close(h2 @ taken.out.t() + taken.out_bias, net(decisions.dense))


@pytest.mark.skipif(not kernels.available(), reason="the processor has no AVX2")
@pytest.mark.parametrize("widths", [(256, 256), (256, 96)], ids=str)
def test_integers_are_taken_where_they_pay_and_are_as_strong(widths: tuple[int, ...]) -> None:
    policy, decisions = as_policy(stack(*widths)), batch(1000)
    attack = PGD(threat=Threat())
    assert attack._ways(policy, 1000).integers is not None
    assert attack._ways(policy, 4).integers is None
    losses = []
    for precision in ("auto", "float32"):
        moved = PGD(threat=Threat(), precision=precision).perturb(policy, decisions)
        logits = policy.logits(decisions.showing(moved))
        losses.append(F.cross_entropy(logits, policy.logits(decisions).argmax(1)).item())
    assert losses[0] >= 0.99 * losses[1]


class Wrapped(nn.Module):
    """The same network behind a forward of its own, which may do anything."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, states: Tensor) -> Tensor:
        y: Tensor = self.net(states)
        return y


@pytest.mark.parametrize("widths", [(24,), (40, 24)], ids=str)
def test_autograd_goes_where_a_stack_goes(widths: tuple[int, ...]) -> None:
    net, decisions = stack(*widths), batch()
    ours, other = (PGD(threat=Threat()).perturb(as_policy(p), decisions) for p in (net, Wrapped(net)))
    assert (ours != other).float().mean() < 0.01


def test_only_untouched_layers_are_taken_apart() -> None:
    assert Stack.of(as_policy(stack(8, 8))) is not None
    assert Stack.of(as_policy(nn.Sequential(nn.Flatten(), nn.Identity(), nn.Sequential(stack(8))))) is not None
    named = nn.Sequential(OrderedDict(first=nn.Linear(D, A)))
    assert Stack.of(as_policy(named)) is not None
    hooked = stack(8, 8)
    hooked[0].register_forward_hook(lambda module, inputs, output: output * 2)  # type: ignore[index]
    for odd in (
        hooked,
        stack(8, activation=nn.Dropout),
        Wrapped(stack(8)),
        stack(8).double(),
        nn.Sequential(nn.ReLU()),
    ):
        assert Stack.of(as_policy(odd)) is None
    assert Stack.of(as_policy(nn.Conv1d(2, 3, 1), (2, 9))) is None
    assert Stack.of(MeanFieldPolicy(D, A)) is None


class Written(nn.Module):
    """As one writes them: layers by name, functions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(D, 16), nn.Linear(16, 24), nn.Linear(24, A)
        self.turn = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(x))
        x = self.two(x).tanh()
        y: Tensor = -self.three(x) if self.turn else self.three(x)
        return y


class Summed(Written):
    """Not one layer after the other."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.three(self.two(self.one(x).relu()).relu()) + x[:, :A]
        return y


class Asks(Written):
    """Looks at what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class Keeps(Written):
    """Writes into itself."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return super().forward(x)


def test_a_forward_is_read_where_it_is_one_layer_after_the_other() -> None:
    """And its present weights are taken, at each call."""
    decisions = batch(70)
    for made in (Written(), Wrapped(Wrapped(stack(8, 8))), Keeps()):
        policy = as_policy(made)
        for _ in range(2):
            read = Stack.read(policy)
            assert read is not None
            answers = policy.logits(decisions)
            assert read.agrees(decisions.dense, answers)
            assert not read.agrees(decisions.dense, answers + 0.01)
            with torch.no_grad():
                for p in made.parameters():
                    p.mul_(1.5)
    assert not isinstance(getattr(made, "last", None), torch.fx.Proxy)
    hooked = Written()
    hooked.two.register_forward_hook(lambda module, inputs, output: output * 2)
    for odd in (Summed(), Asks(), hooked, Written().double(), Wrapped(stack(8, activation=nn.Dropout))):
        assert Stack.read(as_policy(odd)) is None
    assert Stack.of(as_policy(Written())) is None  # what is proven, or taken in integers, is read off nothing


@pytest.mark.parametrize("turned_first", [False, True])
def test_a_forward_that_does_something_else_by_now_is_found_out(turned_first: bool) -> None:
    """Read once, then changed: the ascent is that of what the module does now."""
    made, decisions = Written(), batch(100)
    made.turn = turned_first
    attack = PGD(threat=Threat(epsilon=0.3))
    attack.perturb(as_policy(made), decisions)
    made.turn = not turned_first

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = made(x) * torch.ones(A)
            return y

    ours, true = (attack.perturb(as_policy(p), decisions) for p in (made, Plain()))
    assert (ours != true).float().mean() < 0.01


@pytest.mark.parametrize("a", [2, 3, 5, 9, 13, 16, 21])
@pytest.mark.parametrize("n", [1, 7, 16, 40, 64, 203])
def test_the_slope_of_the_cross_entropy_is_autograd_s_to_the_last_bit(n: int, a: int) -> None:
    logits = (10 * torch.randn(n, a, generator=torch.Generator().manual_seed(n))).requires_grad_()
    actions = torch.randint(a, (n,), generator=torch.Generator().manual_seed(a))
    slope = CrossEntropySlope(actions)
    for _ in range(2):
        expected = F.cross_entropy(logits, actions, reduction="none")
        (gradient,) = torch.autograd.grad(expected.sum(), logits)
        value, found = slope(logits.detach())
        assert torch.equal(value, expected.detach())
        assert torch.equal(found, gradient)
        assert found.is_contiguous()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("widths", [(12, 12), (6, 14), (14, 6)], ids=str)
def test_what_is_certified_cannot_be_flipped(widths: tuple[int, ...], seed: int) -> None:
    net, decisions, epsilon = stack(*widths, scale=2.0, seed=seed), batch(300), 0.05
    policy = as_policy(net)
    found = certify(policy, decisions.dense, decisions.mean_actions, epsilon)
    assert 0.02 < found.certified.float().mean() < 0.98
    clean = net(decisions.dense).argmax(1)
    rng = torch.Generator().manual_seed(seed)
    corners = (decisions.dense + epsilon * (torch.randint(0, 2, (300, D), generator=rng) * 2 - 1) for _ in range(200))
    attacked = [ATTACKS[n](threat=Threat(epsilon=epsilon)).perturb(policy, decisions) for n in ("pgd", "margin")]
    flipped = torch.zeros(300, dtype=torch.bool)
    for moved in (*corners, *attacked):
        flipped |= net(moved).argmax(1) != clean
    assert not (flipped & found.certified).any()


def test_other_networks_get_no_certificate_but_a_sentence() -> None:
    with pytest.raises(UserError, match="two hidden ReLU layers"):
        certify(as_policy(stack(8)), torch.zeros(2, D), torch.zeros(2, 0), 0.1)


@pytest.mark.parametrize(("depth", "name"), list(product([1, 2, 3], ["mim", "apgd-ce", "mad", "targeted", "auto"])))
def test_every_gradient_attack_works_on_a_stack(depth: int, name: str) -> None:
    parameters: dict[str, Any] = {"target": 1} if name == "targeted" else {}
    policy, decisions = as_policy(stack(*[16] * depth)), batch(50)
    for norm in ("l_inf", "l_2"):
        moved = ATTACKS[name](threat=Threat(norm=norm, epsilon=0.3), **parameters).perturb(policy, decisions)
        delta = (moved - decisions.dense).double()
        assert (delta.norm(dim=1) if norm == "l_2" else delta.abs().amax(1)).max() <= 0.3
        assert (moved != decisions.dense).any()
