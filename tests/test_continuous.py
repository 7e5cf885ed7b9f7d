"""Continuous actions: policies whose actions are vectors are played, and attacked by what fits them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.momentum import MIM
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games import make_scenario
from marlrobust.games.check import check_game
from marlrobust.games.game import Decisions
from marlrobust.games.pettingzoo import ParallelGame
from marlrobust.policies.actions import Vectors
from marlrobust.policies.adapters import as_policy, policy_for
from marlrobust.policies.layers import Stack, TwoHidden
from marlrobust.policies.policy import Policy

D, K, N = 6, 2, 40
BOX = Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32))
FIT = ("random", "pgd", "fgsm", "mim", "apgd-ce", "critic")


def net(seed: int = 0, out: int = K) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(D, 16), nn.Tanh(), nn.Linear(16, out))


def states(n: int = N) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(0))


def spread(x: Tensor) -> Tensor:
    return -1 + 0.1 * x[:, :K]


class Acts:
    """With a critic that likes large actions."""

    def actions(self, states: Tensor) -> Any:
        return net()(states), spread(states)

    def q_values(self, states: Tensor, actions: Tensor) -> Tensor:
        return actions.sum(1, keepdim=True)


class Agent(nn.Module):
    """As CleanRL writes them: no forward."""

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.actor_mean = nn.Linear(D, 1), net()
        self.actor_logstd = nn.Parameter(torch.zeros(1, K))


FORMS: dict[str, Callable[[], Any]] = {
    "module": net,
    "function": lambda: lambda x: net()(x),
    "a pair": lambda: lambda x: (net()(x), spread(x)),
    "one spread for all": lambda: lambda x: (net()(x), torch.tensor([-1.0, -2.0])),
    "a Gaussian": lambda: lambda x: Normal(net()(x), spread(x).exp()),
    "an independent one": lambda: lambda x: Independent(Normal(net()(x), spread(x).exp()), 1),
    "an object": Acts,
    "CleanRL's": Agent,
    "float64": lambda: lambda x: net()(x).double(),
    "for each agent": lambda: [net()],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form: str) -> None:
    policy = as_policy(FORMS[form](), None, BOX)
    decisions = Decisions.of(states())
    decisions.agent[:] = 0
    kind = policy.actions  # type: ignore[attr-defined]
    assert isinstance(kind, Vectors)
    torch.testing.assert_close(kind.means(policy.logits(decisions)), net()(states()))
    assert as_policy(policy, None, BOX) is policy


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: net(out=3)(x), "mean actions, a torch tensor"),
        (lambda x: net()(x).detach().numpy(), "not with ndarray"),
        (lambda x: torch.distributions.Beta(x[:, :K].exp(), x[:, :K].exp()), "a Gaussian, not with Beta"),
    ],
)
def test_other_answers_are_refused(answer: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        as_policy(answer, None, BOX).logits(Decisions.of(states()))


def test_actions_stay_in_the_box_and_are_as_likely_as_said() -> None:
    """The mean, the spread, and the ends, plain and squashed."""
    uniforms = torch.rand(200_000, K, generator=torch.Generator().manual_seed(1))
    wide = Box(-100, 100, (K,))
    answers = torch.tensor([[3.0, -5.0, 0.0, 1.0]]).expand(len(uniforms), -1)
    drawn = Vectors(wide).drawn(answers, uniforms)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([3.0, -5.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.tensor([1.0, torch.e]), atol=0.02, rtol=0)
    for squashed in (False, True):
        kind = Vectors(BOX, squashed)
        drawn = kind.drawn(answers, uniforms)
        assert bool((drawn >= kind.ends[0]).all())
        assert bool((drawn <= kind.ends[1]).all())
        assert torch.equal(
            kind.drawn(answers[:, :K], uniforms), kind.best(answers)
        )  # without spread there is no chance
    edges = torch.tensor([[0.0, 1 - 2**-24]]).expand(1, K)
    assert bool(Vectors(wide).drawn(answers[:1], edges).isfinite().all())


def displacement(policy: Policy, shown: Tensor) -> Tensor:
    kind = policy.actions  # type: ignore[attr-defined]
    clean, seen = policy.logits(Decisions.of(states())), policy.logits(Decisions.of(shown))
    moved: Tensor = kind.moved(clean, seen).detach()
    return moved


@pytest.mark.parametrize("norm", ["l_inf", "l_2"])
@pytest.mark.parametrize("form", ["module", "a pair"])
@pytest.mark.parametrize("name", ["pgd", "fgsm", "mim", "apgd-ce"])
def test_an_ascent_moves_the_action_more_than_noise(name: str, form: str, norm: str) -> None:
    """By gradients of a stack of layers, and by autograd; each stays in the ball."""
    policy = as_policy(FORMS[form](), None, BOX)
    threat = Threat(norm=norm, epsilon=0.3)  # type: ignore[arg-type]
    shown, noise = (ATTACKS[n](threat=threat).perturb(policy, Decisions.of(states())) for n in (name, "random"))
    assert float(threat.ball.length(shown - states()).max()) <= 0.3 * (1 + 1e-6)
    assert float(displacement(policy, shown).mean()) > 1.5 * float(displacement(policy, noise).mean())


def test_the_density_is_another_aim() -> None:
    """It makes the clean action less likely than the distance does, where the spread hangs on the state."""
    policy = as_policy(FORMS["a pair"](), None, BOX)
    clean = policy.logits(Decisions.of(states()))[:, :K]

    def log_density(drift: Literal["distance", "density"]) -> float:
        shown = PGD(threat=Threat(epsilon=0.3), drift=drift).perturb(policy, Decisions.of(states()))
        answers = policy.logits(Decisions.of(shown))
        mean, log_std = answers[:, :K], answers[:, K:]
        return float((-(((clean - mean) / log_std.exp()) ** 2) / 2 - log_std).sum(1).mean().detach())

    assert log_density("density") < log_density("distance") - 0.01
    with pytest.raises(UserError, match="no density"):
        PGD(threat=Threat(), drift="density").perturb(as_policy(net(), None, BOX), Decisions.of(states()))


def test_the_critic_s_value_falls() -> None:
    policy = as_policy(Acts(), None, BOX)
    kind = policy.actions  # type: ignore[attr-defined]

    def value(name: str) -> float:
        shown = ATTACKS[name](threat=Threat(epsilon=0.3)).perturb(policy, Decisions.of(states()))
        return float(kind.best(policy.logits(Decisions.of(shown))).sum(1).mean().detach())

    assert value("critic") < value("pgd") < value("random") - 0.02
    with pytest.raises(UserError, match="asks a critic"):
        ATTACKS["critic"](threat=Threat()).perturb(as_policy(net(), None, BOX), Decisions.of(states()))


def test_an_action_beyond_the_box_is_led_back() -> None:
    """Where the clean mean is far above the end, an ascent that pushed it up would change nothing that is played."""

    def beyond(x: Tensor) -> Tensor:
        return 1.2 + 2 * x[:, :1]  # cut off at 1 for all x > -0.1

    policy = as_policy(beyond, None, Box(-1, 1, (1,)))
    zeros = torch.zeros(N, D)
    for seed in range(3):
        shown = ATTACKS["pgd"](threat=Threat(epsilon=0.5)).perturb(policy, Decisions.of(zeros), seed)
        torch.testing.assert_close(shown[:, 0], torch.full((N,), -0.5))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in FIT])
def test_what_does_not_fit_is_refused_and_names_what_does(name: str) -> None:
    with pytest.raises(UserError, match="take one of random, pgd, fgsm, mim, apgd-ce, critic"):
        ATTACKS[name](threat=Threat()).perturb(as_policy(net(), None, BOX), Decisions.of(states()))


def test_a_row_of_discrete_actions_is_as_it_was() -> None:
    """Nothing is said of vectors where none was asked for."""
    assert "drift" not in ATTACKS["pgd"](threat=Threat()).parameters()
    assert MIM(threat=Threat(), drift="density").parameters()["drift"] == "density"


SPREAD = "pettingzoo:mpe2.simple_spread_v3"


def game(rounds: int = 2, **options: Any) -> ParallelGame:
    made = make_scenario(SPREAD, {"max_steps": 25, "continuous_actions": True, **options}).make(rounds)
    assert isinstance(made, ParallelGame)
    return made


def heading(states: Tensor) -> tuple[Tensor, Tensor]:
    """Towards the first landmark, by the five numbers of simple_spread: none, left, right, down, up."""
    x, y = (5 * (states[:, 4:6] - 0.5 * states[:, :2])).unbind(1)
    return torch.stack([torch.zeros_like(x), -x, x, -y, y], 1), torch.full((5,), -2.0)


heads = as_policy(heading, None, Box(0, 1, (5,)))


def test_it_is_a_game() -> None:
    check_game(make_scenario(SPREAD, {"max_steps": 25, "continuous_actions": True}))


def test_mean_actions_are_the_mean_vectors() -> None:
    made = game()
    made.reset(np.array([1, 2]), np.zeros(2, bool))
    actions = np.random.default_rng(0).random((6, 5), np.float32)
    (outcome,) = made.step([actions])
    expected = actions.reshape(2, 3, 5).mean(1)
    np.testing.assert_allclose(outcome.mean_actions, expected.repeat(3, 0), rtol=1e-6)
    np.testing.assert_array_equal(made.observe(0).mean_actions.numpy(), outcome.mean_actions)


def test_rounds_are_pairs_and_rows_tell_how_far_actions_moved() -> None:
    def played(name: str, epsilon: float, count: int, **how: Any) -> list[Any]:
        attack = ATTACKS[name](threat=Threat(epsilon=epsilon))
        return play_rounds(game(4), heads, seed=3, adversary=Adversary(attack, count), **how)

    clean = play_rounds(game(4), heads, seed=3)
    assert [r.displacement for r in clean] == [None] * 4
    still = played("pgd", 0.0, 3)
    assert [r.reward for r in still] == [r.reward for r in clean]
    assert [r.displacement for r in still] == [0.0] * 4
    assert all(r.flips is None for r in clean + still)
    noise, attacked = played("random", 0.3, 3), played("pgd", 0.3, 3)
    for one, other in zip(noise, attacked, strict=True):
        assert 0 < one.displacement < other.displacement
    assert str(attacked) == str(played("pgd", 0.3, 3))
    assert str(clean) != str(play_rounds(game(4), heads, seed=3, greedy=True))


def test_kinds_that_do_not_fit_are_told() -> None:
    group = game().groups[0]
    choice = make_scenario(SPREAD).make(1).groups[0]
    with pytest.raises(UserError, match=r"vectors of numbers \(Box\)"):
        policy_for(Choosing(), group)
    with pytest.raises(UserError, match=r"has a choice between actions"):
        policy_for(as_policy(net(), None, BOX), choice)


class Choosing:
    def logits(self, decisions: Decisions) -> Tensor:
        return decisions.dense[:, :5]


def test_nothing_that_reads_logits_takes_vectors_for_them() -> None:
    """Certificates and integers would prove, and turn, the largest number of a vector."""
    hidden = nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, K))
    assert TwoHidden.of(as_policy(hidden)) is not None
    assert TwoHidden.of(as_policy(hidden, None, BOX)) is None
    assert Stack.of(as_policy(hidden, None, BOX)) is not None


def test_a_policy_with_memory_may_act_in_vectors() -> None:
    class Leaky:
        def initial_memory(self, n: int) -> Tensor:
            return torch.zeros(n, 2)

        def step(self, states: Tensor, memory: Tensor) -> Any:
            memory = 0.5 * memory + states[:, 4:6]
            return heading(torch.cat([states[:, :4], memory, states[:, 6:]], 1)), memory

    adversary = Adversary(ATTACKS["pgd"](threat=Threat(epsilon=0.2)), 3)
    rounds = play_rounds(game(), Leaky(), seed=0, adversary=adversary)  # type: ignore[arg-type]
    assert all(r.displacement and r.displacement > 0.05 for r in rounds)
