"""marlrobust: how far can a team of policies be trusted when what its agents see is perturbed?

From Python::

    import marlrobust

    policy = marlrobust.load_policy("zoo:battle/romfac")
    attack = marlrobust.attack("pgd", epsilon=0.075, steps=20)

What else there is, is in the modules; these names stay. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marlrobust.attacks.attack import Attack, Threat
    from marlrobust.evaluation.rollout import Adversary, play_rounds
    from marlrobust.games import make_scenario
    from marlrobust.games.check import check_game
    from marlrobust.games.game import Decisions
    from marlrobust.policies.adapters import as_policy
    from marlrobust.reports.tables import table
    from marlrobust.wrappers import wrap

__version__ = version("marlrobust")

__all__ = [
    "Adversary",
    "Decisions",
    "Threat",
    "__version__",
    "as_policy",
    "attack",
    "check_game",
    "load_policy",
    "make_scenario",
    "play_rounds",
    "table",
    "wrap",
]

_PLACES = {
    "Adversary": "marlrobust.evaluation.rollout",
    "Decisions": "marlrobust.games.game",
    "Threat": "marlrobust.attacks.attack",
    "as_policy": "marlrobust.policies.adapters",
    "check_game": "marlrobust.games.check",
    "make_scenario": "marlrobust.games",
    "play_rounds": "marlrobust.evaluation.rollout",
    "table": "marlrobust.reports.tables",
    "wrap": "marlrobust.wrappers",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'marlrobust' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def attack(name: str, *, epsilon: float = 0.075, norm: str = "l_inf", **parameters: Any) -> Attack:
    """The attack called `name` (`marlrobust list attacks`), inside a ball of radius `epsilon` (state units) in `norm`.

    parameters: the attack's own, as in `steps=20`. Raises UserError for a name or a parameter that there is not.
    """
    from marlrobust.attacks import ATTACKS
    from marlrobust.attacks.attack import Threat
    from marlrobust.parameters import build

    return build("attack", name, ATTACKS[name], parameters, threat=Threat(norm=norm, epsilon=epsilon))  # type: ignore[arg-type]


def load_policy(name: str) -> Any:
    """A stored policy, by its file's path, or by its name: `zoo:battle/romfac`, or `SCENARIO/NAME` under runs/.

    Raises UserError for one that there is not, that is damaged, or that is no policy.
    """
    from marlrobust.policies.library import Library

    return Library().named(name).load()
