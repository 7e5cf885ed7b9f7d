"""Playing, side by side with MAgent2's PettingZoo environment: random actions, and a policy that acts.

Battle on 40 x 40, 64 per side, processor time in one thread. An agent-step is one living agent's part of a step.
Our game shows compressed states; "dense states" has it also make the arrays that a user's own policy reads.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from magent2.c_lib import _LIB
from magent2.environments import battle_v4

from benchmarks import trained
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.engine import MagentGame
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.mean_field import MeanFieldPolicy

STEPS = 100  # of a round
HIDDEN, EMBEDDING = 256, 64  # of the policies

Contender = Callable[[], int]
"""Plays from a start to an end; returns the agent-steps played."""


def measure(policy_path: Path | None = None, repeats: int = 5) -> pd.DataFrame:
    """One row per contender: microseconds per agent-step, the best of `repeats` in which all take turns.

    The last row is no contender but a yardstick: the engine's calls alone, plus the time that the network's
    multiplications would take, dense, at this run's rate of a matrix product.
    """
    torch.set_num_threads(1)
    policy, name = load_policy(policy_path or trained(), scenario="battle")[0], "trained policy on both sides"
    api = battle_v4.parallel_env(map_size=40, max_cycles=STEPS, minimap_mode=True, extra_features=True)
    batches = {rounds: Battle(max_steps=STEPS).make(rounds) for rounds in (8, 16, 50)}
    script = record(batches[16], policy)
    contenders: dict[tuple[str, str], Contender] = {
        ("random actions", "PettingZoo's parallel API"): lambda: api_random(api),
        ("random actions", "ours, 50 rounds"): lambda: ours_random(batches[50], dense=False),
        ("random actions", "ours, 50 rounds, dense states"): lambda: ours_random(batches[50], dense=True),
        (name, "loop over PettingZoo's parallel API"): lambda: api_policy(api, policy),
        **{
            (name, f"ours, {rounds} rounds"): lambda game=game: ours_policy(game, policy)  # type: ignore[misc]
            for rounds, game in batches.items()
        },
        (name, "the engine's calls alone"): lambda: engine_alone(batches[16], script),
    }
    best = race(contenders, repeats)
    best[name, "the engine's calls, and the network's arithmetic"] = best[
        name, "the engine's calls alone"
    ] + arithmetic_time(policy)
    table = pd.DataFrame(
        [(*key, 1e6 * seconds) for key, seconds in best.items()], columns=["task", "how", "us per agent-step"]
    )
    first = table.groupby("task", sort=False)["us per agent-step"].transform("first")
    table["agent-steps per s"] = (1e6 / table["us per agent-step"]).round(-2).astype(int)
    table["times the API"] = (first / table["us per agent-step"]).round(2)
    return table.round({"us per agent-step": 2})


def race(contenders: dict[tuple[str, str], Contender], repeats: int) -> dict[tuple[str, str], float]:
    """Best seconds per agent-step of each, over `repeats` in which they take turns."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(repeats):
        for key, play in contenders.items():
            began = time.thread_time()
            n = play()
            best[key] = min(best[key], (time.thread_time() - began) / n)
    return best


def api_random(api: Any) -> int:
    rng = np.random.default_rng(0)
    start(api)
    n = 0
    while api.agents:
        n += len(api.agents)
        api.step(dict(zip(api.agents, rng.integers(0, 21, len(api.agents)).tolist(), strict=True)))
    return n


def ours_random(game: MagentGame, *, dense: bool) -> int:
    rng = np.random.default_rng(0)
    game.reset(np.arange(game.rounds), np.zeros(game.rounds, bool))
    n = 0
    while game.active.any():
        seen = game.observe(0), game.observe(1)
        if dense:
            _ = seen[0].dense, seen[1].dense
        counts = [len(o.agent) for o in seen]
        n += sum(counts)
        game.step((rng.integers(0, 21, counts[0]), rng.integers(0, 21, counts[1])))
    return n


def start(api: Any) -> dict[str, np.ndarray]:
    """Reset; returns the observations."""
    observations: dict[str, np.ndarray] = api.reset(seed=0)[0]
    api.unwrapped.team_sizes = [64, 64]  # its reset() counts the teams before it places them
    return observations


@torch.no_grad()
def api_policy(api: Any, policy: MeanFieldPolicy) -> int:
    """The plain loop: a team's observations are stacked, go through the network, and come back as a dictionary."""
    observations = start(api)
    means = {team: torch.zeros(1, 21) for team in ("red", "blue")}
    n = 0
    while api.agents:
        actions: dict[str, int] = {}
        for team in means:
            names = [agent for agent in api.agents if agent.startswith(team)]
            stacked = np.stack([observations[agent] for agent in names])
            # the API spreads the features over the view, behind its 7 channels
            view, features = stacked[..., :7].reshape(len(names), -1), stacked[:, 0, 0, 7:]
            states = torch.from_numpy(np.concatenate([view, features], axis=1))
            logits = policy.actor(states, means[team].expand(len(names), -1))
            chosen = torch.distributions.Categorical(logits=logits).sample()  # type: ignore[no-untyped-call]
            means[team] = torch.bincount(chosen, minlength=21)[None] / len(names)
            actions.update(zip(names, chosen.tolist(), strict=True))
        n += len(actions)
        observations = api.step(actions)[0]
    return n


def ours_policy(game: MagentGame, policy: MeanFieldPolicy) -> int:
    counted = Counted(game)
    play_rounds(counted, policy, policy, seed=0)
    return counted.n


class Counted:
    """The game, with its agent-steps counted."""

    def __init__(self, game: MagentGame) -> None:
        self.game, self.n = game, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.game, name)

    def step(self, actions: Sequence[Any]) -> Any:
        self.n += sum(map(len, actions))
        return self.game.step(actions)


Script = list[list[tuple[int, list[np.ndarray]]]]
"""For each step, for each round that goes on: its number and the actions of both of the engine's groups."""


def record(game: MagentGame, policy: MeanFieldPolicy) -> Script:
    """What the policy does in the game's rounds, seeds 0, 1, 2 …, without swaps."""
    script: Script = []
    game.reset(np.arange(game.rounds), np.zeros(game.rounds, bool))
    rng = torch.Generator().manual_seed(0)
    while game.active.any():
        seen = game.observe(0), game.observe(1)
        chosen = []
        for o in seen:
            logits = policy.logits(o).detach()
            chosen.append(torch.softmax(logits, 1).multinomial(1, generator=rng)[:, 0].numpy())
        script.append(
            [
                (r, [a[o.round == r].astype(np.int32) for o, a in zip(seen, chosen, strict=True)])
                for r in np.flatnonzero(game.active).tolist()
            ]
        )
        game.step((chosen[0], chosen[1]))
    return script


def engine_alone(game: MagentGame, script: Script) -> int:
    """The calls of the engine that the recorded rounds need, and nothing else."""
    games = [engine.game for engine in game._engines]
    handles, buffers = game._handles, game._buffers
    rewards, alive = np.empty(64, np.float32), np.empty(64, bool)
    to_rewards, to_alive = ctypes.c_void_p(rewards.ctypes.data), ctypes.c_void_p(alive.ctypes.data)
    done = ctypes.c_int32()
    for r, engine in enumerate(game._engines):
        engine.set_seed(r)
        engine.reset()
        game._populate(engine)
    n = 0
    for step in script:
        for r, actions in step:
            for group in (0, 1):
                _LIB.env_get_observation(games[r], handles[group], buffers[group])
            for group in (0, 1):
                n += len(actions[group])
                _LIB.env_set_action(games[r], handles[group], ctypes.c_void_p(actions[group].ctypes.data))
            _LIB.env_step(games[r], ctypes.byref(done))
            for group in (0, 1):
                _LIB.env_get_reward(games[r], handles[group], to_rewards)
                _LIB.env_get_info(games[r], handles[group], b"alive", to_alive)
            _LIB.gridworld_clear_dead(games[r])
    return n


def arithmetic_time(policy: MeanFieldPolicy) -> float:
    """Seconds per state that the network's multiplications take, dense, at the rate of a matrix product."""
    d, a = policy.shape.state_size, policy.shape.n_actions
    flop = 2 * (d * HIDDEN + (HIDDEN + EMBEDDING) * HIDDEN + HIDDEN * a + a * EMBEDDING)
    left, right = torch.rand(2048, 1024), torch.rand(1024, HIDDEN)
    times = []
    for _ in range(20):
        began = time.thread_time()
        torch.mm(left, right)
        times.append(time.thread_time() - began)
    return flop * min(times) / (2 * 2048 * 1024 * HIDDEN)
