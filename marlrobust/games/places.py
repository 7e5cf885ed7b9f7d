"""Where the agents of a round are, for those who watch it: what a game that can be shown offers beside `Game`."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from marlrobust.games.game import Floats, Ints
from marlrobust.recorded import Stage


class Places(NamedTuple):
    """The m living agents of one group in one round. agent: (m,) number, from 0, that stays the same while it lives;
    at: (m, 2) the corner of its body with the least x and y, in the stage's units; health: (m,) in [0, 1]."""

    agent: Ints
    at: Floats
    health: Floats


@runtime_checkable
class Watchable(Protocol):
    """A game whose rounds can be shown."""

    def stage(self, round: int) -> Stage:
        """The stage of a round that has just begun: its groups are those of the game, in their order, and then what
        nobody plays. Raises UserError where agents are nowhere."""
        ...

    def places(self, round: int) -> list[Places]:
        """Where everybody on the stage is, also after the round's end."""
        ...
