"""Combined arms: each army has two kinds of soldiers, as in MAgent2."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.magent.armies import Armies, survivors
from marlrobust.games.scenario import Teams

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame


class CombinedArms(Armies):
    """MAgent2's combined arms: melee soldiers are strong and slow, ranged ones weak, quick, and hit from afar.

    Each kind has a policy of its own. Rewards are per agent.
    """

    summary: ClassVar[str] = "two armies of two kinds of soldiers (MAgent2's combined arms)"
    teams: ClassVar[Teams] = {"red": ("melee", "ranged"), "blue": ("melee", "ranged")}

    max_steps: int = Field(1000, ge=1, le=100_000, description="Steps per round, at most.")
    map_size: int = Field(45, ge=16, le=400, description="Side of the map, in cells; 45 has 45 + 36 agents per side.")

    def make(self, rounds: int) -> MagentGame:
        """See `Scenario.make`."""
        from marlrobust.games.magent.engine import MagentGame

        return MagentGame(
            rounds=rounds,
            max_steps=self.max_steps,
            groups=(("melee", 0), ("ranged", 0), ("melee", 1), ("ranged", 1)),
            build=self._build,
            populate=self._populate,
            measure=survivors,
        )

    def _build(self) -> Any:
        from magent2 import gridworld

        from marlrobust.games.magent.engine import config

        made = config(self.map_size)
        kinds = [
            made.register_agent_type(
                name,
                {
                    "width": 1,
                    "length": 1,
                    "hp": hp,
                    "speed": speed,
                    "view_range": gridworld.CircleRange(6),
                    "attack_range": gridworld.CircleRange(reach),
                    "damage": 2,
                    "step_recover": 0.1,
                    "attack_in_group": True,
                    "step_reward": self.step_reward,
                    "dead_penalty": self.dead_penalty,
                    "attack_penalty": self.attack_penalty,
                },
            )
            for name, hp, speed, reach in (("melee", 10, 1, 1), ("ranged", 3, 2, 2))
        ]
        sides = [[gridworld.AgentSymbol(made.add_group(kind), index="any") for kind in kinds] for _ in range(2)]
        # the engine adds rewards in the order of its rules: first all hits, then all kills, as MAgent2 has them
        for event, value in (("attack", self.attack_opponent_reward), ("kill", self.kill_reward)):
            for ours, theirs in (sides, sides[::-1]):
                for own, other in product(ours, theirs):
                    made.add_reward_rule(gridworld.Event(own, event, other), receiver=own, value=value)
        return made

    def _populate(self, engine: Any) -> None:
        """Two squares of every second cell, 6 cells apart, in which columns of the two kinds take turns."""
        size = self.map_size
        side = int((size * size * 0.04) ** 0.5) * 2
        middle, low = size // 2, (size - side) // 2
        rows = range(low, min(low + side, size - 1), 2)
        left = range(max(middle - 3 - side, 1), middle - 3, 2)
        right = range(middle + 3, min(middle + 3 + side, size - 1), 2)[: len(left)]
        handles = iter(engine.get_handles())
        for columns in (left, right):
            for kind in (0, 1):
                places = [(x, y) for x in columns[kind::2] for y in rows]
                engine.add_agents(next(handles), method="custom", pos=places)
