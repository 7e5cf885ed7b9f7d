"""Battle: two equal armies, as in MAgent2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.scenario import Scenario
from marlrobust.rows import KILLS, REWARD, WIN, Metric

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame, Results


class Battle(Scenario):
    """MAgent2's battle. Rewards are per agent."""

    summary: ClassVar[str] = "two equal armies face each other (MAgent2's battle)"
    roles: ClassVar[tuple[str, str]] = ("soldier", "soldier")
    metrics: ClassVar[tuple[Metric, ...]] = (REWARD, WIN, KILLS)

    # Trained on shorter rounds: a trained team has won or lost by then, an untrained one stands about.
    preset: ClassVar[dict[str, Any]] = {"game": {"max_steps": 200}}
    short: ClassVar[dict[str, Any]] = {"normal_rounds": 400, "loop_rounds": 48, "robust_entropy": 0.05}

    map_size: int = Field(40, ge=12, le=400, description="Side of the map, in cells; 40 has 64 agents per side.")
    step_reward: float = Field(-0.005, description="Reward per step.")
    attack_opponent_reward: float = Field(0.2, description="Reward for hitting an opponent.")
    kill_reward: float = Field(5.0, description="Reward for killing one.")
    attack_penalty: float = Field(-0.1, description="Reward for any attack.")
    dead_penalty: float = Field(-0.1, description="Reward for dying.")

    def make(self, rounds: int) -> MagentGame:
        """See `Scenario.make`."""
        import numpy as np
        from magent2 import gridworld

        from marlrobust.games.magent.engine import MagentGame, config

        def build() -> Any:
            made = config(self.map_size)
            soldier = made.register_agent_type(
                "soldier",
                {
                    "width": 1,
                    "length": 1,
                    "hp": 10,
                    "speed": 2,
                    "view_range": gridworld.CircleRange(6),
                    "attack_range": gridworld.CircleRange(1.5),
                    "damage": 2,
                    "kill_reward": self.kill_reward,
                    "step_recover": 0.1,
                    "step_reward": self.step_reward,
                    "dead_penalty": self.dead_penalty,
                    "attack_penalty": self.attack_penalty,
                },
            )
            groups = [made.add_group(soldier) for _ in range(2)]
            sides = [gridworld.AgentSymbol(g, index="any") for g in groups]
            for own, other in (sides, sides[::-1]):
                hit = gridworld.Event(own, "attack", other)
                made.add_reward_rule(hit, receiver=own, value=self.attack_opponent_reward)
            return made

        def populate(engine: Any) -> None:
            # two squares of every second cell, 6 cells apart, as MAgent2 places them (4 % of the map each)
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

        return MagentGame(
            rounds=rounds, max_steps=self.max_steps, roles=self.roles, build=build, populate=populate, measure=survivors
        )


def survivors(game: MagentGame) -> Results:
    """Who won, by the agents that are left: a win is more than the opponent has."""
    own, foe = game.alive.T
    sizes = [team.size for team in game.teams]
    return {"win": own > foe, "draw": own == foe, "kills": sizes[1] - foe, "losses": sizes[0] - own}
