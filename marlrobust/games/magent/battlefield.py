"""Battlefield: battle with few soldiers, on a large map with walls, as in MAgent2."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.magent.armies import Armies, survivors
from marlrobust.games.scenario import Teams

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame

SQUARE = range(0, 8, 2)
"""Of a side of each army's square, the cells that have a soldier."""


class Battlefield(Armies):
    """MAgent2's battlefield: soldiers as in battle, so that battle's policies can play it. Rewards are per agent."""

    summary: ClassVar[str] = "two armies of 12 among walls (MAgent2's battlefield)"
    teams: ClassVar[Teams] = {"red": ("soldier",), "blue": ("soldier",)}
    opponent: ClassVar[str] = "zoo:battle/a2c"

    max_steps: int = Field(1000, ge=1, le=100_000, description="Steps per round, at most.")
    map_size: int = Field(80, ge=46, le=400, description="Side of the map, in cells.")

    def make(self, rounds: int) -> MagentGame:
        """See `Scenario.make`."""
        from marlrobust.games.magent.engine import MagentGame

        return MagentGame(
            rounds=rounds,
            max_steps=self.max_steps,
            groups=(("soldier", 0), ("soldier", 1)),
            build=partial(self.soldiers, self.map_size),
            populate=self._populate,
            measure=survivors,
        )

    def _populate(self, engine: Any) -> None:
        """Four walls, two cells thick, and the armies 6 cells apart; who would stand in a wall is not there."""
        size, middle = self.map_size, self.map_size // 2
        below = (*range(10, 45), *range(50, middle + 25))
        above = (*range(middle - 25, size - 50), *range(size - 45, size - 10))
        places = [((middle - 5, middle - 4), below), ((middle + 5, middle + 4), above)]
        walls = [(x, y) for columns, rows in places for y in rows for x in columns]
        engine.add_walls(method="custom", pos=[(x, y) for x, y in walls if 0 < y < size - 1])
        low = (size - SQUARE.stop) // 2
        for handle, left in zip(engine.get_handles(), (middle - 3 - SQUARE.stop, middle + 3), strict=True):
            engine.add_agents(handle, method="custom", pos=[(left + x, low + y) for x in SQUARE for y in SQUARE])
