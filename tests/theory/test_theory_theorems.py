"""The theorems: what holds, and the games where the printed text does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlrobust.errors import UserError
from marlrobust.theory.bound import bound
from marlrobust.theory.equilibrium import gains, held_equilibria, pure_equilibria, refute, slope, smallest
from marlrobust.theory.examples import EXAMPLES, leak
from marlrobust.theory.game import anything, nothing, random_games
from marlrobust.theory.known import HE, ZHANG, known, memory
from marlrobust.theory.perturbation import equilibria, optimal
from marlrobust.theory.theorems import theorem_4
from marlrobust.theory.values import adversaries


@pytest.mark.parametrize("section", [known(), memory()], ids=lambda section: section.name)
def test_every_published_number_comes_out(section) -> None:  # type: ignore[no-untyped-def]
    assert section.lines
    assert [line for line in section.lines if line.verdict == "fails"] == []


def test_the_published_tables_are_all_compared() -> None:
    assert len([line for line in known().lines if line.verdict == "holds"]) == 2 * (len(ZHANG) + len(HE))


def test_memory_beats_every_stationary_policy_of_the_grid() -> None:
    values = memory().values["three_states"]
    assert min(values["A2, A2, then A1"]) > max(values["best_stationary"]) + 30


def test_a_fixed_point_is_not_unique() -> None:
    example = EXAMPLES["two_optima"]
    found = equilibria(adversaries(example.game, example.policies["act as shown"]))[1][:, 0, 0]
    assert {round(v, 6) for v in found} == {0.0, 10.0}


def test_adversaries_of_opposed_agents_have_no_fixed_point() -> None:
    example = EXAMPLES["pennies"]
    assert len(equilibria(adversaries(example.game, example.policies["act as shown"]))[0]) == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from((0.0, 0.5, 0.9, 0.99)))
@settings(max_examples=40, deadline=None)
def test_the_sound_bound_is_never_violated(seed: int, gamma: float) -> None:
    games, policies = random_games(
        np.random.default_rng(seed), 20, agents=2, states=3, actions=2, attacked=2, gamma=gamma
    )
    sides = bound(games, policies)
    assert (sides.loss >= -1e-9).all()
    assert (sides.loss <= sides.sound * sides.variation + 1e-9).all()


@pytest.mark.parametrize(("shift", "gamma"), [(0.02, 0.5), (0.001, 0.9), (0.01, 0.1)])
def test_the_printed_bound_is_violated_by_leak(shift: float, gamma: float) -> None:
    example = leak(shift, gamma)
    sides = bound(example.game, example.policies["stay"])
    np.testing.assert_allclose(sides.loss, 2 * shift / ((1 - gamma) * (1 - gamma + gamma * shift)))
    np.testing.assert_allclose(sides.variation, shift)
    assert sides.loss > sides.printed * sides.variation
    assert sides.loss <= sides.sound * sides.variation


def test_the_page_says_where_theorem_4_fails() -> None:
    fails = [line.what for line in theorem_4(0, games=400).lines if line.verdict == "fails"]
    assert fails == ["leak: loss, and the printed bound"]


def test_search_finds_the_smallest_games_without_an_equilibrium() -> None:
    one, two = smallest(1, 2), smallest(2, 2)
    assert smallest(1, 1).without == smallest(2, 1).without == 0  # so that two rewards are the fewest
    assert one.found == ([[0, 0], [1, 1]], [[0, 1], [1, 0]])  # guess, but for the names of the actions
    game = EXAMPLES["door"].game
    assert two.found == (game.transitions.argmax(-1).tolist(), game.rewards[0].astype(int).tolist())


@pytest.mark.parametrize(("name", "gain"), [("guess", 0.3), ("door", 0.01)])
def test_no_policy_is_an_equilibrium(name: str, gain: float) -> None:
    game = EXAMPLES[name].game
    proof = refute(game, gain)
    assert pure_equilibria(game) == held_equilibria(game) == []
    assert proof is not None
    assert proof.least > gain
    rng = np.random.default_rng(0)
    somewhere = rng.random((500, game.n_agents, game.n_states)).round(1)  # corners and edges among them
    assert gains(game, somewhere).min() >= gain


@pytest.mark.parametrize("name", ["guess", "door"])
def test_without_false_states_there_is_an_equilibrium(name: str) -> None:
    game = EXAMPLES[name].game
    clean = game.attacking(nothing(game.n_agents, 2))
    assert pure_equilibria(clean) == held_equilibria(clean) != []


def test_an_equilibrium_is_not_refuted() -> None:
    game = EXAMPLES["same_or_different"].game
    assert gains(game, np.full((1, 2, 2), 0.5)) == pytest.approx(0)
    assert refute(game, 0.01) is None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_gain_changes_no_faster_than_the_slope(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = EXAMPLES["door"].game
    x = rng.random((20, 2, 2))
    y = np.clip(x + rng.uniform(-0.1, 0.1, x.shape), 0, 1)
    apart = np.abs(x - y).max((1, 2))
    assert (np.abs(gains(game, x) - gains(game, y)) <= slope(game) * apart + 1e-9).all()


def test_a_game_that_the_proof_is_not_for_is_refused() -> None:
    with pytest.raises(UserError, match="the same rewards"):
        refute(EXAMPLES["pennies"].game, 0.1)


def test_one_start_and_one_reward_have_an_equilibrium() -> None:
    # the policy of a grid that is best from one state: nobody gains from there by leaving it
    game = EXAMPLES["door"].game
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 4), -1).reshape(-1, 2, 2)
    policy = np.stack([1 - grid, grid], -1)
    worst = optimal(adversaries(game, policy)).values[:, 0]
    best = int(worst[:, 1].argmax())
    for agent in (0, 1):
        others = (grid[:, 1 - agent] == grid[best, 1 - agent]).all(1)
        assert worst[others, 1].max() <= worst[best, 1] + 1e-12


def test_examples_have_policies_that_fit_them() -> None:
    for example in EXAMPLES.values():
        game = example.game
        assert len(example.states) == game.n_states
        assert len(example.actions) == game.n_actions
        assert (game.false_states == anything(game.n_attacked, game.n_states)).all()
        for policy in example.policies.values():
            assert policy.shape == (game.n_agents, game.n_states, game.n_actions)
            np.testing.assert_allclose(policy.sum(-1), 1)
