"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from marlrobust.config import GameSettings
from marlrobust.errors import UserError
from marlrobust.games.game import Game
from marlrobust.games.magent import battle, pursuit

SCENARIOS: dict[str, Callable[..., Game]] = {"battle": battle, "pursuit": pursuit}


def make_game(settings: GameSettings, rounds: int) -> Game:
    """R = `rounds` parallel rounds of the game in `settings`; raises UserError for a setting it has not."""
    scenario, chosen = SCENARIOS[settings.scenario], settings.arguments()
    known = [name for name in signature(scenario).parameters if name != "rounds"]
    for name in chosen:
        if name not in known:
            raise UserError(f"{settings.scenario} has no setting {name!r}: it has {', '.join(known)}")
    return scenario(rounds=rounds, **chosen)
