"""Attacks on what agents see. Importing this package registers those that it brings."""

if __name__ == "attacks":
    raise ImportError("import marlrobust.attacks instead of attacks: a second copy of it would have a second registry")

from marlrobust.attacks import auto, gradient, learned, momentum, random, square, values, wrappers
from marlrobust.attacks.attack import ATTACKS, Attack, Threat
from marlrobust.attacks.victims import VICTIMS, Victims, draw_victims

__all__ = [
    "ATTACKS",
    "VICTIMS",
    "Attack",
    "Threat",
    "Victims",
    "auto",
    "draw_victims",
    "gradient",
    "learned",
    "momentum",
    "random",
    "square",
    "values",
    "wrappers",
]
