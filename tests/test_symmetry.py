"""Mirrors: a mirrored game shows mirrored states, and a replay gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.mirror import mirrors
from marlrobust.games.symmetry import Symmetry
from marlrobust.sparse import compress
from marlrobust.training.learner import Transitions
from marlrobust.training.replay import Replay

SIZES = (12, 40, 52)


def image(cells: Any, size: int, number: int) -> Any:
    """Cells (n, 2) in mirror number 0 (x), 1 (y) or 2 (both)."""
    return np.where([number != 1, number != 0], size - 1 - cells, cells)


def played(size: int, cells: Any, actions: Any, seed: int = 0) -> Any:
    """States of the first army, then those after a step, and the step's rewards, from a battle of placed soldiers."""
    from magent2 import gridworld

    engine = gridworld.GridWorld(Battle().soldiers(size))
    engine.set_seed(seed)
    engine.reset()
    handles = engine.get_handles()
    for handle, at in zip(handles, cells, strict=True):
        engine.add_agents(handle, method="custom", pos=at)
    first = seen(engine, handles[0])
    for handle, of in zip(handles, actions, strict=True):
        engine.set_action(handle, of.astype(np.int32))
    engine.step()
    rewards = engine.get_reward(handles[0]).copy()
    engine.clear_dead()
    return first, seen(engine, handles[0]), rewards


def seen(engine: Any, handle: Any) -> Any:
    view, features = engine.get_observation(handle)
    return np.concatenate([view.reshape(len(view), -1), features], 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", range(3))
def test_the_engine_shows_a_mirrored_battle_as_the_mirror_says(size: int, number: int) -> None:
    symmetry = Battle(map_size=size).symmetries("soldier")[number]
    rng = np.random.default_rng(number)
    for _ in range(20):
        # every third cell, so that no two soldiers want the same one
        places = np.stack(np.meshgrid(*[np.arange(1, size - 1, 5)] * 2), -1).reshape(-1, 2)
        rng.shuffle(places)
        half = min(len(places) // 2, 12)
        cells = [places[:half], places[half : 2 * half]]
        actions = [rng.integers(0, 21, half) for _ in range(2)]
        now, after, rewards = played(size, cells, actions)
        mirrored = played(size, [image(c, size, number) for c in cells], [symmetry.actions[a] for a in actions])
        np.testing.assert_allclose(symmetry.of_states(now), mirrored[0], atol=1e-6)
        np.testing.assert_allclose(symmetry.of_states(after), mirrored[1], atol=1e-6)
        np.testing.assert_array_equal(rewards, mirrored[2])


def test_hits_are_mirrored_too() -> None:
    """A soldier that hits its neighbour hits it in the mirror."""
    symmetry, *_ = Battle().symmetries("soldier")
    cells = [np.array([[20, 20]]), np.array([[21, 19]])]
    stay = np.array([6])
    hits = [a for a in range(13, 21) if played(40, cells, [np.array([a]), stay])[2][0] > 0.05]
    mirrored = [image(c, 40, 0) for c in cells]
    hits_there = [a for a in range(13, 21) if played(40, mirrored, [np.array([a]), stay])[2][0] > 0.05]
    assert len(hits) == 1
    assert hits_there == [symmetry.actions[hits[0]]]


@pytest.mark.parametrize("number", range(3))
def test_a_mirror_of_a_mirror_is_what_it_was(number: int) -> None:
    symmetry = Battle().symmetries("soldier")[number]
    assert not np.array_equal(symmetry.actions, np.arange(21))
    np.testing.assert_array_equal(symmetry.actions[symmetry.actions], np.arange(21))
    np.testing.assert_array_equal(symmetry.columns[symmetry.columns], np.arange(1217))


def test_a_map_that_the_minimap_does_not_divide_has_no_mirror() -> None:
    assert mirrors(41, (13, 13, 7), (3, 6), 2, 1.5) == ()


def symmetry_of(size: int, n_actions: int, seed: int) -> Symmetry:
    rng = np.random.default_rng(seed)
    turned = np.full(size, np.nan, np.float32)
    turned[-1] = 3.0
    columns = np.append(rng.permutation(size - 1), size - 1)
    return Symmetry(columns, turned, rng.permutation(n_actions))


def test_a_replay_draws_transitions_in_every_mirror() -> None:
    size, n_actions = 7, 5
    symmetries = [symmetry_of(size, n_actions, seed) for seed in (1, 2)]
    replay = Replay(64, size, n_actions, symmetries=symmetries)
    rng = np.random.default_rng(0)
    states = rng.integers(0, 3, (2, size)).astype(np.float32)
    states[:, -1] = 1.0
    means = rng.random((2, 2, n_actions)).astype(np.float32)
    now, after = (replay.add_states(compress(states[i : i + 1]), means[0, i : i + 1]) for i in range(2))
    outcome = Transitions(
        at=now,
        actions=np.array([3]),
        own=np.ones(1, bool),
        rewards=np.full(1, 2.5, np.float32),
        mean_actions=means[1, :1],
        terminal=np.zeros(1, bool),
        following=after,
    )
    replay.add_outcomes(outcome)
    batch = replay.sample(300, rng)
    wanted = [(states[0], states[1], means[0, 0], means[1, 0], 3)]
    for s in symmetries:
        turned = [np.empty_like(m) for m in (means[0, 0], means[1, 0])]
        for to, of in zip(turned, (means[0, 0], means[1, 0]), strict=True):
            to[s.actions] = of
        wanted.append((s.of_states(states[:1])[0], s.of_states(states[1:])[0], *turned, int(s.actions[3])))
    found = zip(
        batch.states.dense().numpy(),
        batch.next_states.dense().numpy(),
        batch.mean_actions.numpy(),
        batch.new_mean_actions.numpy(),
        batch.actions.tolist(),
        strict=True,
    )
    drawn = [
        next(i for i, w in enumerate(wanted) if all(np.array_equal(a, b) for a, b in zip(row, w, strict=True)))
        for row in found
    ]
    assert min(np.bincount(drawn, minlength=3)) > 60
    assert batch.rewards.eq(2.5).all()
