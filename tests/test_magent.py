"""MAgent2's other games: each is its PettingZoo environment, state by state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from magent2.environments import battlefield_v5, combined_arms_v6, gather_v5, tiger_deer_v4

from marlrobust.config import resolve
from marlrobust.games import SCENARIOS
from marlrobust.games.game import Game

OPTIONS = {"minimap_mode": True, "extra_features": True}


def actions_of(game: Game, states: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Random actions, of each group by itself."""
    return [rng.integers(0, g.n_actions, len(s)) for g, s in zip(game.groups, states, strict=True)]


@pytest.mark.parametrize(
    ("name", "module", "settings", "steps", "deaths"),
    [
        ("battlefield", battlefield_v5, {}, 40, 0),
        ("battlefield", battlefield_v5, {"map_size": 46}, 60, 0),
        ("combined_arms", combined_arms_v6, {}, 120, 10),
        ("combined_arms", combined_arms_v6, {"map_size": 16}, 200, 1),
        ("tiger_deer", tiger_deer_v4, {}, 300, 20),
        ("gather", gather_v5, {}, 30, 10),
    ],
)
def test_a_round_is_the_parallel_apis(
    name: str, module: Any, settings: dict[str, int], steps: int, deaths: int
) -> None:
    """Same seed and actions: the same states, rewards and deaths of every group, until the round ends."""
    environment = module.parallel_env(max_cycles=steps, **settings, **OPTIONS)
    game = resolve(SCENARIOS[name], {**settings, "max_steps": steps}).make(1)
    observations, _ = environment.reset(seed=7)
    environment.unwrapped.team_sizes = [group.size for group in game.groups]  # its reset() counts too early
    assert len(environment.possible_agents) == sum(group.size for group in game.groups)
    game.reset(np.array([7]), np.array([False]))
    rng = np.random.default_rng(0)
    died = 0
    while game.active.any():
        seen = [game.observe(g) for g in range(len(game.groups))]
        states = [d.dense.numpy() for d in seen]
        actions = actions_of(game, states, rng)
        rows = [(g, i) for g, d in enumerate(seen) for i in range(len(d))]
        assert len(rows) == len(environment.agents)
        for (g, i), agent in zip(rows, environment.agents, strict=True):
            assert agent.endswith(f"_{seen[g].agent[i]}")
            theirs, v = observations[agent], game.groups[g].view_size
            channels = v // (theirs.shape[0] * theirs.shape[1])
            assert np.array_equal(theirs[..., :channels].ravel(), states[g][i, :v])
            assert np.array_equal(theirs[0, 0, channels:], states[g][i, v:])
        named = dict(zip(environment.agents, rows, strict=True))
        outcomes = game.step(actions)
        played = {agent: int(actions[g][i]) for agent, (g, i) in named.items()}
        observations, rewards, terminated, truncated, _ = environment.step(played)
        for agent, (g, i) in named.items():
            assert np.float32(rewards[agent]) == outcomes[g].rewards[i]
            if environment.agents:  # at the end of a round the API calls everybody terminated
                assert terminated[agent] == outcomes[g].dead[i]
        died += sum(int(outcome.dead.sum()) for outcome in outcomes)
    assert not environment.agents
    assert bool(game.ended[0]) == (not any(truncated.values()))
    assert died >= deaths


def test_swapped_armies_of_two_kinds_play_the_same_round() -> None:
    """Each kind takes the place of its own kind on the other side."""
    game = resolve(SCENARIOS["combined_arms"], {"map_size": 16, "max_steps": 30}).make(2)
    game.reset(np.array([3, 3]), np.array([False, True]))
    rng = np.random.default_rng(0)
    while game.active.any():
        seen = [game.observe(g) for g in range(4)]
        states = [[d.dense.numpy()[d.round == r].tobytes() for d in seen] for r in (0, 1)]
        assert states[0] == [states[1][g] for g in (2, 3, 0, 1)]
        chosen = [
            rng.integers(0, group.n_actions, int((d.round == 0).sum()))
            for group, d in zip(game.groups, seen, strict=True)
        ]
        outcomes = game.step([np.concatenate([chosen[g], chosen[(g + 2) % 4]]) for g in range(4)])
        for g in range(4):
            own, other = outcomes[g], outcomes[(g + 2) % 4]
            n = len(chosen[g])
            assert np.array_equal(own.rewards[:n], other.rewards[len(chosen[(g + 2) % 4]) :])


def test_hungry_tigers_end_the_round_and_eaten_food_is_counted() -> None:
    game = SCENARIOS["tiger_deer"]().make(1)
    game.reset(np.array([1]), np.array([False]))
    while game.active.any():
        game.step([np.zeros(len(game.observe(g)), np.int64) for g in (0, 1)])
    tigers = game.groups[1].size
    assert game.ended[0]
    assert game.results(0) == {"captures": np.array([0]), "losses": np.array([tigers])}
    assert game.results(1) == {"losses": np.array([0])}


def test_food_that_is_gone_was_captured() -> None:
    """Agents walk to the middle and bite at random."""
    game = resolve(SCENARIOS["gather"], {"map_size": 70, "max_steps": 60}).make(1)
    game.reset(np.array([1]), np.array([False]))
    rng = np.random.default_rng(0)
    eaten = 0
    while game.active.any():
        outcome = game.step([rng.integers(29, 33, len(game.observe(0)))])[0]  # the last four of 33 actions bite
        eaten += int((outcome.rewards > 4).sum())
    assert game.results(0)["captures"].tolist() == [eaten]
    assert eaten > 0
