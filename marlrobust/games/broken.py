"""What is told when a game's own code fails in the middle of a round."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marlrobust.errors import UserError


class GameError(UserError):
    """A game's own code failed. fault: what it raised, and when; details: its traceback."""

    def __init__(self, message: str, fault: str, details: str) -> None:
        super().__init__(message)
        self.fault, self.details = fault, details

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.fault, self.details)


def broken(game: str, error: Exception, when: str, check: str) -> GameError:
    """`error`, which the code of `game` raised, as a sentence. when: in words; check: how to find out more."""
    said = " ".join(str(error).split())
    fault = f"{type(error).__name__} {when}" + (f": {said}" if said else "")
    return GameError(f"{game} raises {fault}. To see what is wrong, call {check}", fault, traceback.format_exc())


def of_environment(name: str, error: Exception, when: str) -> GameError:
    """The same of an environment that a user calls `name`."""
    return broken(name, error, when, f"marlrobust.check_game(marlrobust.make_scenario({name!r}))")


@contextmanager
def told(game: object, when: str) -> Iterator[None]:
    """While it lasts, what the code of `game` raises is told as a sentence; what is one already stays as it is."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise broken(f"the game {type(game).__name__}", error, when, "marlrobust.check_game on it") from error
