"""Battle and pursuit on MAgent2's engine, a batch of rounds at a time, arrays only.

The engine's own calls, in the order in which MAgent2's PettingZoo environments make them: the same seed and
the same actions give the same states, rewards and deaths.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from magent2 import gridworld
from magent2.c_lib import _LIB

from marlrobust.errors import UserError
from marlrobust.games.game import Bools, Floats, Ints, Observation, Outcome, Team

Populate = Callable[[Any], None]


class MagentGame:
    """R rounds of one two-group `GridWorld` configuration; see `Game` for what it offers."""

    def __init__(
        self,
        *,
        rounds: int,
        max_steps: int,
        roles: Sequence[str],
        build: Callable[[], Any],
        populate: Populate,
    ) -> None:
        """build: makes one engine; populate: places walls and both groups on it after a reset."""
        self.rounds, self.max_steps = rounds, max_steps
        self._populate = populate
        self._engines = [gridworld.GridWorld(build()) for _ in range(rounds)]
        engine = self._engines[0]
        self._handles = engine.get_handles()
        engine.reset()
        populate(engine)
        teams = []
        for handle, role in zip(self._handles, roles, strict=True):
            view = int(np.prod(engine.get_view_space(handle)))
            state_size = view + int(engine.get_feature_space(handle)[0])
            n_actions = int(engine.get_action_space(handle)[0])
            teams.append(Team(role, engine.get_num(handle), state_size, view, n_actions))
        self.teams: tuple[Team, Team] = (teams[0], teams[1])
        if min(team.size for team in teams) == 0:
            raise UserError("the map is too small to place both teams: use a larger --map-size")
        self._views = [np.empty((rounds * t.size, t.view_size), np.float32) for t in teams]
        self._features = [np.empty((rounds * t.size, t.state_size - t.view_size), np.float32) for t in teams]
        self._states = [np.empty((rounds * t.size, t.state_size), np.float32) for t in teams]
        self.active = np.zeros(rounds, bool)
        self.extinct = np.zeros(rounds, bool)
        self.steps = np.zeros(rounds, np.int64)
        self.alive = np.zeros((rounds, 2), np.int64)
        self._swap = np.zeros(rounds, bool)
        self._mean_actions = [np.zeros((rounds, t.n_actions), np.float32) for t in teams]
        self._round: list[Ints] = [np.zeros(0, np.int64)] * 2
        self._agent: list[Ints] = [np.zeros(0, np.int64)] * 2

    def reset(self, seeds: Ints, swap: Bools) -> None:
        if self.teams[0].role != self.teams[1].role and np.any(swap):
            raise ValueError("only teams of one role can swap sides")
        for engine, seed in zip(self._engines, seeds, strict=True):
            engine.set_seed(int(seed))
            engine.reset()
            self._populate(engine)
        self._swap[:] = swap
        self.active[:], self.extinct[:], self.steps[:] = True, False, 0
        for i, team in enumerate(self.teams):
            self.alive[:, i] = team.size
            self._mean_actions[i][:] = 0
            self._round[i] = np.repeat(np.arange(self.rounds), team.size)
            self._agent[i] = np.tile(np.arange(team.size), self.rounds)
            self._look(i, self._starts(i), np.ones(self.rounds * team.size, bool))

    def _handle(self, r: int, team: int) -> Any:
        return self._handles[1 - team if self._swap[r] else team]

    def _starts(self, team: int) -> list[tuple[int, int, int]]:
        """(round, first row, end row) of each round that goes on."""
        rounds = np.flatnonzero(self.active)
        ends = np.cumsum(self.alive[rounds, team])
        return list(
            zip(rounds.tolist(), (ends - self.alive[rounds, team]).tolist(), ends.tolist(), strict=True)
        )

    def observe(self, team: int) -> Observation:
        mean_actions = self._mean_actions[team][self._round[team]]
        states = self._states[team][: len(mean_actions)]
        return Observation(states, mean_actions, self._round[team], self._agent[team])

    def _look(self, team: int, starts: list[tuple[int, int, int]], keep: Bools) -> None:
        """Fill the team's states from the engine's view of the rows in `starts`, of which some are kept."""
        views, features, v = self._views[team], self._features[team], self.teams[team].view_size
        pointers = (ctypes.c_void_p * 2)()
        for r, start, _ in starts:
            if self.active[r]:
                pointers[0] = views.ctypes.data + start * views.strides[0]
                pointers[1] = features.ctypes.data + start * features.strides[0]
                _LIB.env_get_observation(self._engines[r].game, self._handle(r, team), pointers)
        states = self._states[team][: np.count_nonzero(keep)]
        if len(states) == len(keep):
            states[:, :v], states[:, v:] = views[: len(keep)], features[: len(keep)]
        else:
            rows = np.flatnonzero(keep)
            states[:, :v], states[:, v:] = views[rows], features[rows]

    def step(self, actions: tuple[Ints, Ints]) -> tuple[Outcome, Outcome]:
        starts = [self._starts(team) for team in (0, 1)]
        rows = [np.ascontiguousarray(a, np.int32) for a in actions]
        for team in (0, 1):
            if len(rows[team]) != len(self._round[team]):
                raise ValueError(
                    f"{len(rows[team])} actions for {len(self._round[team])} agents of team {team}"
                )
            for r, start, _ in starts[team]:
                pointer = ctypes.c_void_p(rows[team].ctypes.data + 4 * start)
                _LIB.env_set_action(self._engines[r].game, self._handle(r, team), pointer)
        played = np.flatnonzero(self.active).tolist()
        done = ctypes.c_int32()
        for r in played:
            _LIB.env_step(self._engines[r].game, ctypes.byref(done))
        outcomes = [self._collect(team, starts[team], rows[team]) for team in (0, 1)]
        self.steps[self.active] += 1
        self.extinct |= self.active & (self.alive == 0).any(1)
        self.active &= ~self.extinct & (self.steps < self.max_steps)
        for team, outcome in enumerate(outcomes):
            keep = ~outcome.dead & self.active[self._round[team]]
            self._look(team, starts[team], keep)
            self._round[team], self._agent[team] = self._round[team][keep], self._agent[team][keep]
        for r in played:
            # only now: it also moves this step's reward into the next state's "last reward", which MAgent2's
            # PettingZoo environments, observing first, show one step later
            _LIB.gridworld_clear_dead(self._engines[r].game)
        return outcomes[0], outcomes[1]

    def _collect(self, team: int, starts: list[tuple[int, int, int]], actions: Any) -> Outcome:
        """Rewards and deaths of the step just played, before the engine drops the dead."""
        n, a = len(actions), self.teams[team].n_actions
        rewards, living = np.empty(n, np.float32), np.empty(n, bool)
        for r, start, end in starts:
            game, handle = self._engines[r].game, self._handle(r, team)
            _LIB.env_get_reward(game, handle, ctypes.c_void_p(rewards.ctypes.data + 4 * start))
            _LIB.env_get_info(game, handle, b"alive", ctypes.c_void_p(living.ctypes.data + start))
            self.alive[r, team] = np.count_nonzero(living[start:end])
        mean: Floats = np.bincount(self._round[team] * a + actions, minlength=self.rounds * a).astype(
            np.float32
        )
        mean = mean.reshape(self.rounds, a)
        mean /= np.maximum(mean.sum(1, keepdims=True), 1)
        self._mean_actions[team] = mean
        return Outcome(rewards, ~living, mean[self._round[team]])


def battle(
    *,
    rounds: int,
    map_size: int = 40,
    max_steps: int = 400,
    step_reward: float = -0.005,
    attack_opponent_reward: float = 0.2,
    kill_reward: float = 5.0,
    attack_penalty: float = -0.1,
    dead_penalty: float = -0.1,
) -> MagentGame:
    """MAgent2's battle: two equal armies face each other; map size 40 gives 64 a side. Rewards are per agent."""
    if map_size < 12:
        raise UserError(f"battle needs a map size of at least 12, not {map_size}")

    def build() -> Any:
        config = _config(map_size)
        soldier = config.register_agent_type(
            "soldier",
            {
                "width": 1,
                "length": 1,
                "hp": 10,
                "speed": 2,
                "view_range": gridworld.CircleRange(6),
                "attack_range": gridworld.CircleRange(1.5),
                "damage": 2,
                "kill_reward": kill_reward,
                "step_recover": 0.1,
                "step_reward": step_reward,
                "dead_penalty": dead_penalty,
                "attack_penalty": attack_penalty,
            },
        )
        groups = [config.add_group(soldier) for _ in range(2)]
        sides = [gridworld.AgentSymbol(g, index="any") for g in groups]
        for own, other in (sides, sides[::-1]):
            config.add_reward_rule(
                gridworld.Event(own, "attack", other), receiver=own, value=attack_opponent_reward
            )
        return config

    def populate(engine: Any) -> None:
        # two squares of every second cell, 6 cells apart, as MAgent2 places them (4 % of the map each)
        side = int(np.sqrt(map_size * map_size * 0.04)) * 2
        ys = (map_size - side) // 2 + np.arange(0, side, 2)
        squares = []
        for left in (map_size // 2 - 3 - side, map_size // 2 + 3):
            x, y = np.meshgrid(left + np.arange(0, side, 2), ys, indexing="ij")
            inside = (x > 0) & (x < map_size - 1) & (y > 0) & (y < map_size - 1)
            squares.append(np.stack([x[inside], y[inside]], axis=1))
        for handle, square in zip(engine.get_handles(), squares, strict=True):
            engine.add_agents(handle, method="custom", pos=square[: len(squares[0])])

    return MagentGame(
        rounds=rounds, max_steps=max_steps, roles=("soldier", "soldier"), build=build, populate=populate
    )


def pursuit(
    *,
    rounds: int,
    map_size: int = 45,
    predators: int = 32,
    prey: int = 64,
    wall_share: float = 0.03,
    max_steps: int = 400,
    tag_reward: float = 1.0,
    tagged_penalty: float = -0.1,
    attack_penalty: float = -0.2,
) -> MagentGame:
    """MAgent2's adversarial pursuit: predators (2 x 2 cells) tag prey; nobody dies.

    tagged_penalty is the paper's -0.1; MAgent2's own is -1.
    """

    def build() -> Any:
        config = _config(map_size)
        hunter = config.register_agent_type(
            "predator",
            {
                "width": 2,
                "length": 2,
                "hp": 1,
                "speed": 1,
                "view_range": gridworld.CircleRange(5),
                "attack_range": gridworld.CircleRange(2),
                "attack_penalty": attack_penalty,
            },
        )
        hunted = config.register_agent_type(
            "prey",
            {
                "width": 1,
                "length": 1,
                "hp": 1,
                "speed": 1.5,
                "view_range": gridworld.CircleRange(4),
                "attack_range": gridworld.CircleRange(0),
            },
        )
        a, b = (gridworld.AgentSymbol(config.add_group(kind), index="any") for kind in (hunter, hunted))
        config.add_reward_rule(
            gridworld.Event(a, "attack", b), receiver=[a, b], value=[tag_reward, tagged_penalty]
        )
        return config

    def populate(engine: Any) -> None:
        hunters, hunted = engine.get_handles()
        engine.add_walls(method="random", n=map_size * map_size * wall_share)
        engine.add_agents(hunters, method="random", n=predators)
        engine.add_agents(hunted, method="random", n=prey)

    return MagentGame(
        rounds=rounds, max_steps=max_steps, roles=("predator", "prey"), build=build, populate=populate
    )


def _config(map_size: int) -> Any:
    config = gridworld.Config()
    config.set({"map_width": map_size, "map_height": map_size, "minimap_mode": True, "embedding_size": 10})
    return config
