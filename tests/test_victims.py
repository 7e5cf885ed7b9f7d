"""Victims: drawn without replacement, and nested, so that counts can be compared in pairs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marlrobust.attacks import VICTIMS, Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.victim_search import FixedVictims, TriedVictims, WorstVictims
from marlrobust.attacks.victims import CriticalVictims, NearestVictims, Scene, Victims, draw_victims
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.parameters import build
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.sparse import compress


@given(st.integers(0, 80), st.integers(0, 64), st.integers(0, 2**31))
def test_they_are_distinct_sorted_agents_of_the_team(count: int, team: int, seed: int) -> None:
    victims = draw_victims(count, team, np.random.default_rng(seed))
    assert len(victims) == min(count, team)
    assert (np.diff(victims) > 0).all()
    assert ((victims >= 0) & (victims < team)).all()


@given(st.integers(0, 64), st.integers(0, 64), st.integers(0, 2**31))
def test_fewer_are_among_more_under_the_same_seed(a: int, b: int, seed: int) -> None:
    fewer, more = (draw_victims(n, 64, np.random.default_rng(seed)) for n in sorted((a, b)))
    assert set(fewer.tolist()) <= set(more.tolist())


def test_every_agent_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    hits = np.bincount(np.concatenate([draw_victims(8, 32, rng) for _ in range(4000)]), minlength=32)
    assert abs(hits / 4000 - 0.25).max() < 0.03


def test_the_seed_decides() -> None:
    first, again, other = (draw_victims(16, 64, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_count_above_the_team_is_the_whole_team() -> None:
    assert draw_victims(64, 32, np.random.default_rng(0)).tolist() == list(range(32))


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        draw_victims(-1, 4, np.random.default_rng(0))


class Standing:
    """A game of two rounds, just observed: its agents at `own` (n, 2), two opponents of each round at column 9."""

    def __init__(self, seen: Decisions, own: np.ndarray, size: int) -> None:
        self.seen, self.own, self.groups = seen, own, (SimpleNamespace(size=size),) * 2
        self.swapped = np.array([False, True])

    def positions(self, group: int) -> np.ndarray:
        return np.array([[9, 0], [9, 0]]) if group else self.own

    def observe(self, group: int) -> Decisions:
        if group == 0:
            return self.seen
        zeros = torch.zeros(2, 0)
        return Decisions(zeros, zeros, np.array([0, 1]), np.array([0, 0]), np.array([5, 5]))


def scene(count: int, *, size: int = 4, own: np.ndarray | None = None, **changes: Any) -> Scene:
    """Two rounds of a team of four; in the second, agent 1 is dead. Agent i stands at column i, opponents at 9."""
    rows = 7
    torch.manual_seed(0)
    policy = MeanFieldPolicy(5, 3, hidden=8, embedding=4)
    agent = np.array([0, 1, 2, 3, 0, 2, 3])
    round_ = np.array([0, 0, 0, 0, 1, 1, 1])
    decisions = Decisions(torch.randn(rows, 5), torch.zeros(rows, 3), round_, agent, np.full(rows, 5))
    with torch.no_grad():
        logits = policy.logits(decisions)
    plain: dict[str, Any] = {
        "game": Standing(decisions, np.stack([agent, agent * 0], axis=1) if own is None else own, size),
        "own": [0],
        "seen": [decisions],
        "logits": [logits],
        "policies": [policy],
        "attacks": [PGD(threat=Threat(epsilon=0.5), steps=3)],
        "count": count,
        "rngs": [np.random.default_rng(r) for r in range(2)],
        "rng": torch.Generator().manual_seed(0),
    }
    return Scene(**{**plain, **changes})


@pytest.mark.parametrize("name", ["random", "first", "nearest", "critical"])
@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_no_strategy_takes_more_than_the_count(name: str, count: int) -> None:
    mask = VICTIMS[name]().choose(scene(count))
    assert mask.shape == (2, 4)
    assert mask[0].sum() == count
    assert mask[1].sum() <= count


def test_nearest_are_nearest() -> None:
    assert NearestVictims().choose(scene(2)).tolist() == [[False, False, True, True]] * 2
    level = scene(2, own=np.zeros((7, 2), int))
    assert NearestVictims().choose(level).tolist() == [[True, True, False, False], [True, False, True, False]]


def test_critical_are_those_whose_value_falls_most() -> None:
    """By hand: what each agent's expected value loses, one attacked state after the other."""
    where = scene(1)
    (policy,), (seen,), (attack,) = where.policies, where.seen, where.attacks
    assert isinstance(policy, MeanFieldPolicy)
    adversarial = attack.perturb(policy, seen, torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = policy.q_values(seen)
        clean, after = (policy.logits(d).softmax(1) for d in (seen, seen.showing(adversarial)))
        loss = (clean * values).sum(1) - (after * values).sum(1)
        mask = CriticalVictims().choose(where)
    assert mask[0].argmax() == loss[:4].argmax()
    assert seen.agent[4:][int(loss[4:].argmax())] == mask[1].argmax()
    assert CriticalVictims().every_step
    assert not CriticalVictims(when="start").every_step


def test_critical_are_the_same_where_states_are_compressed() -> None:
    """As a game gives them."""
    where = scene(2)
    (seen,) = where.seen
    compressed = replace(where, seen=[seen.showing(compress(seen.dense.numpy()))], rng=torch.Generator())
    dense = replace(where, rng=torch.Generator())
    assert (CriticalVictims().choose(compressed) == CriticalVictims().choose(dense)).all()


def test_critical_needs_a_critic() -> None:
    with pytest.raises(UserError, match="need a policy with a critic"):
        CriticalVictims().choose(scene(1, policies=[object()]))


class Rehearsal:
    """Agents that are worth something each, another thing on the other side; remembers what was played."""

    def __init__(self, worth: np.ndarray, noise: float = 0.0) -> None:
        self.worth, self.noise, self.played = worth, noise, 0
        self.rng = np.random.default_rng(0)

    def __call__(self, victims: Victims, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(victims, TriedVictims)
        assert len(victims.sets) == len(numbers)
        self.played += len(numbers)
        swapped = numbers % 2 == 1
        rewards = [
            -self.worth[int(side)][list(sets.agents[int(side)])].sum()
            for sets, side in zip(victims.sets, swapped, strict=True)
        ]
        return np.array(rewards) + self.rng.normal(0, self.noise, len(numbers)), swapped


def test_the_search_finds_the_worst_of_each_side_within_its_rounds() -> None:
    worth = np.zeros((2, 12))
    worth[0, [4, 5, 10]], worth[1, [0, 1, 7]] = 5.0, 5.0
    rehearsal = Rehearsal(worth, noise=1.0)
    strategy = WorstVictims(block=2, search_rounds=200)
    found = strategy.search(4, 12, rehearsal)
    assert found == FixedVictims(((4, 5, 10, 11), (0, 1, 6, 7)))
    assert rehearsal.played == strategy.rehearsals(4, 12) <= 200
    mask = found.choose(scene(4, size=12))
    assert [np.flatnonzero(own).tolist() for own in mask] == [[4, 5, 10, 11], [0, 1, 6, 7]]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6))
def test_the_search_gives_the_count_and_plays_what_it_says(count: int, size: int, block: int) -> None:
    strategy = WorstVictims(block=block, search_rounds=400)
    rehearsal = Rehearsal(np.random.default_rng(1).random((2, size)))
    found = strategy.search(count, size, rehearsal)
    for agents in found.agents:
        assert len(set(agents)) == len(agents) == min(count, size)
        assert set(agents) <= set(range(size))
    assert rehearsal.played == strategy.rehearsals(count, size)


def test_a_search_without_rounds_for_every_trial_is_refused() -> None:
    with pytest.raises(UserError, match="larger search_rounds than 10"):
        WorstVictims(block=1, search_rounds=10).rehearsals(8, 64)
    assert issubclass(VICTIMS["worst"], Victims)


def nobody_plays(victims: Victims, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    raise AssertionError("there was nothing to search for")


@pytest.mark.parametrize("count", [0, 4, 5, 64])
@pytest.mark.parametrize("name", list(VICTIMS))
def test_every_strategy_can_be_searched_for_nobody_and_for_the_whole_team(name: str, count: int) -> None:
    """No round is played for that, and what was found chooses."""
    strategy = VICTIMS[name]()
    assert strategy.rehearsals(count, 4) == 0
    mask = strategy.search(count, 4, nobody_plays).choose(scene(count))
    assert (mask[0] == (count > 0)).all()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("worst", {"block": "0"}, "block: input should be greater than or equal to 1"),
        ("worst", {"search_rounds": "2.5"}, "search_rounds: input should be a valid integer"),
        ("critical", {"when": "never"}, "when: input should be 'step' or 'start'"),
        ("random", {"count": 3}, "no parameter 'count'"),
    ],
)
def test_mistakes_are_told(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"the victims '{name}' .*{message}"):
        build("victims", name, VICTIMS[name], given)
    assert build("victims", "worst", WorstVictims, {"block": "4"}).parameters() == {"block": 4, "search_rounds": 256}
