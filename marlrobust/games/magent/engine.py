"""MAgent2's engine, a batch of rounds at a time, arrays only.

The engine's own calls, in the order in which MAgent2's PettingZoo environments make them: the same seed and
the same actions give the same states, rewards and deaths.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from magent2 import gridworld
from magent2.c_lib import _LIB

from marlrobust.errors import UserError
from marlrobust.games.game import Bools, Decisions, Floats, Ints, Outcome, Team
from marlrobust.sparse import StateBuffer

Populate = Callable[[Any], None]
Results = Mapping[str, npt.NDArray[np.generic]]


@dataclass
class _Roster:
    """A team's n living agents, over all rounds that go on; mean_actions: (R, a) of the last step."""

    states: StateBuffer
    mean_actions: Floats
    round: Ints
    agent: Ints


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
        measure: Callable[[MagentGame], Results] = lambda game: {},
    ) -> None:
        """build: makes one engine; populate: places walls and both groups on it after a reset; measure: what
        `results` gives."""
        self.rounds, self.max_steps = rounds, max_steps
        self._populate, self._measure = populate, measure
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
            raise UserError("the map is too small to place both teams: use a larger map_size")
        self.active = np.zeros(rounds, bool)
        self.extinct = np.zeros(rounds, bool)
        self.steps = np.zeros(rounds, np.int64)
        self.alive = np.zeros((rounds, 2), np.int64)
        self.swapped = np.zeros(rounds, bool)
        self._rosters = [self._roster(team) for team in teams]
        # where the engine puts what one team sees in one round: compressed at once, while it is in the cache
        self._views = [np.empty((t.size, t.view_size), np.float32) for t in teams]
        self._features = [np.empty((t.size, t.state_size - t.view_size), np.float32) for t in teams]
        self._buffers = [
            (ctypes.c_void_p * 2)(view.ctypes.data, features.ctypes.data)
            for view, features in zip(self._views, self._features, strict=True)
        ]

    def _roster(self, team: Team) -> _Roster:
        nobody = np.zeros(0, np.int64)
        states = StateBuffer(self.rounds * team.size, team.state_size)
        return _Roster(states, np.zeros((self.rounds, team.n_actions), np.float32), nobody, nobody)

    def reset(self, seeds: Ints, swap: Bools) -> None:
        if self.teams[0].role != self.teams[1].role and np.any(swap):
            raise ValueError("only teams of one role can swap sides")
        for engine, seed in zip(self._engines, seeds, strict=True):
            engine.set_seed(int(seed))
            engine.reset()
            self._populate(engine)
        self.swapped[:] = swap
        self.active[:], self.extinct[:], self.steps[:] = True, False, 0
        for i, (team, roster) in enumerate(zip(self.teams, self._rosters, strict=True)):
            self.alive[:, i] = team.size
            roster.mean_actions = np.zeros_like(roster.mean_actions)
            roster.round = np.repeat(np.arange(self.rounds), team.size)
            roster.agent = np.tile(np.arange(team.size), self.rounds)
            self._look(i, self._spans(i), np.ones(self.rounds * team.size, bool))

    def observe(self, team: int) -> Decisions:
        roster = self._rosters[team]
        mean_actions = torch.from_numpy(roster.mean_actions.take(roster.round, axis=0))
        states, step = roster.states.states(), self.steps.take(roster.round)
        return Decisions(states, mean_actions, roster.round, roster.agent, step)

    def results(self) -> Results:
        return self._measure(self)

    def positions(self, team: int) -> Ints:
        cells = np.empty((len(self._rosters[team].round), 2), np.int32)
        for r, start, _ in self._spans(team):
            at = ctypes.c_void_p(cells.ctypes.data + 8 * start)
            _LIB.env_get_info(self._engines[r].game, self._handles[self._side(r, team)], b"pos", at)
        return cells.astype(np.int64)

    def step(self, actions: tuple[Ints, Ints]) -> tuple[Outcome, Outcome]:
        rows = [np.ascontiguousarray(a, np.int32) for a in actions]
        for team in (0, 1):
            n = len(self._rosters[team].round)
            if rows[team].shape != (n,):
                raise ValueError(f"{len(rows[team])} actions for {n} agents of team {team}")
        spans = [self._spans(team) for team in (0, 1)]
        self._play(rows, spans)
        outcomes = [self._collect(team, spans[team], rows[team]) for team in (0, 1)]
        played = np.flatnonzero(self.active).tolist()
        self.steps[self.active] += 1
        self.extinct |= self.active & (self.alive == 0).any(1)
        self.active &= ~self.extinct & (self.steps < self.max_steps)
        for team, (roster, outcome) in enumerate(zip(self._rosters, outcomes, strict=True)):
            keep = ~outcome.dead & self.active[roster.round]
            self._look(team, spans[team], keep)
            roster.round, roster.agent = roster.round[keep], roster.agent[keep]
        for r in played:
            # only now: it also moves this step's reward into the next state's "last reward", which MAgent2's
            # PettingZoo environments, observing first, show one step later
            _LIB.gridworld_clear_dead(self._engines[r].game)
        return outcomes[0], outcomes[1]

    def _side(self, r: int, team: int) -> int:
        """Which of the engine's groups is `team` in round r."""
        return 1 - team if self.swapped[r] else team

    def _spans(self, team: int) -> list[tuple[int, int, int]]:
        """(round, first row, end row) of each round that goes on."""
        rounds = np.flatnonzero(self.active)
        ends = np.cumsum(self.alive[rounds, team])
        starts = ends - self.alive[rounds, team]
        return list(zip(rounds.tolist(), starts.tolist(), ends.tolist(), strict=True))

    def _play(self, actions: list[Any], spans: list[list[tuple[int, int, int]]]) -> None:
        """Hand the actions of both teams to the engine and let it play them."""
        base = [a.ctypes.data for a in actions]
        done = ctypes.c_int32()
        for both in zip(*spans, strict=True):
            r = both[0][0]
            game = self._engines[r].game
            for side in (0, 1):  # always in this order: the engine moves those first whose actions come first
                team = self._side(r, side)
                first = ctypes.c_void_p(base[team] + 4 * both[team][1])
                _LIB.env_set_action(game, self._handles[side], first)
            _LIB.env_step(game, ctypes.byref(done))

    def _collect(self, team: int, spans: list[tuple[int, int, int]], actions: Any) -> Outcome:
        """Rewards and deaths of the step just played, before the engine drops the dead."""
        n, a, roster = len(actions), self.teams[team].n_actions, self._rosters[team]
        rewards, living = np.empty(n, np.float32), np.empty(n, bool)
        to_rewards, to_living = rewards.ctypes.data, living.ctypes.data
        for r, start, end in spans:
            game, handle = self._engines[r].game, self._handles[self._side(r, team)]
            _LIB.env_get_reward(game, handle, ctypes.c_void_p(to_rewards + 4 * start))
            _LIB.env_get_info(game, handle, b"alive", ctypes.c_void_p(to_living + start))
            self.alive[r, team] = np.count_nonzero(living[start:end])
        counts = np.bincount(roster.round * a + actions, minlength=self.rounds * a).reshape(self.rounds, a)
        mean: Floats = (counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(np.float32)
        roster.mean_actions = mean
        return Outcome(rewards, ~living, mean.take(roster.round, axis=0))

    def _look(self, team: int, spans: list[tuple[int, int, int]], keep: Bools) -> None:
        """Take the states of the rows in `spans` from the engine, of which some are kept: keep, (n,)."""
        states, view, features = self._rosters[team].states, self._views[team], self._features[team]
        states.clear()
        for r, start, end in spans:
            if self.active[r]:
                handle = self._handles[self._side(r, team)]
                _LIB.env_get_observation(self._engines[r].game, handle, self._buffers[team])
                states.append(view, features, keep[start:end])


def config(map_size: int) -> Any:
    """An engine's configuration, with the minimap."""
    made = gridworld.Config()
    made.set({"map_width": map_size, "map_height": map_size, "minimap_mode": True, "embedding_size": 10})
    return made
