"""What a round of MAgent2's engine looks like from above, asked of the engine itself."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from magent2.c_lib import _LIB

from marlrobust.games.game import Floats, Group
from marlrobust.games.places import Places
from marlrobust.recorded import Act, Kind, Stage

PRESENT, HEALTH = 1, 2  # the channels of a view that tell of agents of one's own group


@dataclass(frozen=True)
class _Body:
    """Where in its view an agent sees itself, x and y of the first cell, and how many cells wide and high it is."""

    x: int
    y: int
    width: int
    height: int


class Sight:
    """One engine, looked at from above: some of its groups, of which the last ones may be nobody's."""

    def __init__(self, engine: Any, config: Any, handles: Sequence[Any], groups: Sequence[Group]) -> None:
        """config: from which the engine was made; handles: of its groups, in the order of `groups`, and behind them
        of what nobody plays. The round has just begun."""
        self.engine, self.config, self.handles, self.groups = engine, config, handles, groups
        self.firsts = [min(engine.get_agent_id(handle).tolist(), default=0) for handle in handles]
        self.buffers = [self._buffers(handle) for handle in handles]
        self.bodies = [_body(self._views(i)) for i in range(len(handles))]

    def stage(self) -> Stage:
        """See `Watchable.stage`."""
        kinds = []
        for i, (handle, body) in enumerate(zip(self.handles, self.bodies, strict=True)):
            played = self.groups[i] if i < len(self.groups) else None
            name = self.config.groups[handle.value]
            kinds.append(
                Kind(
                    role=played.role if played else name,
                    team=played.team if played else -1,
                    size=self.engine.get_num(handle),
                    body=(body.width, body.height),
                    acts=self._acts(handle, body) if played else (),
                )
            )
        width, height = (self.config.config_dict[f"map_{side}"] for side in ("width", "height"))
        return Stage(width=width, height=height, walls=self._walls(width * height), kinds=tuple(kinds))

    def places(self) -> list[Places]:
        """See `Watchable.places`."""
        found = []
        for i, (handle, first, body) in enumerate(zip(self.handles, self.firsts, self.bodies, strict=True)):
            health = self._views(i)[:, body.y, body.x, HEALTH]
            agents = self.engine.get_agent_id(handle).astype(np.int64) - first
            found.append(Places(agents, self.engine.get_pos(handle).astype(np.float32), health.clip(0, 1)))
        return found

    def _views(self, i: int) -> Floats:
        """What the living agents of group number i see, (m, height, width, channels)."""
        handle, (views, own) = self.handles[i], self.buffers[i]
        n = self.engine.get_num(handle)
        if n:
            both = (ctypes.c_void_p * 2)(views.ctypes.data, own.ctypes.data)
            _LIB.env_get_observation(self.engine.game, handle, both)
        return views[:n]

    def _buffers(self, handle: Any) -> tuple[Floats, Floats]:
        """Views and features of a whole group, and a row to spare: kept for the round, as the game keeps its own."""
        n = self.engine.get_num(handle) + 1
        shapes = (self.engine.get_view_space(handle), self.engine.get_feature_space(handle))
        views, own = (np.zeros((n, *shape), np.float32) for shape in shapes)
        return views, own

    def _acts(self, handle: Any, body: _Body) -> tuple[Act, ...]:
        """The engine's actions, in its order: every cell that is near enough to go to, row by row, and then every one
        that can be hit."""
        speed = self.config.agent_type_dict[self.config.groups[handle.value]]["speed"]
        near = range(-int(speed), int(speed) + 1)
        moves = [Act(kind="move", x=x, y=y) for y in near for x in near if math.hypot(x, y) <= speed + 1e-8]
        _, numbers = self.engine.get_view2attack(handle)
        cells = sorted((number, x, y) for (y, x), number in np.ndenumerate(numbers) if number >= 0)
        left, top = body.x + (body.width - 1) / 2, body.y + (body.height - 1) / 2
        return *moves, *(Act(kind="hit", x=x - left, y=y - top) for _, x, y in cells)

    def _walls(self, cells: int) -> tuple[tuple[int, int], ...]:
        found = np.zeros((cells + 1, 2), np.int32)
        _LIB.env_get_info(self.engine.game, self.handles[0], b"walls_info", found.ctypes.data_as(ctypes.c_void_p))
        return tuple((x, y) for x, y in found[1 : 1 + found[0, 0]].tolist())


def _body(views: Floats) -> _Body:
    """Its own body is what every agent sees, wherever it stands."""
    ys, xs = np.nonzero((views[..., PRESENT] == 1).all(0))
    return _Body(xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
