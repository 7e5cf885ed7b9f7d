"""Games: batches of rounds, stepped together. Importing this package imports no engine."""

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
    },
    base="marlrobust.games.scenario:Scenario",
)
"""Every game by name; an installed package adds its own by an entry point of this group."""

__all__ = ["SCENARIOS", "Scenario"]
