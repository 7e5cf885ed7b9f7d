"""A game's settings, and what belongs to it: roles, metrics, the opponent, how it is trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marlrobust.config import Settings
from marlrobust.errors import UserError
from marlrobust.metrics import REWARD, Metric

if TYPE_CHECKING:
    from marlrobust.games.game import Game
    from marlrobust.games.symmetry import Symmetry

Teams = Mapping[str, tuple[str, ...]]
"""Name of each team to the roles of its groups, in the order of the teams' numbers."""


def team_numbers(teams: Teams, names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the teams called `names`; of the first if none is named. Raises UserError for a name that is
    none."""
    known = list(teams)
    for name in names:
        if name not in known:
            raise UserError(f"there is no team '{name}' in this game: give one of {', '.join(known)}")
    return tuple(sorted({known.index(name) for name in names})) or (0,)


def roles_of(teams: Teams, numbers: Sequence[int], *, others: bool = False) -> tuple[str, ...]:
    """The roles in the teams of these numbers, each once, or with `others` those in all other teams."""
    own = [roles for i, roles in enumerate(teams.values()) if (i in numbers) != others]
    return tuple(dict.fromkeys(role for roles in own for role in roles))


class Scenario(Settings):
    """The settings of one game; a subclass adds the game's own, and says what the game is."""

    summary: ClassVar[str] = ""
    """One line for `marlrobust list scenarios`."""

    teams: ClassVar[Teams]
    """Roles of each team's groups, by its name. The first is tested, and may be attacked, if no other is named; all
    others are its opponents."""

    metrics: ClassVar[tuple[Metric, ...]] = (REWARD,)
    """What a round of this game has."""

    opponent: ClassVar[str] = "a2c"
    """Whom policies of this game are tested against, where it has opponents and none is named."""

    span: ClassVar[float] = 1.0
    """Nearly all numbers of a state lie within a range of this length: a larger epsilon is doubtful."""

    preset: ClassVar[dict[str, Any]] = {}
    """What training settings are in this game, where they are not the usual ones."""

    distilled: ClassVar[dict[str, Any]] = {}
    """What the settings of a distillation are in this game, where they are not the usual ones."""

    short: ClassVar[dict[str, Any]] = {}
    """The same for a training of minutes."""

    max_steps: int = Field(400, ge=1, le=100_000, description="Steps per round, at most.")

    @property
    def versions(self) -> dict[str, str]:
        """Name to version of what the game is played by, beside this package and the engine that it needs."""
        return {}

    def symmetries(self, role: str) -> Sequence[Symmetry]:
        """The mirrors of the game for agents of a role, where it has some: a learner learns from them too."""
        return ()

    @abstractmethod
    def make(self, rounds: int) -> Game:
        """R = `rounds` parallel rounds of this game; raises UserError for settings that no game can have."""
