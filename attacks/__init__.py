"""Attacks on what agents see, and strategies for whom to attack. Importing this package imports no torch."""

from __future__ import annotations

if __name__ == "attacks":
    raise ImportError("import marlrobust.attacks instead of attacks: a second copy of it would have a second registry")

from typing import TYPE_CHECKING, Any

from marlrobust.registry import Registry, imported

if TYPE_CHECKING:
    from marlrobust.attacks.attack import Attack
    from marlrobust.attacks.threat import Threat
    from marlrobust.attacks.victims import Victims

__all__ = ["ATTACKS", "VICTIMS", "Attack", "Threat", "Victims"]

_LAZY = {
    "Attack": "marlrobust.attacks.attack:Attack",
    "Threat": "marlrobust.attacks.threat:Threat",
    "Victims": "marlrobust.attacks.victims:Victims",
}

ATTACKS: Registry[type[Attack]] = Registry(
    "attack",
    "marlrobust.attacks",
    {
        "random": "marlrobust.attacks.random:RandomNoise",
        "pgd": "marlrobust.attacks.gradient:PGD",
        "margin": "marlrobust.attacks.gradient:Margin",
        "fgsm": "marlrobust.attacks.gradient:FGSM",
        "mim": "marlrobust.attacks.momentum:MIM",
        "apgd-ce": "marlrobust.attacks.momentum:APGDCrossEntropy",
        "apgd-dlr": "marlrobust.attacks.momentum:APGDRatio",
        "square": "marlrobust.attacks.square:Square",
        "mad": "marlrobust.attacks.values:MAD",
        "targeted": "marlrobust.attacks.values:Targeted",
        "critic": "marlrobust.attacks.values:Critic",
        "auto": "marlrobust.attacks.auto:Auto",
        "learned": "marlrobust.attacks.learned:Learned",
        "timed": "marlrobust.attacks.wrappers:Timed",
        "transfer": "marlrobust.attacks.wrappers:Transfer",
    },
    base=_LAZY["Attack"],
)
"""Every attack by name; an installed package adds its own by an entry point of this group."""

VICTIMS: Registry[type[Victims]] = Registry(
    "victims",
    "marlrobust.victims",
    {
        "random": "marlrobust.attacks.victims:RandomVictims",
        "first": "marlrobust.attacks.victims:FirstVictims",
        "nearest": "marlrobust.attacks.victims:NearestVictims",
        "critical": "marlrobust.attacks.victims:CriticalVictims",
        "worst": "marlrobust.attacks.victim_search:WorstVictims",
    },
    base=_LAZY["Victims"],
)
"""Every strategy by name; an installed package adds its own by an entry point of this group."""


def __getattr__(name: str) -> Any:
    """The classes that plug-ins derive from, imported when they are asked for."""
    if name in _LAZY:
        return imported(_LAZY[name])
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
