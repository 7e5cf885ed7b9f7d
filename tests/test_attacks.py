"""What every attack promises, by one table of all of them; and what PGD is worth."""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.attacks import ATTACKS, Attack, Threat
from marlrobust.attacks.gradient import FGSM, PGD, Margin
from marlrobust.errors import UserError
from marlrobust.policies.networks import MeanFieldNetwork, MeanFieldPolicy
from marlrobust.registry import Registry

D, A, EPSILON = 61, 5, 0.075


class Plain(nn.Module):
    """A user's policy: a module with logits, and a part whose mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(D + A, 24), nn.Tanh(), nn.Linear(24, A))
        self.normal = nn.BatchNorm1d(A)

    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        y: Tensor = self.net(torch.cat([states, mean_actions], 1))
        return y

    def q_values(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        return self.logits(states, mean_actions).flip(1)


class Fixed(nn.Module):
    """A policy with known weights, that a transfer attack asks."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(11)
        self.weight = torch.randn(D, A, generator=rng)

    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        return states @ self.weight


TABLE: list[tuple[str, dict[str, Any]]] = [
    ("random", {}),
    ("random", {"kind": "sign"}),
    ("random", {"kind": "gaussian"}),
    ("fgsm", {}),
    ("margin", {}),
    ("pgd", {}),
    ("pgd", {"precision": "float32"}),
    ("pgd", {"start": "uniform", "restarts": 2, "steps": 4}),
    ("mim", {}),
    ("apgd-ce", {"steps": 8}),
    ("apgd-dlr", {"steps": 8}),
    ("mad", {}),
    ("targeted", {}),
    ("targeted", {"target": 2, "restarts": 2}),
    ("critic", {}),
    ("square", {"queries": 20}),
    ("timed", {"beta": 0.3}),
    ("transfer", {"source": Fixed()}),
    ("learned", {"adversary": Fixed()}),
    ("auto", {}),
]
EVERY = pytest.mark.parametrize(("name", "parameters"), TABLE, ids=lambda x: str(x))
NORMS = pytest.mark.parametrize("norm", ["l_inf", "l_2"])
PRECISIONS = pytest.mark.parametrize("precision", ["auto", "float32"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_policy(kind: str = "ours", scale: float = 3.0, hidden: int = 40) -> Any:
    """A policy with random weights, enlarged so that it is sure of its actions."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        policy = Plain() if kind == "plain" else MeanFieldPolicy(D, A, hidden=hidden, embedding=8)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(scale)
    return policy


def make_batch(n: int = 70, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Sparse states (n, d) and mean actions (n, a)."""
    rng = generator(seed)
    full = torch.rand(n, D, generator=rng) < 0.15
    states = torch.where(full, torch.randn(n, D, generator=rng), 0.0)
    mean_actions = torch.rand(n, A, generator=rng)
    return states, mean_actions / mean_actions.sum(1, keepdim=True)


def make(name: str, parameters: dict[str, Any], **threat: Any) -> Attack:
    return ATTACKS[name](threat=Threat(**{"norm": "l_inf", "epsilon": EPSILON, **threat}), **parameters)


def cross_entropy(policy: Any, perturbed: Tensor, states: Tensor, mean_actions: Tensor) -> Tensor:
    """To the clean action, for each state (n,)."""
    with torch.no_grad():
        actions = policy.logits(states, mean_actions).argmax(1)
        return F.cross_entropy(policy.logits(perturbed, mean_actions), actions, reduction="none")


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


def test_the_table_has_every_registered_attack() -> None:
    assert {name for name, _ in TABLE} == set(ATTACKS)


@EVERY
@NORMS
@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_the_budget_holds_exactly_and_the_input_stays(
    name: str, parameters: dict[str, Any], norm: str, kind: str
) -> None:
    """Trap 7: lower precision inside must not round epsilon up."""
    policy, (states, mean_actions) = make_policy(kind), make_batch()
    before = states.clone(), mean_actions.clone()
    perturbed = make(name, parameters, norm=norm).perturb(policy, states, mean_actions, generator())
    assert same_bits(states, before[0])
    assert same_bits(mean_actions, before[1])
    assert perturbed.dtype == torch.float32
    assert not torch.equal(perturbed, states)
    single, double = perturbed - states, perturbed.double() - states.double()
    assert (double.norm(dim=1) if norm == "l_2" else double.abs()).max() <= EPSILON
    if norm == "l_inf":
        assert single.abs().max().double() <= EPSILON


@EVERY
@NORMS
def test_masked_features_keep_their_bits_and_the_others_move(name: str, parameters: dict[str, Any], norm: str) -> None:
    features = torch.arange(D) % 3 == 0
    policy, (states, mean_actions) = make_policy(), make_batch()
    attack = make(name, parameters, norm=norm, features=features)
    perturbed = attack.perturb(policy, states, mean_actions, generator())
    assert same_bits(perturbed[:, ~features], states[:, ~features])
    assert (perturbed != states)[:, features].float().mean() > 0.5


@EVERY
@NORMS
def test_epsilon_0_is_the_identity_bit_for_bit(name: str, parameters: dict[str, Any], norm: str) -> None:
    states, mean_actions = make_batch()
    states[0] = -0.0
    attack = make(name, parameters, norm=norm, epsilon=0.0)
    assert same_bits(attack.perturb(make_policy(), states, mean_actions, generator()), states)


@EVERY
def test_valid_range_is_never_left(name: str, parameters: dict[str, Any]) -> None:
    states, mean_actions = make_batch()
    states = states.clamp(0, 1)
    perturbed = make(name, parameters, low=0.0, high=1.0).perturb(make_policy(), states, mean_actions, generator())
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1


@EVERY
def test_only_its_own_generator_counts(name: str, parameters: dict[str, Any]) -> None:
    """The same seed repeats bit for bit, whatever the global generators are at; and they stay there."""
    policy, (states, mean_actions) = make_policy(), make_batch()
    attack = make(name, parameters)
    first = attack.perturb(policy, states, mean_actions, generator(5))
    torch.manual_seed(123)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    again = attack.perturb(policy, states, mean_actions, generator(5))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == repr(np.random.get_state())  # noqa: NPY002
    assert same_bits(first, again)
    if name == "random" or parameters.get("start") == "uniform":
        assert not torch.equal(first, attack.perturb(policy, states, mean_actions, generator(6)))


@EVERY
@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_no_states_give_no_states(name: str, parameters: dict[str, Any], kind: str) -> None:
    perturbed = make(name, parameters).perturb(make_policy(kind), torch.zeros(0, D), torch.zeros(0, A), generator())
    assert perturbed.shape == (0, D)


@EVERY
@pytest.mark.parametrize("kind", ["ours", "plain"])
@pytest.mark.parametrize("training", [True, False])
def test_the_policy_is_left_as_it_was(name: str, parameters: dict[str, Any], kind: str, training: bool) -> None:
    policy, (states, mean_actions) = make_policy(kind).train(training), make_batch()
    list(policy.modules())[-1].train(not training)  # a module that somebody set apart
    modes = [m.training for m in policy.modules()]
    weights = [p.detach().clone() for p in policy.parameters()]
    marks = [torch.full_like(p, 0.5) for p in policy.parameters()]
    for parameter, mark in zip(policy.parameters(), marks, strict=True):
        parameter.grad = mark.clone()
    make(name, parameters).perturb(policy, states, mean_actions, generator())
    assert [m.training for m in policy.modules()] == modes
    for parameter, mark, weight in zip(policy.parameters(), marks, weights, strict=True):
        assert torch.equal(parameter.grad, mark)
        assert torch.equal(parameter, weight)
        assert parameter.requires_grad


@EVERY
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(name: str, parameters: dict[str, Any], context: Callable[[], Any]) -> None:
    for kind in ("ours", "plain"):
        policy, (states, mean_actions) = make_policy(kind), make_batch()
        attack = make(name, parameters)
        expected = attack.perturb(policy, states, mean_actions, generator())
        with context():
            inner = states.clone(), mean_actions.clone()  # inference tensors, in inference mode
            assert torch.equal(attack.perturb(policy, *inner, generator()), expected)


@EVERY
def test_parameters_say_everything(name: str, parameters: dict[str, Any]) -> None:
    attack = make(name, parameters)
    told = json.loads(json.dumps(attack.parameters()))
    assert told["threat"]["epsilon"] == EPSILON
    named = {key: type(value).__name__ if isinstance(value, nn.Module) else value for key, value in parameters.items()}
    assert all(told[key] == value for key, value in named.items())
    assert type(attack).summary


@NORMS
@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_pgd_beats_random_noise(norm: str, kind: str) -> None:
    policy, (states, mean_actions) = make_policy(kind), make_batch(200)
    clean = cross_entropy(policy, states, states, mean_actions).mean()

    def gain(name: str) -> Tensor:
        perturbed = make(name, {}, norm=norm).perturb(policy, states, mean_actions, generator())
        return cross_entropy(policy, perturbed, states, mean_actions).mean() - clean

    assert gain("pgd") > 3 * gain("random").abs()


@PRECISIONS
def test_fgsm_is_pgd_with_one_step_of_epsilon(precision: Any) -> None:
    policy, (states, mean_actions) = make_policy(), make_batch()
    threat = Threat(epsilon=EPSILON)
    fgsm = FGSM(threat=threat, precision=precision).perturb(policy, states, mean_actions, generator())
    one = PGD(threat=threat, steps=1, step_size=threat.radius, precision=precision)
    assert same_bits(fgsm, one.perturb(policy, states, mean_actions, generator()))
    moved = (fgsm - states).abs()
    assert ((moved > 0.07499) | (moved == 0)).all()


@PRECISIONS
@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize(("hidden", "steps"), [(40, 10), (64, 20), (128, 7)])
def test_pgd_reaches_the_loss_of_foolbox(precision: Any, scale: float, hidden: int, steps: int) -> None:
    policy, (states, mean_actions) = make_policy(scale=scale, hidden=hidden), make_batch(300)
    size = 2.5 * EPSILON / steps
    attack = PGD(threat=Threat(epsilon=EPSILON), steps=steps, precision=precision)
    ours = attack.perturb(policy, states, mean_actions, generator())
    theirs = foolbox_pgd(policy, states, mean_actions, steps, size)
    mean = [cross_entropy(policy, p, states, mean_actions).mean() for p in (ours, theirs)]
    assert mean[0] >= 0.99 * mean[1]


def foolbox_pgd(policy: Any, states: Tensor, mean_actions: Tensor, steps: int, size: float) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from foolbox import PyTorchModel  # type: ignore[attr-defined]
        from foolbox.attacks import LinfPGD

    class Bound(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = policy.logits(x, mean_actions)
            return y

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PyTorchModel(Bound().eval(), bounds=(-1000, 1000), device="cpu")
    attack = LinfPGD(rel_stepsize=size / EPSILON, steps=steps, random_start=False)
    with torch.no_grad():
        actions = policy.logits(states, mean_actions).argmax(1)
    perturbed: Tensor = attack.run(model, states, actions, epsilon=EPSILON)
    return perturbed


@PRECISIONS
@pytest.mark.parametrize("start", ["state", "uniform"])
def test_another_restart_never_lowers_a_loss(precision: Any, start: Any) -> None:
    policy, (states, mean_actions) = make_policy(), make_batch(300)
    losses = []
    for restarts in (1, 2, 5):
        attack = PGD(threat=Threat(epsilon=EPSILON), restarts=restarts, start=start, steps=4, precision=precision)
        perturbed = attack.perturb(policy, states, mean_actions, generator(1))
        losses.append(cross_entropy(policy, perturbed, states, mean_actions))
    for fewer, more in pairwise(losses):
        assert (more >= fewer - 1e-4).all()
        assert more.mean() > fewer.mean()


@PRECISIONS
def test_more_steps_do_not_lower_the_loss(precision: Any) -> None:
    policy, (states, mean_actions) = make_policy(), make_batch(300)
    losses = []
    for steps in (1, 2, 4, 16):
        attack = PGD(threat=Threat(epsilon=EPSILON), steps=steps, step_size=EPSILON / 4, precision=precision)
        perturbed = attack.perturb(policy, states, mean_actions, generator())
        losses.append(cross_entropy(policy, perturbed, states, mean_actions).mean().item())
    assert losses == sorted(losses)
    assert losses[-1] > 1.5 * losses[0]


class Linear:
    """Two actions by one sum of the features: the strongest perturbation is a known corner."""

    def __init__(self) -> None:
        self.weight = torch.where(torch.arange(D) % 2 == 0, 0.3, -0.2)

    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        y = states @ self.weight
        return torch.stack([y, -y], 1)


@pytest.mark.parametrize("steps", [1, 3, 10, 40])
def test_an_ascent_can_cross_the_box_from_any_start(steps: int) -> None:
    """Trap 1: with steps of epsilon / steps it cannot, and the policy looks more robust than it is."""
    policy, (states, mean_actions) = Linear(), make_batch()
    threat = Threat(epsilon=EPSILON)

    def reached(size: float | None) -> float:
        attack = PGD(threat=threat, steps=steps, start="uniform", step_size=size)
        moved = (attack.perturb(policy, states, mean_actions, generator()) - states).abs()
        return (moved > 0.99 * EPSILON).float().mean().item()

    assert reached(None) == 1
    assert reached(EPSILON / steps) < 0.6


def test_the_loss_is_of_raw_logits() -> None:
    """Trap 2: taken for logits, probabilities lie within 1 of each other, and the loss below log(e + 2)."""
    logits, action = torch.tensor([[40.0, 0.0, 0.0]]), torch.tensor([1])
    assert PGD(threat=Threat()).loss(logits, action).item() == pytest.approx(40)


@PRECISIONS
def test_a_policy_with_large_logits_is_broken_all_the_same(precision: Any) -> None:
    """The same policy at a lower temperature has the same actions, and must fall as often."""
    policy, (states, mean_actions) = make_policy(hidden=64), make_batch(300)
    with torch.no_grad():
        actions = policy.logits(states, mean_actions).argmax(1)

    def flipped() -> float:
        attack = PGD(threat=Threat(epsilon=0.15), precision=precision)
        with torch.no_grad():
            after = policy.logits(attack.perturb(policy, states, mean_actions, generator()), mean_actions)
        return (after.argmax(1) != actions).float().mean().item()

    before = flipped()
    with torch.no_grad():
        policy.actor.out.weight.mul_(40)
        policy.actor.out.bias.mul_(40)
        gaps = policy.logits(states, mean_actions).topk(2).values.diff().abs()
    assert gaps.median() > 17  # the softmax is 1 in float32
    assert before > 0.95
    assert flipped() > 0.95


@PRECISIONS
def test_the_margin_breaks_a_saturated_policy_that_only_looks_robust(precision: Any) -> None:
    """Trap 4: where the softmax is 1 to the last bit, the cross-entropy has no gradient, the margin has."""
    policy, (states, mean_actions) = make_policy(hidden=64), make_batch(300)
    with torch.no_grad():
        policy.actor.out.weight.mul_(1e5)
        policy.actor.out.bias.mul_(1e5)
        actions = policy.logits(states, mean_actions).argmax(1)

    def flipped(attack: Attack) -> float:
        with torch.no_grad():
            after = policy.logits(attack.perturb(policy, states, mean_actions, generator()), mean_actions)
        return (after.argmax(1) != actions).float().mean().item()

    threat = Threat(epsilon=0.15)
    assert flipped(PGD(threat=threat, precision=precision)) < 0.1
    assert flipped(Margin(threat=threat, precision=precision)) > 0.95


@PRECISIONS
def test_a_state_does_not_depend_on_its_company(precision: Any) -> None:
    policy, (states, mean_actions) = make_policy(), make_batch(2100)
    attack = PGD(threat=Threat(epsilon=EPSILON), precision=precision)
    together = attack.perturb(policy, states, mean_actions, generator())
    rows = torch.tensor([0, 3, 255, 256, 1023, 2047, 2048, 2099])
    alone = torch.cat(
        [attack.perturb(policy, states[i : i + 1], mean_actions[i : i + 1], generator()) for i in rows.tolist()]
    )
    assert (alone == together[rows]).float().mean() > 0.99


def test_a_bare_actor_is_its_own_policy() -> None:
    """What the trainer attacks."""
    policy, (states, mean_actions) = make_policy(), make_batch()
    attack = PGD(threat=Threat(epsilon=EPSILON))
    bare = attack.perturb(policy.actor, states, mean_actions, generator())
    assert same_bits(bare, attack.perturb(policy, states, mean_actions, generator()))
    assert isinstance(policy.actor, MeanFieldNetwork)


def test_weights_that_change_between_calls_count() -> None:
    policy, (states, mean_actions) = make_policy(), make_batch()
    attack = PGD(threat=Threat(epsilon=EPSILON))
    first = attack.perturb(policy, states, mean_actions, generator())
    for parameter in policy.parameters():
        parameter.data.neg_()  # past autograd's version counter
    assert not torch.equal(first, attack.perturb(policy, states, mean_actions, generator()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"restarts": 0}, "at least 1"),
        ({"step_size": 0.0}, "step_size must be above 0"),
        ({"start": "middle"}, "unknown start 'middle'"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PGD(threat=Threat(), **arguments)


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown attack 'pdg': did you mean 'pgd'\?.*marlrobust list attacks"):
        ATTACKS["pdg"]


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="attack 'pgd' is registered twice"):
        ATTACKS.register("pgd")(FGSM)
    assert ATTACKS["pgd"] is PGD


def test_an_installed_package_adds_an_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_attack.py").write_text(
        "from marlrobust.attacks.gradient import PGD\nclass Planted(PGD):\n    pass\n"
    )
    info = tmp_path / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[marlrobust.attacks]\nplanted = planted_attack:Planted\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[type[Attack]] = Registry("attack", ATTACKS.group)
    planted = registry["planted"](threat=Threat(epsilon=EPSILON))
    states, mean_actions = make_batch()
    assert isinstance(planted, PGD)
    assert not torch.equal(planted.perturb(make_policy(), states, mean_actions, generator()), states)
    sys.modules.pop("planted_attack")
