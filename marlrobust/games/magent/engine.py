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
from marlrobust.games.game import Bools, Decisions, Floats, Group, Ints, Outcome, can_swap
from marlrobust.games.magent.stage import Sight
from marlrobust.games.places import Places
from marlrobust.recorded import Stage
from marlrobust.sparse import StateBuffer

Populate = Callable[[Any], None]
Results = Mapping[str, npt.NDArray[np.generic]]


@dataclass
class _Roster:
    """A group's n living agents, over all rounds that go on; mean_actions: (R, a) of the last step."""

    states: StateBuffer
    mean_actions: Floats
    round: Ints
    agent: Ints


class MagentGame:
    """R rounds of one `GridWorld` configuration; see `Game` for what it offers."""

    def __init__(
        self,
        *,
        rounds: int,
        max_steps: int,
        groups: Sequence[tuple[str, int]],
        build: Callable[[], Any],
        populate: Populate,
        measure: Callable[[MagentGame, int], Results] = lambda game, team: {},
        scenery: int = 0,
    ) -> None:
        """groups: role and team of the engine's groups, in its order, without the first `scenery`, which nobody plays;
        build: makes one engine; populate: places walls and all groups on it after a reset; measure: what `results`
        gives for a team."""
        self.rounds, self.max_steps = rounds, max_steps
        self._populate, self._measure = populate, measure
        self._build, self._sights = build, dict[int, Sight]()
        self._engines = [gridworld.GridWorld(build()) for _ in range(rounds)]
        engine = self._engines[0]
        self._scenery, self._handles = engine.get_handles()[:scenery], engine.get_handles()[scenery:]
        engine.reset()
        populate(engine)
        made = []
        for handle, (role, team) in zip(self._handles, groups, strict=True):
            view = int(np.prod(engine.get_view_space(handle)))
            state_size = view + int(engine.get_feature_space(handle)[0])
            n_actions = int(engine.get_action_space(handle)[0])
            made.append(Group(role, engine.get_num(handle), state_size, view, n_actions, team))
        self.groups = tuple(made)
        self.scenery_size = sum(engine.get_num(handle) for handle in self._scenery)
        if min(group.size for group in made) == 0:
            raise UserError("the map is too small to place both teams: use a larger map_size")
        self.active = np.zeros(rounds, bool)
        self.ended = np.zeros(rounds, bool)
        self.steps = np.zeros(rounds, np.int64)
        self.alive = np.zeros((rounds, len(made)), np.int64)
        self.swapped = np.zeros(rounds, bool)
        self._across = _across(made)
        self._rosters = [self._roster(group) for group in made]
        # where the engine puts what one group sees in one round: compressed at once, while it is in the cache
        self._views = [np.empty((g.size, g.view_size), np.float32) for g in made]
        self._features = [np.empty((g.size, g.state_size - g.view_size), np.float32) for g in made]
        self._buffers = [
            (ctypes.c_void_p * 2)(view.ctypes.data, features.ctypes.data)
            for view, features in zip(self._views, self._features, strict=True)
        ]

    def _roster(self, group: Group) -> _Roster:
        nobody = np.zeros(0, np.int64)
        states = StateBuffer(self.rounds * group.size, group.state_size)
        return _Roster(states, np.zeros((self.rounds, group.n_actions), np.float32), nobody, nobody)

    def reset(self, seeds: Ints, swap: Bools) -> None:
        if np.any(swap) and not can_swap(self.groups):
            raise ValueError("only teams of the same roles can swap sides")
        for engine, seed in zip(self._engines, seeds, strict=True):
            engine.set_seed(int(seed))
            engine.reset()
            self._populate(engine)
        self.swapped[:] = swap
        self.active[:], self.ended[:], self.steps[:] = True, False, 0
        for i, (group, roster) in enumerate(zip(self.groups, self._rosters, strict=True)):
            self.alive[:, i] = group.size
            roster.mean_actions = np.zeros_like(roster.mean_actions)
            roster.round = np.repeat(np.arange(self.rounds), group.size)
            roster.agent = np.tile(np.arange(group.size), self.rounds)
            self._look(i, self._spans(i), np.ones(self.rounds * group.size, bool))

    def observe(self, group: int) -> Decisions:
        roster = self._rosters[group]
        mean_actions = torch.from_numpy(roster.mean_actions.take(roster.round, axis=0))
        states, step = roster.states.states(), self.steps.take(roster.round)
        return Decisions(states, mean_actions, roster.round, roster.agent, step, group)

    def results(self, team: int) -> Results:
        return self._measure(self, team)

    def scenery(self) -> Ints:
        """(R,) what is left of the groups that nobody plays."""
        left = [sum(engine.get_num(handle) for handle in self._scenery) for engine in self._engines]
        return np.array(left, np.int64)

    def positions(self, group: int) -> Ints:
        cells = np.empty((len(self._rosters[group].round), 2), np.int32)
        for r, start, _ in self._spans(group):
            at = ctypes.c_void_p(cells.ctypes.data + 8 * start)
            _LIB.env_get_info(self._engines[r].game, self._handle(r, group), b"pos", at)
        return cells.astype(np.int64)

    def stage(self, round: int) -> Stage:
        """See `Watchable.stage`."""
        handles = [self._handle(round, group) for group in range(len(self.groups))]
        sight = Sight(self._engines[round], self._build(), [*handles, *self._scenery], self.groups)
        self._sights[round] = sight
        return sight.stage()

    def places(self, round: int) -> list[Places]:
        """See `Watchable.places`."""
        return self._sights[round].places()

    def step(self, actions: Sequence[Ints]) -> tuple[Outcome, ...]:
        rows = [np.ascontiguousarray(a, np.int32) for a in actions]
        for group, roster in enumerate(self._rosters):
            n = len(roster.round)
            if rows[group].shape != (n,):
                raise ValueError(f"{len(rows[group])} actions for {n} agents of group {group}")
        spans = [self._spans(group) for group in range(len(self.groups))]
        over = self._play(rows, spans)
        outcomes = [self._collect(group, spans[group], rows[group]) for group in range(len(self.groups))]
        played = np.flatnonzero(self.active).tolist()
        self.steps[self.active] += 1
        self.ended |= over
        self.active &= ~self.ended & (self.steps < self.max_steps)
        for group, (roster, outcome) in enumerate(zip(self._rosters, outcomes, strict=True)):
            keep = ~outcome.dead & self.active[roster.round]
            self._look(group, spans[group], keep)
            roster.round, roster.agent = roster.round[keep], roster.agent[keep]
        for r in played:
            # only now: it also moves this step's reward into the next state's "last reward", which MAgent2's
            # PettingZoo environments, observing first, show one step later
            _LIB.gridworld_clear_dead(self._engines[r].game)
        return tuple(outcomes)

    def _handle(self, r: int, group: int) -> Any:
        """Which of the engine's groups is `group` in round r."""
        return self._handles[self._across[group] if self.swapped[r] else group]

    def _spans(self, group: int) -> list[tuple[int, int, int]]:
        """(round, first row, end row) of each round that goes on."""
        rounds = np.flatnonzero(self.active)
        ends = np.cumsum(self.alive[rounds, group])
        starts = ends - self.alive[rounds, group]
        return list(zip(rounds.tolist(), starts.tolist(), ends.tolist(), strict=True))

    def _play(self, actions: list[Any], spans: list[list[tuple[int, int, int]]]) -> Bools:
        """Hand the actions of all groups to the engine and let it play them; (R,) whether it says that a round is
        over, which is when a group has died out."""
        base = [a.ctypes.data for a in actions]
        done = ctypes.c_int32()
        over = np.zeros(self.rounds, bool)
        for all_of_round in zip(*spans, strict=True):
            r = all_of_round[0][0]
            game = self._engines[r].game
            for side, handle in enumerate(self._handles):  # always in this order: who comes first moves first
                group = self._across[side] if self.swapped[r] else side
                first = ctypes.c_void_p(base[group] + 4 * all_of_round[group][1])
                _LIB.env_set_action(game, handle, first)
            _LIB.env_step(game, ctypes.byref(done))
            over[r] = bool(done.value)
        return over

    def _collect(self, group: int, spans: list[tuple[int, int, int]], actions: Any) -> Outcome:
        """Rewards and deaths of the step just played, before the engine drops the dead."""
        n, a, roster = len(actions), self.groups[group].n_actions, self._rosters[group]
        rewards, living = np.empty(n, np.float32), np.empty(n, bool)
        to_rewards, to_living = rewards.ctypes.data, living.ctypes.data
        for r, start, end in spans:
            game, handle = self._engines[r].game, self._handle(r, group)
            _LIB.env_get_reward(game, handle, ctypes.c_void_p(to_rewards + 4 * start))
            _LIB.env_get_info(game, handle, b"alive", ctypes.c_void_p(to_living + start))
            self.alive[r, group] = np.count_nonzero(living[start:end])
        counts = np.bincount(roster.round * a + actions, minlength=self.rounds * a).reshape(self.rounds, a)
        mean: Floats = (counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(np.float32)
        roster.mean_actions = mean
        return Outcome(rewards, ~living, mean.take(roster.round, axis=0))

    def _look(self, group: int, spans: list[tuple[int, int, int]], keep: Bools) -> None:
        """Take the states of the rows in `spans` from the engine, of which some are kept: keep, (n,)."""
        states, view, features = self._rosters[group].states, self._views[group], self._features[group]
        states.clear()
        for r, start, end in spans:
            if self.active[r]:
                _LIB.env_get_observation(self._engines[r].game, self._handle(r, group), self._buffers[group])
                states.append(view, features, keep[start:end])


def _across(groups: Sequence[Group]) -> list[int]:
    """For each group its counterpart in the other team, which it is in a round with swapped sides; itself where the
    teams cannot swap."""
    if not can_swap(groups):
        return list(range(len(groups)))
    sides = [[i for i, g in enumerate(groups) if g.team == team] for team in (0, 1)]
    pairs = dict(zip(sides[0] + sides[1], sides[1] + sides[0], strict=True))
    return [pairs[i] for i in range(len(groups))]


def config(map_size: int, *, identity: bool = True) -> Any:
    """An engine's configuration, with the minimap, and with each agent's identity among its features."""
    made = gridworld.Config()
    made.set({"map_width": map_size, "map_height": map_size, "minimap_mode": True})
    if identity:
        made.set({"embedding_size": 10})
    return made
