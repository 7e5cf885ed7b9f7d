"""Tabular games: values, the optimal perturbation, and what must hold of every game."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlrobust.errors import UserError
from marlrobust.theory.examples import EXAMPLES
from marlrobust.theory.game import Flags, Numbers, Sasg, anything, nothing, random_games
from marlrobust.theory.memory import by_the_clock, with_clock
from marlrobust.theory.perturbation import equilibria, exhaustive, operator, optimal, value_iteration
from marlrobust.theory.theorems import one_of
from marlrobust.theory.values import adversaries, clean_values, simulate

seeds = st.integers(0, 2**32 - 1)
gammas = st.sampled_from((0.0, 0.3, 0.9))


def drawn(seed: int, gamma: float = 0.9, *, agents: int = 2, states: int = 3) -> tuple[Sasg, Numbers, Flags]:
    """A game, a policy, and false states of which some are forbidden."""
    rng = np.random.default_rng(seed)
    game, policy = random_games(rng, 1, agents=agents, states=states, actions=2, attacked=agents, gamma=gamma)
    some = rng.random((agents, states, states)) < 0.5
    return one_of(game, 0), policy[0], some | np.eye(states, dtype=bool)


def team(game: Sasg, policy: Numbers) -> Numbers:
    """V (S,) of the team under the optimal perturbation."""
    values: Numbers = optimal(adversaries(game, policy)).values[0]
    return values


@given(seeds, gammas)
@settings(max_examples=60, deadline=None)
def test_operator_contracts_by_gamma(seed: int, gamma: float) -> None:
    game, policy, some = drawn(seed, gamma)
    mdp = adversaries(game.attacking(some), policy)
    rng = np.random.default_rng(seed)
    v, w = rng.normal(size=(2, 20, 3)) * rng.uniform(0.1, 100)
    moved = np.abs(operator(mdp, v, 0, mdp.allowed) - operator(mdp, w, 0, mdp.allowed)).max(-1)
    assert (moved <= gamma * np.abs(v - w).max(-1) + 1e-9).all()


@given(seeds, gammas)
@settings(max_examples=60, deadline=None)
def test_more_false_states_never_help(seed: int, gamma: float) -> None:
    game, policy, some = drawn(seed, gamma)
    fewer = some & (np.random.default_rng(seed + 1).random(some.shape) < 0.5) | np.eye(3, dtype=bool)
    few, more, all_ = (team(game.attacking(b), policy) for b in (fewer, some, anything(2, 3)))
    assert (more <= few + 1e-9).all()
    assert (all_ <= more + 1e-9).all()


@given(seeds, gammas)
@settings(max_examples=60, deadline=None)
def test_the_truth_alone_is_the_clean_game(seed: int, gamma: float) -> None:
    game, policy, _ = drawn(seed, gamma)
    found = optimal(adversaries(game.attacking(nothing(2, 3)), policy)).values
    np.testing.assert_allclose(found, clean_values(game, policy), atol=1e-9)


@given(seeds, gammas)
@settings(max_examples=60, deadline=None)
def test_more_attacked_agents_never_help_the_team(seed: int, gamma: float) -> None:
    game, policy, some = drawn(seed, gamma, agents=3, states=2)
    values = [team(game.attacking(some[:m]), policy) for m in range(4)]
    for fewer, more in pairwise(values):
        assert (more <= fewer + 1e-9).all()
    np.testing.assert_allclose(values[0], clean_values(game, policy)[0], atol=1e-9)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_policy_iteration_finds_what_exhaustive_search_finds(seed: int) -> None:
    game, policy, some = drawn(seed)
    mdp = adversaries(game.attacking(some), policy)
    best, oracle = optimal(mdp), exhaustive(mdp)
    np.testing.assert_allclose(best.values, oracle.values, atol=1e-8)
    assert mdp.allowed[np.arange(3), best.v].all()
    np.testing.assert_allclose(value_iteration(mdp, steps=300)[-1], oracle.values[0], atol=1e-8)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_fixed_points_are_those_that_no_adversary_leaves(seed: int) -> None:
    game, policy, some = drawn(seed)
    mdp = adversaries(game.attacking(some), policy)
    vs, values = equilibria(mdp)
    assert (np.abs(values[:, 0] - optimal(mdp).values[0]).max(1) < 1e-8).any()  # the joint optimum is one of them
    for v, own in zip(vs, values, strict=True):
        for agent in (0, 1):
            alone = optimal(mdp, agent, mdp.only(agent, v))
            np.testing.assert_allclose(alone.values[agent], own[agent], atol=1e-6)


def test_a_batch_of_games_is_the_games_one_by_one() -> None:
    games, policies = random_games(np.random.default_rng(0), 7, agents=2, states=3, actions=2, attacked=2, gamma=0.9)
    together = optimal(adversaries(games, policies)).values
    for i in range(7):
        np.testing.assert_allclose(together[i], optimal(adversaries(one_of(games, i), policies[i])).values)


def test_values_are_those_of_simulated_play() -> None:
    game, policy, _ = drawn(5, 0.8)
    best = optimal(adversaries(game, policy))
    mean, error = simulate(game, policy, best.v, 1, runs=4000, steps=60, rng=np.random.default_rng(0))
    assert (np.abs(mean - best.values[:, 1]) < 4 * error).all()


def test_an_unattacked_agent_sees_the_truth() -> None:
    example = EXAMPLES["same_or_different"]
    game = example.game.attacking(anything(1, 2))
    swapped = optimal(adversaries(game, example.policies["equilibrium"][::-1])).values[0]
    np.testing.assert_allclose(swapped, [0, 0], atol=1e-9)  # only the agent that reads the state is worth fooling
    blind = optimal(adversaries(game, example.policies["equilibrium"])).values[0]
    np.testing.assert_allclose(blind, [100, 100])


def test_rewards_of_the_next_state_are_averaged() -> None:
    transitions = [[[0.25, 0.75]], [[0.0, 1.0]]]
    game = Sasg.of(transitions, [[[[4.0, 8.0]], [[0.0, -9.0]]]], anything(1, 2), 0.5)
    np.testing.assert_allclose(game.rewards[0, :, 0], [7.0, -9.0])
    assert game.largest == 9.0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"transitions": np.full((2, 2, 2), 0.4)}, "probabilities"),
        ({"transitions": np.full((2, 2, 3), 1 / 3)}, "transitions are"),
        ({"rewards": np.zeros((1, 2, 3))}, "rewards"),
        ({"rewards": np.full((1, 2, 2), np.nan)}, "rewards"),
        ({"false_states": np.zeros((1, 2, 2))}, "at least one"),
        ({"false_states": np.ones((2, 2, 2))}, "M <= N"),
        ({"gamma": 1.0}, "gamma"),
    ],
)
def test_arrays_that_are_no_game_are_refused(change: dict[str, object], word: str) -> None:
    good: dict[str, Any] = {"transitions": np.full((2, 2, 2), 0.5), "rewards": np.zeros((1, 2, 2)),
            "false_states": anything(1, 2), "gamma": 0.9}  # fmt: skip
    Sasg.of(**good)
    with pytest.raises(UserError, match=word):
        Sasg.of(**{**good, **change})


def test_too_many_perturbations_are_refused() -> None:
    game, policy, _ = drawn(0, states=6)
    with pytest.raises(UserError, match="take fewer states"):
        exhaustive(adversaries(game, policy))


def test_a_clock_changes_nothing_for_who_does_not_look() -> None:
    game, policy, some = drawn(3)
    clocked = with_clock(game.attacking(some), (1, 2, 0))
    found = optimal(adversaries(clocked, np.repeat(policy, 3, axis=1))).values[0].reshape(3, 3)
    plain = team(game.attacking(some), policy)
    np.testing.assert_allclose(found, np.repeat(plain[:, None], 3, 1), atol=1e-9)


def test_who_plays_by_the_clock_cannot_be_fooled() -> None:
    game = with_clock(EXAMPLES["three_states"].game, (1, 2, 2))
    policy = by_the_clock([[1, 1, 0]], 3, 2)
    worst = optimal(adversaries(game, policy)).values[0]
    np.testing.assert_allclose(worst, clean_values(game, policy)[0])
    np.testing.assert_allclose(worst.reshape(3, 3)[:, 0], [1 + 98.01, 98.01, 0.99 + 98.01])
