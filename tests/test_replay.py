"""The replay gives back what was put in, each state with its own successor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from marlrobust.errors import UserError
from marlrobust.sparse import compress
from marlrobust.training.learner import Transitions
from marlrobust.training.replay import Replay

D, A = 20, 3


def states_of(numbers: np.ndarray) -> np.ndarray:
    """States that say who they are: the number in the first feature, and as many non-zeros as its last digit."""
    states = np.zeros((len(numbers), D), np.float32)
    states[:, 0] = numbers + 1
    for row, number in zip(states, numbers, strict=True):
        row[1 : 1 + number % 10] = 0.5
    return states


def fill(replay: Replay, steps: int, agents: int = 4) -> None:
    """Agent i at step t has the number 10 t + i; its action is i % A, its reward t; the last agent dies at once."""
    at = None
    for t in range(steps + 1):
        numbers = 10 * t + np.arange(agents)
        after = replay.add_states(compress(states_of(numbers)), np.full((agents, A), t, np.float32))
        if at is not None:
            dead = np.arange(agents) == agents - 1
            following = np.where(dead, at, after)
            new_mean = np.full((agents, A), t + 0.5, np.float32)
            rewards = np.full(agents, t - 1, np.float32)
            replay.add_outcomes(
                Transitions(
                    at=at,
                    actions=np.arange(agents) % A,
                    own=np.ones(agents, bool),
                    rewards=rewards,
                    mean_actions=new_mean,
                    terminal=dead,
                    following=following,
                )
            )
        at = after


def check(replay: Replay, oldest: int, newest: int) -> None:
    batch = replay.sample(2000, np.random.default_rng(0))
    states, following = batch.states.dense().numpy(), batch.next_states.dense().numpy()
    numbers = states[:, 0].astype(int) - 1
    assert np.array_equal(states, states_of(numbers))
    step, agent = numbers // 10, numbers % 10
    assert np.array_equal(batch.actions.numpy(), agent % A)
    assert np.array_equal(batch.rewards.numpy(), step)
    assert np.array_equal(batch.mean_actions.numpy()[:, 0], step)
    assert np.array_equal(batch.new_mean_actions.numpy()[:, 0], step + 1.5)
    assert np.array_equal(batch.terminal.numpy(), agent == 3)
    expected = np.where(agent == 3, numbers, numbers + 10)
    assert np.array_equal(following, states_of(expected))
    assert (step.min(), step.max()) == (oldest, newest)


def test_transitions_come_back_with_their_successors() -> None:
    replay = Replay(1000, D, A)
    fill(replay, 30)
    assert len(replay) == 120
    check(replay, 0, 29)


def test_the_ring_keeps_the_newest() -> None:
    replay = Replay(50, D, A)
    fill(replay, 101)
    assert len(replay) == 46  # and the 4 states whose outcome is not known yet
    check(replay, 89, 100)


def test_wider_states_make_it_wider() -> None:
    replay = Replay(1000, D, A, width=2)
    fill(replay, 30)
    check(replay, 0, 29)


def test_a_restored_replay_draws_the_same() -> None:
    replay = Replay(50, D, A)
    fill(replay, 40)
    copy = Replay(50, D, A, width=3)
    copy.restore(replay.state())
    first, second = (r.sample(100, np.random.default_rng(1)) for r in (replay, copy))
    assert torch.equal(first.states.dense(), second.states.dense())
    assert torch.equal(first.rewards, second.rewards)


def test_a_cleared_replay_begins_again() -> None:
    replay = Replay(50, D, A)
    fill(replay, 40)
    replay.clear()
    assert len(replay) == 0
    fill(replay, 5)
    check(replay, 0, 4)


def test_a_step_larger_than_the_replay_is_refused() -> None:
    with pytest.raises(UserError, match=r"cannot hold .* larger replay_size"):
        Replay(3, D, A).add_states(compress(states_of(np.arange(4))), np.zeros((4, A), np.float32))
