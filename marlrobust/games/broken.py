"""What is told when a game's own code fails in the middle of a round."""

from __future__ import annotations

import traceback
from typing import Any

from marlrobust.errors import UserError


class GameError(UserError):
    """A game's own code failed. fault: what it raised, and when; details: its traceback."""

    def __init__(self, message: str, fault: str, details: str) -> None:
        super().__init__(message)
        self.fault, self.details = fault, details

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.fault, self.details)


def broken(game: str, error: Exception, when: str) -> GameError:
    """`error`, which the code of `game` raised, as a sentence. game: its name, as a user gives it; when: in words."""
    said = " ".join(str(error).split())
    fault = f"{type(error).__name__} {when}" + (f": {said}" if said else "")
    message = (
        f"the game {game} raises {fault}. To find out more, call "
        f"marlrobust.check_game(marlrobust.make_scenario({game!r}))"
    )
    return GameError(message, fault, traceback.format_exc())
