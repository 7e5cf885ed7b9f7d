"""Recurrent policies: each agent has its own memory, from a round's start, of what it was shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.probes import Sample, measure
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Decisions, Game
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.hidden_memory import refuse_hidden_memory
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.memory import Memories
from marlrobust.streams import stream, torch_stream

D, A = 1217, 21


def game(steps: int = 12) -> Game:
    return Battle(map_size=16, max_steps=steps).make(3)


class Recurrent:
    """Remembers how often it was shown something, and what it was shown last."""

    def __init__(self) -> None:
        self.asked: list[tuple[Decisions, Any]] = []
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.policy = MeanFieldPolicy(D, A, hidden=16, embedding=4)

    def initial_memory(self, n: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(n, dtype=torch.int64), torch.full((n, D), -1.0)

    def step(self, decisions: Decisions, memory: tuple[Tensor, Tensor]) -> Any:
        self.asked.append((decisions, memory))
        count, last = memory
        logits = self.policy.actor(decisions.dense, decisions.mean_actions) + 0.1 * last[:, :A]
        return logits, (count + 1, decisions.dense)


class Watch(Observer):
    """Keeps what attacked agents were shown, and what their decisions carried."""

    def __init__(self) -> None:
        self.seen: list[tuple[Decisions, Tensor]] = []

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        self.seen.append((decisions, shown.clone()))


def played(attack: Any, count: int) -> tuple[Recurrent, Watch]:
    policy, watch = Recurrent(), Watch()
    other = MeanFieldPolicy(D, A, hidden=8, embedding=4)
    play_rounds(game(), as_policy(policy), other, seed=3, adversary=Adversary(attack, count), observers=[watch])
    return policy, watch


@pytest.mark.parametrize(("name", "steps"), [("pgd", 5), ("random", None), ("square", None)])
def test_a_memory_counts_the_steps_whatever_an_attack_asks(name: str, steps: int | None) -> None:
    options: dict[str, Any] = {"steps": steps} if steps else {"queries": 5} if name == "square" else {}
    policy, watch = played(ATTACKS[name](threat=Threat(epsilon=0.5), **options), 6)
    assert watch.seen
    for decisions, (count, _) in policy.asked:
        np.testing.assert_array_equal(count.numpy(), decisions.step)
    assert max(d.step.max() for d, _ in policy.asked) == 11


def test_what_is_remembered_is_what_was_shown_attacked_or_not() -> None:
    _, watch = played(ATTACKS["random"](threat=Threat(epsilon=0.5), kind="sign"), 2)  # type: ignore[call-arg]
    for (before, shown), (after, _) in zip(watch.seen, watch.seen[1:], strict=False):
        places = {(r, a): i for i, (r, a) in enumerate(zip(before.round, before.agent, strict=True))}
        for i, place in enumerate(zip(after.round, after.agent, strict=True)):
            assert torch.equal(after.memory[1][i], shown[places[place]])
            assert not torch.equal(after.memory[1][i], before.dense[places[place]])
    first = watch.seen[0][0]
    assert (first.memory[1] == -1).all()  # a round starts with the initial memory


def test_rows_keep_their_memory() -> None:
    memories = Memories(as_policy(Recurrent()), 2, 5)
    memories.memory = (torch.arange(10), torch.arange(10.0).repeat(D, 1).t())
    decisions = Decisions.of(torch.zeros(3, D), torch.zeros(3, A))
    decisions.agent[:], decisions.round[:] = (4, 1, 3), (0, 1, 1)
    carried = memories.carried(decisions)
    assert carried.memory[0].tolist() == [4, 6, 8]
    for rows in (torch.tensor([2, 0]), torch.tensor([True, False, True]), slice(1, 3)):
        assert torch.equal(carried.take(rows).memory[0], carried.memory[0][rows])
    assert Decisions.joined([carried.take(slice(i, i + 1)) for i in range(3)]).memory[0].tolist() == [4, 6, 8]
    memories.advance(carried)
    assert memories.memory[0].tolist() == [0, 1, 2, 3, 5, 5, 7, 7, 9, 9]


class Gated(nn.Module):
    """A recurrent network that sees states alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(20, 32), nn.Linear(32, 4)

    def initial_memory(self, n: int) -> Tensor:
        return torch.zeros(n, 32)

    def step(self, states: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        following = self.cell(states, memory)
        return 8 * self.out(following), following


def test_attacks_climb_through_a_recurrent_network_from_its_memory() -> None:
    torch.manual_seed(0)
    net = Gated()
    policy = as_policy(net)
    states, memory = torch.randn(100, 20), torch.randn(100, 32)
    decisions = replace(Decisions.of(states), memory=memory)
    with torch.no_grad():
        clean = policy.logits(decisions)
        assert torch.equal(clean, net.step(states, memory)[0])

        def loss(name: str) -> float:
            moved = ATTACKS[name](threat=Threat(epsilon=0.2)).perturb(policy, decisions)
            return F.cross_entropy(net.step(moved, memory)[0], clean.argmax(1)).item()

        assert loss("pgd") > 1.2 * loss("random")
    assert torch.equal(decisions.memory, memory)


class Hidden:
    """Remembers, and does not say so."""

    def __init__(self) -> None:
        self.policy, self.steps = MeanFieldPolicy(D, A, hidden=8, embedding=4), 0

    def logits(self, decisions: Decisions) -> Tensor:
        self.steps += 1
        return self.policy.logits(decisions) + self.steps * torch.arange(A)


def test_a_policy_that_hides_a_memory_is_refused_on_either_side() -> None:
    other = MeanFieldPolicy(D, A, hidden=8, embedding=4)
    for sides in ((Hidden(), other), (other, Hidden())):
        with pytest.raises(UserError, match="remembers what it was asked"):
            play_rounds(game(), *sides, seed=0)


def test_a_policy_of_other_observations_is_told_at_once() -> None:
    other = MeanFieldPolicy(D, A, hidden=8, embedding=4)
    with pytest.raises(UserError, match=r"the policy fails when it is asked about \d+ observations of 1217 numbers"):
        play_rounds(game(), as_policy(Gated().out), other, seed=0)


def test_noise_is_no_memory() -> None:
    class Noisy:
        def logits(self, decisions: Decisions) -> Tensor:
            return torch.randn(len(decisions), A)

    own = np.random.default_rng(0)

    class OwnChance:
        def logits(self, decisions: Decisions) -> Tensor:
            return torch.from_numpy(own.normal(size=(len(decisions), A)).astype(np.float32))

    class Declared(OwnChance):
        random = True

    seen = Decisions.of(torch.zeros(4, D))
    refuse_hidden_memory(Noisy(), seen)
    refuse_hidden_memory(Declared(), seen)
    with pytest.raises(UserError, match="random = True"):
        refuse_hidden_memory(OwnChance(), seen)


def test_probes_ask_with_the_memory_that_was_there() -> None:
    policy = Recurrent()
    sample, attack = Sample(stream(0, "checks"), 40), PGD(threat=Threat(epsilon=0.3), steps=3)
    other = MeanFieldPolicy(D, A, hidden=8, embedding=4)
    play_rounds(game(), as_policy(policy), other, seed=3, adversary=Adversary(attack, 6), observers=[sample])
    (decisions,) = sample.decisions().values()
    np.testing.assert_array_equal(decisions.memory[0].numpy(), decisions.step)
    assert len(np.unique(decisions.step)) > 3
    probed = measure(as_policy(policy), attack, decisions, torch_stream(0, "checks"))
    assert probed["probe_noise"] == 0
