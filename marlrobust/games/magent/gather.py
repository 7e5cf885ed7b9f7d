"""Gather: many agents, little food, as in MAgent2: they can share it, or kill each other for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.scenario import Scenario, Teams
from marlrobust.metrics import CAPTURES, REWARD, Metric

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame, Results

AGENTS = ((0.9, 3), (0.8, 4), (0.7, 6))
"""Squares on whose sides agents stand: side as a share of the map's, and every how many cells."""

FOOD = ((0.65, 10), (0.6, 10), (0.55, 10), (0.5, 4), (0.45, 3), (0.4, 1), (0.3, 1))
"""The same for food; 3 squares more lie 2, 4 and 6 cells inside the last, and a field in the middle."""

FIELD = 53
"""Side of that field, in cells: blocks of 2 by 2 pieces of food, 2 cells apart."""


class Gather(Scenario):
    """MAgent2's gather: there is no other team, and food does nothing. Rewards are per agent."""

    summary: ClassVar[str] = "many agents, little food, no opponents (MAgent2's gather)"
    teams: ClassVar[Teams] = {"omnivores": ("omnivore",)}
    metrics: ClassVar[tuple[Metric, ...]] = (REWARD, CAPTURES)

    max_steps: int = Field(500, ge=1, le=100_000, description="Steps per round, at most.")
    map_size: int = Field(200, ge=70, le=400, description="Side of the map, in cells; 200 has 495 agents.")
    step_reward: float = Field(-0.01, description="Reward per step.")
    attack_penalty: float = Field(-0.1, description="Reward for any attack.")
    dead_penalty: float = Field(-1.0, description="Reward for dying.")
    attack_food_reward: float = Field(0.5, description="Reward for hitting food.")
    kill_reward: float = Field(5.0, description="Reward for eating food up.")

    def make(self, rounds: int) -> MagentGame:
        """See `Scenario.make`."""
        from marlrobust.games.magent.engine import MagentGame

        return MagentGame(
            rounds=rounds,
            max_steps=self.max_steps,
            groups=(("omnivore", 0),),
            build=self._build,
            populate=self._populate,
            measure=_eaten,
            scenery=1,
        )

    def _build(self) -> Any:
        from magent2 import gridworld

        from marlrobust.games.magent.engine import config

        made = config(self.map_size, identity=False)
        omnivore = made.register_agent_type(
            name="agent",
            attr={
                "width": 1,
                "length": 1,
                "hp": 3,
                "speed": 3,
                "view_range": gridworld.CircleRange(7),
                "attack_range": gridworld.CircleRange(1),
                "damage": 6,
                "step_recover": 0,
                "attack_in_group": 1,
                "step_reward": self.step_reward,
                "attack_penalty": self.attack_penalty,
                "dead_penalty": self.dead_penalty,
            },
        )
        food = made.register_agent_type(
            name="food",
            attr={
                "width": 1,
                "length": 1,
                "hp": 25,
                "speed": 0,
                "view_range": gridworld.CircleRange(1),
                "attack_range": gridworld.CircleRange(0),
                "kill_reward": self.kill_reward,
            },
        )
        eaten, eater = (gridworld.AgentSymbol(made.add_group(kind), index="any") for kind in (food, omnivore))
        bite = gridworld.Event(eater, "attack", eaten)
        made.add_reward_rule(bite, receiver=eater, value=self.attack_food_reward)
        return made

    def _populate(self, engine: Any) -> None:
        """Agents on squares around the food."""
        food, omnivores = engine.get_handles()
        size, middle = self.map_size, self.map_size // 2
        inner = [(size * FOOD[-1][0] - less, 1) for less in (2, 4, 6)]
        engine.add_agents(omnivores, method="custom", pos=self._squares([(size * s, e) for s, e in AGENTS]))
        engine.add_agents(food, method="custom", pos=self._squares([*((size * s, e) for s, e in FOOD), *inner]))
        low = middle - FIELD // 2
        blocks = [i for i in range(FIELD) if i % 4 > 1]
        engine.add_agents(food, method="custom", pos=[(low + x, low + y) for y in blocks for x in blocks])

    def _squares(self, squares: Sequence[tuple[float, int]]) -> list[tuple[int, int]]:
        """Cells on the sides of squares around the middle of the map: side, and every how many cells. Corners come
        twice, and are taken once."""
        cells = []
        for side, every in squares:
            low, high = (self.map_size // 2 + way * (int(side) // 2) for way in (-1, 1))
            along = range(low, high + 1, every)
            cells += [cell for x in along for cell in ((x, low), (x, high))]
            cells += [cell for y in along for cell in ((low, y), (high, y))]
        return cells


def _eaten(game: MagentGame, team: int) -> Results:
    """Food that was eaten up, and agents that died."""
    return {"captures": game.scenery_size - game.scenery(), "losses": game.groups[0].size - game.alive[:, 0]}
