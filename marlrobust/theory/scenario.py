"""A tabular game as a scenario: its settings. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from marlrobust.errors import UserError
from marlrobust.games.scenario import Scenario, Teams
from marlrobust.registry import unknown
from marlrobust.theory.examples import EXAMPLES

if TYPE_CHECKING:
    from marlrobust.theory.rounds import TabularGame


class Tabular(Scenario):
    """One of the named games of `marlrobust.theory`. There is no opponent."""

    summary: ClassVar[str] = "a small game that is solved exactly; its states are one-hot vectors"
    teams: ClassVar[Teams] = {"agents": ("agent",)}

    max_steps: int = Field(200, ge=1, le=100_000, description="Steps per round, at most.")
    example: str = Field("door", description="Name of the game: see docs/theory.md.")
    start: int | None = Field(None, ge=0, description="Number of the first state; none draws it.")
    discounted: bool = Field(
        True, description="End each step with a chance of 1 - gamma, so that a round's mean reward is the game's value."
    )

    @field_validator("example")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in EXAMPLES:
            raise UserError(unknown("example", value, EXAMPLES).split(" (see")[0])
        return value

    def make(self, rounds: int) -> TabularGame:
        """See `Scenario.make`."""
        from marlrobust.theory.rounds import TabularGame

        game = EXAMPLES[self.example].game
        if self.start is not None and self.start >= game.n_states:
            raise UserError(f"start: {self.example} has the states 0 to {game.n_states - 1}, not {self.start}")
        return TabularGame(game, rounds, self.max_steps, start=self.start, discounted=self.discounted)
