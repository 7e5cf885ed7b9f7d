"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable

from marlrobust.config import GameSettings
from marlrobust.errors import UserError
from marlrobust.games.game import Game
from marlrobust.games.magent import battle, pursuit

SCENARIOS: dict[str, Callable[..., Game]] = {"battle": battle, "pursuit": pursuit}


def make_game(settings: GameSettings, rounds: int) -> Game:
    """R = `rounds` parallel rounds of the game in `settings`; raises UserError for a setting it has not."""
    try:
        return SCENARIOS[settings.scenario](rounds=rounds, **settings.arguments())
    except TypeError as error:
        raise UserError(f"{settings.scenario} has no such setting: {error}") from None
