"""Games: batches of rounds, stepped together. Importing this package imports no engine."""

from marlrobust.games.scenario import Scenario
from marlrobust.registry import Registry

SCENARIOS: Registry[type[Scenario]] = Registry(
    "scenario",
    "marlrobust.scenarios",
    {
        "battle": "marlrobust.games.magent.battle:Battle",
        "pursuit": "marlrobust.games.magent.pursuit:Pursuit",
        "sasg": "marlrobust.theory.scenario:Tabular",
    },
    base="marlrobust.games.scenario:Scenario",
)
"""Every game by name; an installed package adds its own by an entry point of this group."""

__all__ = ["SCENARIOS", "Scenario"]
