"""What MAgent2's games of two equal armies have in common: their rewards, and who has won."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.scenario import Scenario
from marlrobust.metrics import KILLS, REWARD, WIN, Metric

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame, Results


class Armies(Scenario):
    """Two equal armies. Rewards are per agent."""

    metrics: ClassVar[tuple[Metric, ...]] = (REWARD, WIN, KILLS)

    step_reward: float = Field(-0.005, description="Reward per step.")
    attack_opponent_reward: float = Field(0.2, description="Reward for hitting an opponent.")
    kill_reward: float = Field(5.0, description="Reward for killing one.")
    attack_penalty: float = Field(-0.1, description="Reward for any attack.")
    dead_penalty: float = Field(-0.1, description="Reward for dying.")

    def soldiers(self, map_size: int) -> Any:
        """An engine's configuration of two groups of soldiers, who hit what is next to them."""
        from magent2 import gridworld

        from marlrobust.games.magent.engine import config

        made = config(map_size)
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


def survivors(game: MagentGame, team: int) -> Results:
    """Who won, by the agents that are left: a win is more than the opponent has."""
    own = [group.team == team for group in game.groups]
    sizes = [group.size for group in game.groups]
    left = game.alive[:, own].sum(1)
    foes = game.alive.sum(1) - left
    size = sum(n for n, mine in zip(sizes, own, strict=True) if mine)
    return {"win": left > foes, "draw": left == foes, "kills": sum(sizes) - size - foes, "losses": size - left}
