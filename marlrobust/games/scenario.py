"""A game's settings, and what belongs to it: roles, metrics, the opponent, how it is trained."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.config import Settings
from marlrobust.rows import REWARD, Metric

if TYPE_CHECKING:
    from marlrobust.games.game import Game


class Scenario(Settings):
    """The settings of one game; a subclass adds the game's own, and says what the game is."""

    summary: ClassVar[str] = ""
    """One line for `marlrobust list scenarios`."""

    roles: ClassVar[tuple[str, str]]
    """What the policies of the team under test and of its opponent are for; equal where they can change sides."""

    metrics: ClassVar[tuple[Metric, ...]] = (REWARD,)
    """What a round of this game has."""

    opponent: ClassVar[str] = "a2c"
    """Whom policies of this game are tested against, if no other is named."""

    span: ClassVar[float] = 1.0
    """Nearly all numbers of a state lie within a range of this length: a larger epsilon is doubtful."""

    preset: ClassVar[dict[str, Any]] = {}
    """What training settings are in this game, where they are not the usual ones."""

    short: ClassVar[dict[str, Any]] = {}
    """The same for a training of minutes."""

    max_steps: int = Field(400, ge=1, le=100_000, description="Steps per round, at most.")

    @abstractmethod
    def make(self, rounds: int) -> Game:
        """R = `rounds` parallel rounds of this game; raises UserError for settings that no game can have."""
