"""Games: batches of rounds, stepped together. Importing this package imports no engine."""

from __future__ import annotations

from typing import Any

from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.games.scenario import Scenario
from marlrobust.registry import Registry

SCENARIOS: Registry[type[Scenario]] = Registry(
    "scenario",
    "marlrobust.scenarios",
    {
        "battle": "marlrobust.games.magent.battle:Battle",
        "pursuit": "marlrobust.games.magent.pursuit:Pursuit",
        "battlefield": "marlrobust.games.magent.battlefield:Battlefield",
        "combined_arms": "marlrobust.games.magent.combined_arms:CombinedArms",
        "gather": "marlrobust.games.magent.gather:Gather",
        "tiger_deer": "marlrobust.games.magent.tiger_deer:TigerDeer",
        "sasg": "marlrobust.theory.scenario:Tabular",
    },
    base="marlrobust.games.scenario:Scenario",
)
"""Every game by name; an installed package adds its own by an entry point of this group."""

PLACE = ":"
"""In a name that is none of the table: what makes a PettingZoo environment, as `module:function`."""


def check_name(name: str) -> None:
    """Raises UserError for the name of a game that there cannot be, without importing anything."""
    if PLACE in name:
        return
    try:
        SCENARIOS.check(name)
    except UserError as error:
        raise UserError(f"{error}; a game of your own is MODULE:FUNCTION, or pettingzoo:MODULE") from None


def kind_of(name: str) -> tuple[type[Scenario], dict[str, Any]]:
    """The class of the game called `name`, and the settings that the name itself gives."""
    if PLACE not in name:
        return SCENARIOS[name], {}
    from marlrobust.games.parallel import Parallel  # only now: it takes time to import

    return Parallel, {"environment": name}


def make_scenario(name: str, *layers: dict[str, Any]) -> Scenario:
    """The game called `name`: one of `marlrobust list scenarios`, `pettingzoo:MODULE`, or `MODULE:FUNCTION` that makes
    a PettingZoo parallel environment. layers: settings, the later ones winning, as in `{"max_steps": 25}`. What it
    gives has `make(R)`, for R rounds. Raises UserError for a name or a setting that there is not."""
    kind, given = kind_of(name)
    return resolve(kind, *layers, given)


__all__ = ["SCENARIOS", "Scenario", "check_name", "kind_of", "make_scenario"]
