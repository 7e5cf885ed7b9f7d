"""Pursuit: predators tag prey, as in MAgent2's adversarial pursuit; nobody dies, nobody wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.errors import UserError
from marlrobust.games.scenario import Scenario, Teams

if TYPE_CHECKING:
    from marlrobust.games.magent.engine import MagentGame


class Pursuit(Scenario):
    """MAgent2's adversarial pursuit: predators (2 x 2 cells) tag prey. Rewards are per agent."""

    summary: ClassVar[str] = "predators tag prey, nobody dies (MAgent2's adversarial pursuit)"
    teams: ClassVar[Teams] = {"predators": ("predator",), "prey": ("prey",)}

    # More entropy than usual (with 0.02 both sides learn to do nothing) and fewer rounds: each has 400 full steps.
    # After M_norm the prey is that of M_norm: nobody attacks it in the test, and it leaves the time to the predators.
    preset: ClassVar[dict[str, Any]] = {
        "normal_rounds": 160,
        "opponent_rounds": 80,
        "loop_rounds": 40,
        "parallel_rounds": 4,
        "gamma": 0.95,
        "first_entropy": 0.1,
        "entropy": 0.1,
        "past_share": 1.0,
        "young_share": 0.0,
        "mu_max": 0.3,  # with 0.15 an attack turns every third decision
        "attack_steps": 10,  # a team made robust against 5 is turned by 10
        "robust_entropy": 0.1,  # with 0.05 and this mu_max the policy can fall into one action, for good
    }
    # a prey is caught by whoever does not hesitate
    distilled: ClassVar[dict[str, Any]] = {
        "rounds": 52,
        "parallel_rounds": 4,
        "sharpness": 2.0,
        "certainty": 3.0,
        "leeway": 0.3,
        "weight": 0.6,
        "replay_ratio": 4.5,
    }
    short: ClassVar[dict[str, Any]] = {
        "normal_rounds": 40,
        "opponent_rounds": 40,
        "loop_rounds": 12,
        "mu_max": 0.1,
        "attack_steps": 5,
        "robust_entropy": 0.1,
    }

    map_size: int = Field(45, ge=7, le=400, description="Side of the map, in cells.")
    predators: int = Field(32, ge=1, le=40_000, description="Predators.")
    prey: int = Field(64, ge=1, le=160_000, description="Prey.")
    wall_share: float = Field(0.03, ge=0, lt=1, description="Share of the map's cells that are walls.")
    tag_reward: float = Field(1.0, description="Reward for tagging a prey.")
    tagged_penalty: float = Field(-0.1, description="Reward for being tagged: the paper's; MAgent2's own is -1.")
    attack_penalty: float = Field(-0.2, description="Reward for any attack.")

    def make(self, rounds: int) -> MagentGame:
        """See `Scenario.make`."""
        from magent2 import gridworld

        from marlrobust.games.magent.engine import MagentGame, config

        self._check_room()

        def build() -> Any:
            made = config(self.map_size)
            hunter = made.register_agent_type(
                "predator",
                {
                    "width": 2,
                    "length": 2,
                    "hp": 1,
                    "speed": 1,
                    "view_range": gridworld.CircleRange(5),
                    "attack_range": gridworld.CircleRange(2),
                    "attack_penalty": self.attack_penalty,
                },
            )
            hunted = made.register_agent_type(
                "prey",
                {
                    "width": 1,
                    "length": 1,
                    "hp": 1,
                    "speed": 1.5,
                    "view_range": gridworld.CircleRange(4),
                    "attack_range": gridworld.CircleRange(0),
                },
            )
            a, b = (gridworld.AgentSymbol(made.add_group(kind), index="any") for kind in (hunter, hunted))
            tag = gridworld.Event(a, "attack", b)
            made.add_reward_rule(tag, receiver=[a, b], value=[self.tag_reward, self.tagged_penalty])
            return made

        def populate(engine: Any) -> None:
            hunters, hunted = engine.get_handles()
            engine.add_walls(method="random", n=self._walls)
            engine.add_agents(hunters, method="random", n=self.predators)
            engine.add_agents(hunted, method="random", n=self.prey)

        return MagentGame(
            rounds=rounds,
            max_steps=self.max_steps,
            groups=(("predator", 0), ("prey", 1)),
            build=build,
            populate=populate,
        )

    @property
    def _walls(self) -> float:
        return self.map_size * self.map_size * self.wall_share

    def _check_room(self) -> None:
        """Raise UserError where the engine might find no place for an agent, which ends the process.

        It draws as many places as the map has cells: with f free ones it fails with probability exp(-f). A wall
        takes four places from the predators, and a predator about seven, as the nine around it overlap.
        """
        side, predators, prey, walls = self.map_size, self.predators, self.prey, self._walls
        for_predator = (side - 3) ** 2 - 7 * (predators - 1) - 4 * walls
        for_prey = (side - 2) ** 2 - 4 * predators - prey - walls
        if min(for_predator, for_prey) < 20:
            raise UserError(f"{predators} predators and {prey} prey need a larger map than {side} x {side}")
