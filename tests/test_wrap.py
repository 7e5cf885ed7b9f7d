"""One line in a loop of one's own: the environment stays what it is, and its victims see something else."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test
from torch import Tensor, nn

import marlrobust
from marlrobust.attacks import ATTACKS, Threat
from marlrobust.errors import UserError
from marlrobust.wrappers import wrap

EPSILON = 0.3


def net(d: int, a: int = 5) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, a))


def spread(**options: Any) -> Any:
    simple_spread = pytest.importorskip("mpe2.simple_spread_v3")
    return simple_spread.parallel_env(N=3, max_cycles=10, **options)


def wrapped(**options: Any) -> Any:
    return wrap(spread(), net(18), epsilon=EPSILON, **options)


def history(env: Any, *, steps: int = 8, seed: int | None = 3) -> list[dict[str, Any]]:
    """What the agents see in a round of fixed actions."""
    seen, _ = env.reset(seed=seed)
    every = [seen]
    for step in range(steps):
        seen, *_ = env.step({name: (step + i) % 5 for i, name in enumerate(env.agents)})
        every.append(seen)
    return every


def test_it_is_a_name_of_the_package() -> None:
    assert marlrobust.wrap is wrap


@pytest.mark.filterwarnings("ignore")
def test_pettingzoo_s_own_tests_pass() -> None:
    parallel_api_test(wrapped(victims=2, seed=0), num_cycles=60)
    parallel_seed_test(lambda: wrapped(victims=2, seed=0), num_cycles=10)


@pytest.mark.parametrize("norm", ["l_inf", "l_2"])
def test_victims_are_shown_something_else_within_the_budget_and_nobody_else(norm: str) -> None:
    true, shown = history(spread()), history(wrapped(victims=2, norm=norm))
    moved = {
        name
        for before, after in zip(true, shown, strict=True)
        for name in before
        if (before[name] != after[name]).any()
    }
    assert len(moved) == 2
    for before, after in zip(true, shown, strict=True):
        for name in before:
            assert after[name].dtype == before[name].dtype
            delta = after[name].astype(np.float64) - before[name].astype(np.float64)
            length = np.linalg.norm(delta) if norm == "l_2" else abs(delta).max()
            assert length <= EPSILON
            assert (length > 0.9 * EPSILON) == (name in moved)


def test_what_is_shown_is_what_the_attack_gives() -> None:
    policy, true = net(18), history(spread())
    shown = history(wrap(spread(), policy, epsilon=EPSILON))
    attack = ATTACKS["pgd"](threat=Threat(epsilon=EPSILON))
    for before, after in zip(true, shown, strict=True):
        stacked = np.stack(list(before.values()))
        np.testing.assert_array_equal(attack.perturb(policy, stacked), np.stack(list(after.values())))


def test_seeds_repeat_and_each_reset_draws_other_victims() -> None:
    options: dict[str, Any] = {"attack": "random", "victims": 1}

    def told(every: list[dict[str, Any]]) -> bytes:
        return b"".join(x.tobytes() for seen in every for x in seen.values())

    assert told(history(wrapped(seed=1, **options))) == told(history(wrapped(seed=1, **options)))
    assert told(history(wrapped(seed=1, **options))) != told(history(wrapped(seed=2, **options)))
    env = wrapped(seed=1, **options)
    assert told(history(env)) == told(history(env))  # the environment's seed is given
    victims = set()
    for _ in range(12):
        history(env, seed=None, steps=1)
        victims |= set(env.eyes.chosen)
    assert len(victims) == 3


def test_victims_may_be_named_and_each_agent_may_have_its_own_policy() -> None:
    env = spread()
    names = env.possible_agents
    policies = {name: net(18, 5) for name in names}
    with torch.no_grad():
        policies[names[1]][4].weight.mul_(-1)  # type: ignore[operator]
    true, shown = history(spread()), history(wrap(env, policies, epsilon=EPSILON, victims=names[1:]))
    same = history(wrap(spread(), policies[names[0]], epsilon=EPSILON))
    for before, after, other in zip(true, shown, same, strict=True):
        assert (before[names[0]] == after[names[0]]).all()
        assert (before[names[1]] != after[names[1]]).any()
        np.testing.assert_array_equal(after[names[2]], other[names[2]])
    assert any((after[names[1]] != other[names[1]]).any() for after, other in zip(shown, same, strict=True))


class Counting:
    """Remembers how often it was shown something."""

    def __init__(self) -> None:
        self.net, self.counts = net(18), list[list[float]]()

    def initial_memory(self, n: int) -> Tensor:
        return torch.zeros(n, 1)

    def step(self, states: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        self.counts.append(memory[:, 0].tolist())
        return self.net(states), memory + 1


def test_a_policy_with_memory_remembers_each_step_once() -> None:
    policy = Counting()
    env = wrap(spread(), policy, epsilon=EPSILON, victims=1)
    history(env, steps=4)
    policy.counts.clear()
    history(env, steps=4)
    assert [c for c in policy.counts if len(c) == 3] == [[float(step)] * 3 for step in range(5)]  # what moves it on
    assert {c[0] for c in policy.counts} == {0, 1, 2, 3, 4}  # what the attack asked with


class Hidden(nn.Module):
    """Remembers, and does not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.before = net(18), 0.0

    def forward(self, states: Tensor) -> Tensor:
        self.before += 1
        y: Tensor = self.net(states) + self.before * torch.arange(5)
        return y


def test_a_hidden_memory_is_refused() -> None:
    with pytest.raises(UserError, match="remembers"):
        wrap(spread(), Hidden()).reset()


class Images(ParallelEnv[str, Any, int]):  # type: ignore[misc]
    """Agents that see images in [0, 1], some at its edge."""

    metadata = {"name": "images_v0"}  # noqa: RUF012

    def __init__(self) -> None:
        self.possible_agents = ["a", "b"]
        self.agents = list(self.possible_agents)

    def observation_space(self, agent: str) -> Box:
        return Box(0, 1, (2, 6, 6), np.float64)

    def action_space(self, agent: str) -> Any:
        return Discrete(3)

    def _seen(self) -> Any:
        return {name: np.random.default_rng(0).random((2, 6, 6)).round(1) for name in self.agents}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return self._seen(), {name: {} for name in self.agents}

    def step(self, actions: Any) -> Any:
        zeros = dict.fromkeys(self.agents, 0.0)
        no = dict.fromkeys(self.agents, False)
        return self._seen(), zeros, no, no, {name: {} for name in self.agents}


def test_images_stay_in_their_range_and_type() -> None:
    policy = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 3))
    env = Images()
    true, shown = env.reset()[0]["a"], wrap(env, policy, epsilon=0.2).reset()[0]["a"]
    assert env.observation_space("a").contains(shown)
    assert 0.1 < abs(shown - true).max() <= 0.2


@pytest.mark.filterwarnings("ignore")
def test_a_gymnasium_environment() -> None:
    from gymnasium.envs.classic_control import CartPoleEnv
    from gymnasium.utils.env_checker import check_env

    env = wrap(gymnasium.make("CartPole-v1"), net(4, 2), epsilon=0.05)
    plain = gymnasium.make("CartPole-v1")
    (true, _), (shown, _) = plain.reset(seed=1), env.reset(seed=1)
    for _ in range(5):
        assert 0.04 < abs(shown.astype(float) - true.astype(float)).max() <= 0.05
        true, shown = plain.step(1)[0], env.step(1)[0]
    check_env(wrap(CartPoleEnv(), net(4, 2)), skip_render_check=True)
    nobody = wrap(gymnasium.make("CartPole-v1"), net(4, 2), victims=0)
    assert (nobody.reset(seed=1)[0] == plain.reset(seed=1)[0]).all()


class Words(gymnasium.Env[Any, Any]):
    observation_space, action_space = Discrete(3), Discrete(2)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda: 3, {}, "no parallel environment"),
        (Words, {}, "Box of floats"),
        (spread, {"attack": "pdg"}, "did you mean 'pgd'"),
        (spread, {"stepz": 3}, "no parameter 'stepz'"),
        (spread, {"victims": ["nobody"]}, "no agent 'nobody'"),
        (spread, {"victims": -1}, "must not be negative"),
    ],
)
def test_mistakes_are_told(make: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        wrap(make(), net(18), **options)
