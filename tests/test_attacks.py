"""What every attack promises, by one table of all of them; and what PGD is worth."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.attacks import ATTACKS, Attack, Threat
from marlrobust.attacks.gradient import FGSM, PGD, Margin
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.parameters import build
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.registry import Registry
from marlrobust.sparse import compress

D, A, EPSILON = 61, 5, 0.075


class Plain(nn.Module):
    """A user's policy: a module with logits, and a part whose mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(D + A, 24), nn.Tanh(), nn.Linear(24, A))
        self.normal = nn.BatchNorm1d(A)

    def logits(self, decisions: Decisions) -> Tensor:
        y: Tensor = self.net(torch.cat([decisions.dense, decisions.mean_actions], 1))
        return y

    def q_values(self, decisions: Decisions) -> Tensor:
        return self.logits(decisions).flip(1)


class Fixed(nn.Module):
    """A policy with known weights, that a transfer attack asks."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(11)
        self.weight = torch.randn(D, A, generator=rng)

    def logits(self, decisions: Decisions) -> Tensor:
        return decisions.dense @ self.weight


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


def make_batch(n: int = 70, seed: int = 3) -> Decisions:
    """Decisions with sparse states (n, d) and mean actions (n, a)."""
    rng = generator(seed)
    full = torch.rand(n, D, generator=rng) < 0.15
    states = torch.where(full, torch.randn(n, D, generator=rng), 0.0)
    mean_actions = torch.rand(n, A, generator=rng)
    return Decisions.of(states, mean_actions / mean_actions.sum(1, keepdim=True))


def make(name: str, parameters: dict[str, Any], **threat: Any) -> Attack:
    return ATTACKS[name](threat=Threat(**{"norm": "l_inf", "epsilon": EPSILON, **threat}), **parameters)


def actions_of(policy: Any, decisions: Decisions) -> Tensor:
    """The likeliest actions (n,)."""
    with torch.no_grad():
        actions: Tensor = policy.logits(decisions).argmax(1)
        return actions


def cross_entropy(policy: Any, perturbed: Tensor, decisions: Decisions) -> Tensor:
    """To the clean action, for each state (n,)."""
    with torch.no_grad():
        logits = policy.logits(decisions.showing(perturbed))
        return F.cross_entropy(logits, actions_of(policy, decisions), reduction="none")


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
    policy, decisions = make_policy(kind), make_batch()
    states, mean_actions = decisions.dense, decisions.mean_actions
    before = states.clone(), mean_actions.clone()
    perturbed = make(name, parameters, norm=norm).perturb(policy, decisions, generator())
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
    policy, decisions = make_policy(), make_batch()
    attack = make(name, parameters, norm=norm, features=features)
    perturbed = attack.perturb(policy, decisions, generator())
    states = decisions.dense
    assert same_bits(perturbed[:, ~features], states[:, ~features])
    assert (perturbed != states)[:, features].float().mean() > 0.5


@EVERY
@NORMS
def test_epsilon_0_is_the_identity_bit_for_bit(name: str, parameters: dict[str, Any], norm: str) -> None:
    decisions = make_batch()
    decisions.dense[0] = -0.0
    attack = make(name, parameters, norm=norm, epsilon=0.0)
    assert same_bits(attack.perturb(make_policy(), decisions, generator()), decisions.dense)


@EVERY
def test_valid_range_is_never_left(name: str, parameters: dict[str, Any]) -> None:
    decisions = make_batch()
    decisions = decisions.showing(decisions.dense.clamp(0, 1))
    perturbed = make(name, parameters, low=0.0, high=1.0).perturb(make_policy(), decisions, generator())
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1


@EVERY
def test_only_its_own_generator_counts(name: str, parameters: dict[str, Any]) -> None:
    """The same seed repeats bit for bit, whatever the global generators are at; and they stay there."""
    policy, decisions = make_policy(), make_batch()
    attack = make(name, parameters)
    first = attack.perturb(policy, decisions, generator(5))
    torch.manual_seed(123)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    again = attack.perturb(policy, decisions, generator(5))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == repr(np.random.get_state())  # noqa: NPY002
    assert same_bits(first, again)
    if name == "random" or parameters.get("start") == "uniform":
        assert not torch.equal(first, attack.perturb(policy, decisions, generator(6)))


@EVERY
@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_no_states_give_no_states(name: str, parameters: dict[str, Any], kind: str) -> None:
    nobody = Decisions.of(torch.zeros(0, D), torch.zeros(0, A))
    perturbed = make(name, parameters).perturb(make_policy(kind), nobody, generator())
    assert perturbed.shape == (0, D)


@EVERY
@pytest.mark.parametrize("kind", ["ours", "plain"])
@pytest.mark.parametrize("training", [True, False])
def test_the_policy_is_left_as_it_was(name: str, parameters: dict[str, Any], kind: str, training: bool) -> None:
    policy, decisions = make_policy(kind).train(training), make_batch()
    list(policy.modules())[-1].train(not training)  # a module that somebody set apart
    modes = [m.training for m in policy.modules()]
    weights = [p.detach().clone() for p in policy.parameters()]
    marks = [torch.full_like(p, 0.5) for p in policy.parameters()]
    for parameter, mark in zip(policy.parameters(), marks, strict=True):
        parameter.grad = mark.clone()
    make(name, parameters).perturb(policy, decisions, generator())
    assert [m.training for m in policy.modules()] == modes
    for parameter, mark, weight in zip(policy.parameters(), marks, weights, strict=True):
        assert torch.equal(parameter.grad, mark)
        assert torch.equal(parameter, weight)
        assert parameter.requires_grad


@EVERY
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(name: str, parameters: dict[str, Any], context: Callable[[], Any]) -> None:
    for kind in ("ours", "plain"):
        policy, decisions = make_policy(kind), make_batch()
        attack = make(name, parameters)
        expected = attack.perturb(policy, decisions, generator())
        with context():
            # inference tensors, in inference mode
            inner = Decisions.of(decisions.dense.clone(), decisions.mean_actions.clone())
            assert torch.equal(attack.perturb(policy, inner, generator()), expected)


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
    policy, decisions = make_policy(kind), make_batch(200)
    clean = cross_entropy(policy, decisions.dense, decisions).mean()

    def gain(name: str) -> Tensor:
        perturbed = make(name, {}, norm=norm).perturb(policy, decisions, generator())
        return cross_entropy(policy, perturbed, decisions).mean() - clean

    assert gain("pgd") > 3 * gain("random").abs()


@PRECISIONS
def test_fgsm_is_pgd_with_one_step_of_epsilon(precision: Any) -> None:
    policy, decisions = make_policy(), make_batch()
    threat = Threat(epsilon=EPSILON)
    fgsm = FGSM(threat=threat, precision=precision).perturb(policy, decisions, generator())
    one = PGD(threat=threat, steps=1, step_size=threat.radius, precision=precision)
    assert same_bits(fgsm, one.perturb(policy, decisions, generator()))
    moved = (fgsm - decisions.dense).abs()
    assert ((moved > 0.07499) | (moved == 0)).all()


@PRECISIONS
@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize(("hidden", "steps"), [(40, 10), (64, 20), (128, 7)])
def test_pgd_reaches_the_loss_of_foolbox(precision: Any, scale: float, hidden: int, steps: int) -> None:
    policy, decisions = make_policy(scale=scale, hidden=hidden), make_batch(300)
    size = 2.5 * EPSILON / steps
    attack = PGD(threat=Threat(epsilon=EPSILON), steps=steps, precision=precision)
    ours = attack.perturb(policy, decisions, generator())
    theirs = foolbox_pgd(policy, decisions, steps, size)
    mean = [cross_entropy(policy, p, decisions).mean() for p in (ours, theirs)]
    assert mean[0] >= 0.99 * mean[1]


def foolbox_pgd(policy: Any, decisions: Decisions, steps: int, size: float) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from foolbox import PyTorchModel  # type: ignore[attr-defined]
        from foolbox.attacks import LinfPGD

    class Bound(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = policy.logits(decisions.showing(x))
            return y

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PyTorchModel(Bound().eval(), bounds=(-1000, 1000), device="cpu")
    attack = LinfPGD(rel_stepsize=size / EPSILON, steps=steps, random_start=False)
    perturbed: Tensor = attack.run(model, decisions.dense, actions_of(policy, decisions), epsilon=EPSILON)
    return perturbed


@PRECISIONS
@pytest.mark.parametrize("start", ["state", "uniform"])
def test_another_restart_never_lowers_a_loss(precision: Any, start: Any) -> None:
    policy, decisions = make_policy(), make_batch(300)
    losses = []
    for restarts in (1, 2, 5):
        attack = PGD(threat=Threat(epsilon=EPSILON), restarts=restarts, start=start, steps=4, precision=precision)
        perturbed = attack.perturb(policy, decisions, generator(1))
        losses.append(cross_entropy(policy, perturbed, decisions))
    for fewer, more in pairwise(losses):
        assert (more >= fewer - 1e-4).all()
        assert more.mean() > fewer.mean()


@PRECISIONS
def test_more_steps_do_not_lower_the_loss(precision: Any) -> None:
    policy, decisions = make_policy(), make_batch(300)
    losses = []
    for steps in (1, 2, 4, 16):
        attack = PGD(threat=Threat(epsilon=EPSILON), steps=steps, step_size=EPSILON / 4, precision=precision)
        perturbed = attack.perturb(policy, decisions, generator())
        losses.append(cross_entropy(policy, perturbed, decisions).mean().item())
    assert losses == sorted(losses)
    assert losses[-1] > 1.5 * losses[0]


class Linear:
    """Two actions by one sum of the features: the strongest perturbation is a known corner."""

    def __init__(self) -> None:
        self.weight = torch.where(torch.arange(D) % 2 == 0, 0.3, -0.2)

    def logits(self, decisions: Decisions) -> Tensor:
        y = decisions.dense @ self.weight
        return torch.stack([y, -y], 1)


@pytest.mark.parametrize("steps", [1, 3, 10, 40])
def test_an_ascent_can_cross_the_box_from_any_start(steps: int) -> None:
    """Trap 1: with steps of epsilon / steps it cannot, and the policy looks more robust than it is."""
    policy, decisions = Linear(), make_batch()
    threat = Threat(epsilon=EPSILON)

    def reached(size: float | None) -> float:
        attack = PGD(threat=threat, steps=steps, start="uniform", step_size=size)
        moved = (attack.perturb(policy, decisions, generator()) - decisions.dense).abs()
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
    policy, decisions = make_policy(hidden=64), make_batch(300)
    actions = actions_of(policy, decisions)

    def flipped() -> float:
        attack = PGD(threat=Threat(epsilon=0.15), precision=precision)
        shown = decisions.showing(attack.perturb(policy, decisions, generator()))
        return (actions_of(policy, shown) != actions).float().mean().item()

    before = flipped()
    with torch.no_grad():
        policy.actor.out.weight.mul_(40)
        policy.actor.out.bias.mul_(40)
        gaps = policy.logits(decisions).topk(2).values.diff().abs()
    assert gaps.median() > 17  # the softmax is 1 in float32
    assert before > 0.95
    assert flipped() > 0.95


@PRECISIONS
def test_the_margin_breaks_a_saturated_policy_that_only_looks_robust(precision: Any) -> None:
    """Trap 4: where the softmax is 1 to the last bit, the cross-entropy has no gradient, the margin has."""
    policy, decisions = make_policy(hidden=64), make_batch(300)
    with torch.no_grad():
        policy.actor.out.weight.mul_(1e5)
        policy.actor.out.bias.mul_(1e5)
    actions = actions_of(policy, decisions)

    def flipped(attack: Attack) -> float:
        shown = decisions.showing(attack.perturb(policy, decisions, generator()))
        return (actions_of(policy, shown) != actions).float().mean().item()

    threat = Threat(epsilon=0.15)
    assert flipped(PGD(threat=threat, precision=precision)) < 0.1
    assert flipped(Margin(threat=threat, precision=precision)) > 0.95


@PRECISIONS
def test_a_state_does_not_depend_on_its_company(precision: Any) -> None:
    policy, decisions = make_policy(), make_batch(2100)
    attack = PGD(threat=Threat(epsilon=EPSILON), precision=precision)
    together = attack.perturb(policy, decisions, generator())
    rows = torch.tensor([0, 3, 255, 256, 1023, 2047, 2048, 2099])
    alone = torch.cat([attack.perturb(policy, decisions.take(slice(i, i + 1)), generator()) for i in rows.tolist()])
    assert (alone == together[rows]).float().mean() > 0.99


def test_weights_that_change_between_calls_count() -> None:
    policy, decisions = make_policy(), make_batch()
    attack = PGD(threat=Threat(epsilon=EPSILON))
    first = attack.perturb(policy, decisions, generator())
    for parameter in policy.parameters():
        parameter.data.neg_()  # past autograd's version counter
    assert not torch.equal(first, attack.perturb(policy, decisions, generator()))


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("pgd", {"steps": 0}, "steps: input should be greater than or equal to 1"),
    ("pgd", {"steps": "2.5"}, "steps: input should be a valid integer"),
    ("pgd", {"steps": "[1"}, "steps: input should be a valid integer"),
    ("pgd", {"restarts": 1.5}, "restarts: input should be a valid integer"),
    ("pgd", {"step_size": 0.0}, "step_size: input should be greater than 0"),
    ("pgd", {"step_size": "nan"}, "step_size: input should be"),
    ("pgd", {"start": "middle"}, "start: input should be 'state' or 'uniform'"),
    ("pgd", {"precision": "int4"}, "precision: input should be 'auto' or 'float32'"),
    ("pgd", {"stepz": 3}, "no parameter 'stepz': it has steps"),
    ("fgsm", {"steps": 3}, "no parameter 'steps'"),
    ("mim", {"decay": -1}, "decay: input should be greater than or equal to 0"),
    ("apgd-ce", {"step_size": 0.1}, "no parameter 'step_size'"),
    ("mad", {"start": "state"}, "start: input should be 'uniform'"),
    ("random", {"kind": "pink"}, "kind: input should be 'uniform', 'sign' or 'gaussian'"),
    ("targeted", {"target": "best"}, "target"),
    ("targeted", {"target": -1}, "target"),
    ("square", {"queries": 0}, "queries: input should be greater than or equal to 1"),
    ("square", {"share": 1.5}, "share: input should be less than or equal to 1"),
    ("timed", {"beta": "2"}, "beta: input should be less than or equal to 1"),
    ("timed", {"inner": "pdg"}, "did you mean 'pgd'"),
    ("timed", {"inner": "learned"}, "no other attack or policy, not 'learned'"),
    ("transfer", {"inner": "timed"}, "no other attack or policy, not 'timed'"),
]


@pytest.mark.parametrize(("name", "given", "message"), MISTAKES, ids=lambda x: str(x))
def test_a_wrong_parameter_gets_one_sentence_that_names_it(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        build("attack", name, ATTACKS[name], given, threat=Threat())
    assert f"the attack '{name}'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_parameters_are_read_from_text() -> None:
    """As the command line gives them; what is not given as text stays as it is."""
    given = {"steps": "20", "step_size": "1e-3", "start": "uniform"}
    assert build("attack", "pgd", PGD, given, threat=Threat()) == PGD(
        threat=Threat(), steps=20, step_size=1e-3, start="uniform"
    )
    assert build("attack", "pgd", PGD, {"step_size": "none"}, threat=Threat()) == PGD(threat=Threat())
    target = build("attack", "targeted", ATTACKS["targeted"], {"target": "2"}, threat=Threat()).parameters()["target"]
    assert target == 2
    assert type(target) is int


@EVERY
def test_every_parameter_says_what_it_is(name: str, parameters: dict[str, Any]) -> None:
    hints = get_type_hints(ATTACKS[name], include_extras=True)
    for field in fields(ATTACKS[name]):
        if field.init and field.name != "threat":
            assert _described(hints[field.name]), field.name


def _described(hint: Any) -> bool:
    own = any(getattr(extra, "description", None) for extra in getattr(hint, "__metadata__", ()))
    return own or any(map(_described, get_args(hint)))


def test_states_of_another_type_are_refused_with_a_sentence() -> None:
    attack, states = make("pgd", {}), make_batch().dense.double()
    with pytest.raises(UserError, match=r"float32 tensor of shape \(n, d\), not torch.float64.*try states.float\(\)"):
        attack.perturb(make_policy(), Decisions.of(states), generator())


@EVERY
def test_compressed_states_are_attacked_as_dense_ones(name: str, parameters: dict[str, Any]) -> None:
    """Those of a game are compressed."""
    policy, decisions = make_policy(), make_batch()
    compressed = decisions.showing(compress(decisions.dense.numpy()))
    attack = make(name, parameters)
    assert same_bits(attack.perturb(policy, compressed, generator()), attack.perturb(policy, decisions, generator()))


def test_importing_the_package_of_attacks_imports_no_torch() -> None:
    code = (
        "import sys, marlrobust.attacks as a; assert 'torch' not in sys.modules; "
        "assert len(list(a.ATTACKS)) == 15; a.ATTACKS.check('pgd'); assert 'torch' not in sys.modules; "
        "assert a.Attack is a.ATTACKS['pgd'].__mro__[2]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown attack 'pdg': did you mean 'pgd'\?.*marlrobust list attacks"):
        ATTACKS["pdg"]


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="the attack 'pgd' is there already"):
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
    registry: Registry[type[Attack]] = Registry("attack", ATTACKS.group, {}, base=ATTACKS.base)
    planted = registry["planted"](threat=Threat(epsilon=EPSILON))
    decisions = make_batch()
    assert isinstance(planted, PGD)
    assert not torch.equal(planted.perturb(make_policy(), decisions, generator()), decisions.dense)
    sys.modules.pop("planted_attack")
