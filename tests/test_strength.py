"""What each attack is worth: it does what it is for better than one that is not for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from tests.test_attacks import Fixed, actions_of, cross_entropy, generator, make, make_batch, make_policy


class Quantised(nn.Module):
    """Rounds what it sees to tenths: its gradient is 0 everywhere, and it only looks robust."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def logits(self, decisions: Decisions) -> Tensor:
        y: Tensor = self.policy.logits(decisions.showing((decisions.dense * 10).round() / 10))
        return y


class Saturated(Quantised):
    """A softmax so sure that the gradient of its cross-entropy vanishes (trap 4)."""

    def logits(self, decisions: Decisions) -> Tensor:
        probabilities = F.softmax(self.policy.logits(decisions) / 0.1, 1)
        return probabilities.clamp(1e-6, 1 - 1e-6).log()


class Noisy(Quantised):
    """Adds noise to its logits at each call."""

    def logits(self, decisions: Decisions) -> Tensor:
        y: Tensor = self.policy.logits(decisions)
        return y + 0.5 * torch.randn_like(y)


class Mute(nn.Module):
    """A policy without a critic."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def logits(self, decisions: Decisions) -> Tensor:
        y: Tensor = self.policy.logits(decisions)
        return y


def flips(policy: Any, name: str, parameters: dict[str, Any] | None = None, **threat: Any) -> Tensor:
    """(n,) whether the attack changes the argmax of each of a batch's states."""
    decisions = make_batch(300)
    perturbed = make(name, parameters or {}, **threat).perturb(policy, decisions, generator())
    return actions_of(policy, decisions) != actions_of(policy, decisions.showing(perturbed))


def value(policy: Any, perturbed: Tensor, decisions: Decisions) -> Tensor:
    """Of the true states (n,) under the policy of the perturbed ones."""
    with torch.no_grad():
        pi = F.softmax(policy.logits(decisions.showing(perturbed)), 1)
        values: Tensor = (pi * policy.q_values(decisions)).sum(1)
        return values


@pytest.mark.parametrize("norm", ["l_inf", "l_2"])
def test_apgd_reaches_a_higher_loss_than_pgd_of_as_many_steps(norm: str) -> None:
    policy, decisions = make_policy(scale=4.0, hidden=64), make_batch(300)
    epsilon = 0.075 if norm == "l_inf" else 0.4
    pgd, apgd = (
        cross_entropy(
            policy,
            make(n, {"steps": 20}, norm=norm, epsilon=epsilon).perturb(policy, decisions, generator()),
            decisions,
        )
        for n in ("pgd", "apgd-ce")
    )
    assert apgd.mean() > 0.99 * pgd.mean()
    assert (apgd >= pgd - 1e-4).float().mean() > 0.6


def test_apgd_keeps_its_best_point() -> None:
    policy, decisions = make_policy(scale=4.0), make_batch(200)
    for name in ("apgd-ce", "apgd-dlr"):
        one = make(name, {"steps": 1}).perturb(policy, decisions, generator())
        actions = actions_of(policy, decisions)
        with torch.no_grad():
            shown = decisions, decisions.showing(one)
            losses = [make(name, {}).loss(policy.logits(d), actions) for d in shown]  # type: ignore[attr-defined]
        assert (losses[1] >= losses[0]).all()


def test_mim_is_near_pgd() -> None:
    policy, decisions = make_policy(), make_batch(300)
    pgd, mim = (
        cross_entropy(policy, make(n, {}).perturb(policy, decisions, generator()), decisions).mean()
        for n in ("pgd", "mim")
    )
    assert mim > 0.9 * pgd


def test_mad_moves_the_whole_distribution() -> None:
    policy, decisions = make_policy(), make_batch(300)

    def divergence(name: str) -> Tensor:
        perturbed = make(name, {}).perturb(policy, decisions, generator())
        with torch.no_grad():
            p, q = (F.log_softmax(policy.logits(d), 1) for d in (decisions, decisions.showing(perturbed)))
        return F.kl_div(q, p, reduction="batchmean", log_target=True)

    assert divergence("mad") > 5 * divergence("random")


@pytest.mark.parametrize("target", [3, "worst"])
def test_targeted_reaches_its_target(target: Any) -> None:
    policy, decisions = make_policy(), make_batch(300)
    with torch.no_grad():
        worst = policy.q_values(decisions).argmin(1)
        wanted = worst if target == "worst" else torch.full_like(worst, target)

        def reached(name: str, parameters: dict[str, Any]) -> Tensor:
            perturbed = make(name, parameters).perturb(policy, decisions, generator())
            return (actions_of(policy, decisions.showing(perturbed)) == wanted).float().mean()

        assert reached("targeted", {"target": target}) > reached("pgd", {}) + 0.2


def test_the_critic_attack_lowers_the_true_states_value() -> None:
    """Trap 3: the critic is asked about the states that are, never about those that are shown."""
    policy, decisions = make_policy(), make_batch(300)
    asked: list[Tensor] = []
    own = policy.q_values

    def spy(seen: Decisions) -> Tensor:
        asked.append(seen.dense)
        values: Tensor = own(seen)
        return values

    policy.q_values = spy
    perturbed = {n: make(n, {}).perturb(policy, decisions, generator()) for n in ("critic", "pgd")}
    assert asked
    assert torch.equal(torch.cat(asked), decisions.dense)
    lowered = {n: value(policy, s, decisions).mean() for n, s in perturbed.items()}
    assert lowered["critic"] < lowered["pgd"] < value(policy, decisions.dense, decisions).mean()


@pytest.mark.parametrize("name", ["critic", "targeted"])
def test_a_policy_without_a_critic_is_told_so(name: str) -> None:
    with pytest.raises(UserError, match="asks a critic, and Mute has none"):
        make(name, {}).perturb(Mute(make_policy()), make_batch(), generator())


@pytest.mark.parametrize("norm", ["l_inf", "l_2"])
def test_square_beats_noise_where_gradients_are_zero(norm: str) -> None:
    policy = Quantised(make_policy())
    epsilon = 0.075 if norm == "l_inf" else 0.5
    square = flips(policy, "square", norm=norm, epsilon=epsilon)
    assert square.sum() > 2 * flips(policy, "random", {"kind": "sign"}, norm=norm, epsilon=epsilon).sum()
    if norm == "l_inf":
        assert not flips(policy, "pgd").any()


def test_timed_strikes_only_where_it_pays() -> None:
    policy, decisions = make_policy(), make_batch(300)
    perturbed = make("timed", {"beta": 0.6}).perturb(policy, decisions, generator())
    with torch.no_grad():
        pi = F.softmax(policy.logits(decisions), 1)
    cares = pi.amax(1) - pi.amin(1) >= 0.6
    assert 0 < cares.sum() < len(cares)
    assert torch.equal((perturbed != decisions.dense).any(1), cares)
    alone = make("pgd", {}).perturb(policy, decisions.take(cares), generator())
    assert torch.equal(perturbed[cares], alone)


def test_transfer_is_the_attack_on_its_source() -> None:
    policy, decisions = make_policy(), make_batch()
    there = make("transfer", {"source": Fixed(), "inner": "fgsm"}).perturb(policy, decisions, generator())
    assert torch.equal(there, make("fgsm", {}).perturb(Fixed(), decisions, generator()))


@pytest.mark.parametrize("name", ["pgd", "margin", "apgd-ce", "apgd-dlr", "targeted", "critic", "fgsm"])
def test_auto_flips_every_state_that_a_member_flips(name: str) -> None:
    policy = make_policy(scale=2.0)
    together = flips(policy, "auto", epsilon=0.02)
    alone = flips(policy, name, epsilon=0.02)
    assert 0.02 < alone.float().mean() < 0.98
    assert together[alone].all()


def test_auto_lowers_the_value_at_least_as_far_as_any_member_among_its_flips() -> None:
    policy, decisions = make_policy(), make_batch(300)
    best = make("auto", {}).perturb(policy, decisions, generator())
    flipped = flips(policy, "auto")
    for name in ("targeted", "critic"):
        other = make(name, {}).perturb(policy, decisions, generator())
        both = flipped & flips(policy, name)
        ours, theirs = (value(policy, s, decisions)[both] for s in (best, other))
        assert (ours <= theirs + 1e-5).all()


@pytest.mark.parametrize(
    ("planted", "least", "more"), [(Saturated, 0.7, 0.1), (Quantised, 0.9, 0.9), (Noisy, 0.7, -0.1)]
)
def test_auto_breaks_what_only_looks_robust(planted: Any, least: float, more: float) -> None:
    """least: share that it flips; more: how far that is above PGD's."""
    policy = planted(make_policy(scale=4.0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        broken = flips(policy, "auto").float().mean()
        assert broken > least
        assert broken > flips(policy, "pgd").float().mean() + more


def test_auto_works_without_a_critic() -> None:
    policy = Mute(make_policy())
    assert flips(policy, "auto").float().mean() >= flips(policy, "pgd").float().mean()
