"""Tiger and deer: tigers must hunt together, or starve, as in MAgent2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.games.scenario import Scenario, Teams
from marlrobust.metrics import CAPTURES, REWARD, Metric

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame, Results


class TigerDeer(Scenario):
    """MAgent2's tiger and deer: a reward for two tigers that bite the same deer in the same step. Rewards are per
    agent."""

    summary: ClassVar[str] = "tigers hunt deer together, or starve (MAgent2's tiger deer)"
    teams: ClassVar[Teams] = {"tigers": ("tiger",), "deer": ("deer",)}
    metrics: ClassVar[tuple[Metric, ...]] = (REWARD, CAPTURES)

    max_steps: int = Field(300, ge=1, le=100_000, description="Steps per round, at most.")
    map_size: int = Field(45, ge=10, le=400, description="Side of the map, in cells; 45 has 20 tigers and 101 deer.")
    tiger_step_recover: float = Field(-0.1, description="Health that a tiger gains per step: below zero it starves.")
    tiger_attack_reward: float = Field(1.0, description="Reward for biting a deer together, for each of the two.")
    deer_attacked: float = Field(-0.1, description="Reward of a deer for being bitten.")

    def make(self, rounds: int) -> MagentGame:
        """See `Scenario.make`."""
        from marlrobust.games.magent.engine import MagentGame

        return MagentGame(
            rounds=rounds,
            max_steps=self.max_steps,
            groups=(("deer", 1), ("tiger", 0)),
            build=self._build,
            populate=self._populate,
            measure=_caught,
        )

    def _build(self) -> Any:
        from magent2 import gridworld

        from marlrobust.games.magent.engine import config

        made = config(self.map_size)
        deer = made.register_agent_type(
            "deer",
            {
                "width": 1,
                "length": 1,
                "hp": 5,
                "speed": 1,
                "view_range": gridworld.CircleRange(1),
                "attack_range": gridworld.CircleRange(0),
                "step_recover": 0.2,
                "kill_supply": 8,
                "dead_penalty": -1.0,
            },
        )
        tiger = made.register_agent_type(
            "tiger",
            {
                "width": 1,
                "length": 1,
                "hp": 10,
                "speed": 1,
                "view_range": gridworld.CircleRange(4),
                "attack_range": gridworld.CircleRange(1),
                "damage": 1,
                "step_recover": self.tiger_step_recover,
            },
        )
        hunted, hunters = made.add_group(deer), made.add_group(tiger)
        one, other = (gridworld.AgentSymbol(hunters, index="any") for _ in range(2))
        prey = gridworld.AgentSymbol(hunted, index="any")
        bites = [gridworld.Event(hunter, "attack", prey) for hunter in (one, other)]
        # half of it each: the engine finds every pair twice
        half = self.tiger_attack_reward / 2
        made.add_reward_rule(bites[0] & bites[1], receiver=[one, other], value=[half, half])
        made.add_reward_rule(bites[0], receiver=[prey], value=[self.deer_attacked])
        return made

    def _populate(self, engine: Any) -> None:
        deer, tigers = engine.get_handles()
        cells = self.map_size * self.map_size
        engine.add_walls(method="random", n=cells * 0.04)
        engine.add_agents(deer, method="random", n=cells * 0.05)
        engine.add_agents(tigers, method="random", n=cells * 0.01)


def _caught(game: MagentGame, team: int) -> Results:
    """Tigers: deer that died; both: who of them died, tigers by hunger."""
    died = {g.team: g.size - game.alive[:, i] for i, g in enumerate(game.groups)}
    return {"captures": died[1], "losses": died[0]} if team == 0 else {"losses": died[1]}
