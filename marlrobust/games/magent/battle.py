"""Battle: two equal armies, as in MAgent2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.magent.armies import Armies, survivors
from marlrobust.games.scenario import Teams

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame
    from marlrobust.games.symmetry import Symmetry


class Battle(Armies):
    """MAgent2's battle. Rewards are per agent."""

    summary: ClassVar[str] = "two equal armies face each other (MAgent2's battle)"
    teams: ClassVar[Teams] = {"red": ("soldier",), "blue": ("soldier",)}

    # Trained on shorter rounds: a trained team has won or lost by then, an untrained one stands about.
    # Half of the rounds against itself can end with everybody standing about.
    preset: ClassVar[dict[str, Any]] = {"game": {"max_steps": 200}, "past_share": 0.75}
    short: ClassVar[dict[str, Any]] = {"normal_rounds": 400, "loop_rounds": 48, "robust_entropy": 0.05}

    map_size: int = Field(40, ge=12, le=400, description="Side of the map, in cells; 40 has 64 agents per side.")

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

    def symmetries(self, role: str) -> Sequence[Symmetry]:
        """See `Scenario.symmetries`: the armies may start on any side of the map."""
        from marlrobust.games.magent.mirror import mirrors

        return mirrors(self.map_size, view=(13, 13, 7), minimaps=(3, 6), moves=2, hits=1.5)

    def _populate(self, engine: Any) -> None:
        """Two squares of every second cell, 6 cells apart, as MAgent2 places them (4 % of the map each)."""
        import numpy as np

        size = self.map_size
        side = int(np.sqrt(size * size * 0.04)) * 2
        ys = (size - side) // 2 + np.arange(0, side, 2)
        squares = []
        for left in (size // 2 - 3 - side, size // 2 + 3):
            x, y = np.meshgrid(left + np.arange(0, side, 2), ys, indexing="ij")
            inside = (x > 0) & (x < size - 1) & (y > 0) & (y < size - 1)
            squares.append(np.stack([x[inside], y[inside]], axis=1))
        for handle, square in zip(engine.get_handles(), squares, strict=True):
            engine.add_agents(handle, method="custom", pos=square[: len(squares[0])])
