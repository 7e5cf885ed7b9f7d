"""An evaluation that doubts itself: what in the rows says that an attack was weaker than it could be."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.evaluation.statistics import mean_interval

CHECKS = {
    "zero gradients": "On more than 10 % of the attacked states the cross-entropy's gradient is zero, or below "
    "1e-10 for a saturated softmax: an attack that follows this gradient is blind there, and the policy may look "
    "robust without being so. Try the attacks margin and square.",
    "loss stays": "On more than 25 % of the attacked states the attack ended with no higher a loss than it found: it "
    "did not work as an ascent. Try other steps, restarts, or an attack with another loss.",
    "random logits": "Two forward passes on the same states differ: each gradient is that of another draw, and so is "
    "each action. Average over draws in the attack, or fix the noise.",
    "probabilities": "The policy's outputs are not below zero and sum to one: they are probabilities, where logits are "
    "expected. Cross-entropy then takes a softmax of a softmax, and its gradients fade. Return logits.",
    "noise wins": "Noise or random search, which sees no gradient, costs the team more, or changes more decisions, "
    "than this gradient attack: the gradient is masked, or the attack too weak.",
    "fewer steps win": "The same attack with fewer steps, of which FGSM is PGD's, costs the team more or changes more "
    "decisions: the steps lead astray, as with masked gradients or a bad step size.",
    "larger epsilon helps": "The team earns more under a larger epsilon, of which the smaller one is a part: the "
    "attack does not find what it could.",
    "more victims help": "The team earns more with more of its agents attacked: the attack does not find what it "
    "could, or what it does is no harm.",
}
"""Name to the sentence: when it is raised, why, what to do. Rewards and flips are compared round by round (the rounds
of one number are pairs), and a difference counts beyond its 99 % t interval."""

GRADIENT_FREE = {"random", "square"}
FLIPPING = {"pgd", "fgsm", "mim", "margin", "apgd-ce", "apgd-dlr"}
"""Attacks that want other decisions: their flips can be compared."""
GRADIENT = FLIPPING | {"mad", "critic", "targeted", "learned"}

# beyond which a share of the states is doubtful; of loss_rises, below which
LIMITS = {"probe_zero_gradients": 0.1, "probe_loss_rises": 0.75, "probe_noise": 0.0, "probe_probabilities": 0.9}


@dataclass(frozen=True)
class Line:
    """One line of a table: what it is about, by the names of `tables.LINE`, and its rounds."""

    about: dict[str, Any]
    rounds: pd.DataFrame
    _columns: dict[str, dict[tuple[int, int], float]] = field(default_factory=dict, init=False, repr=False)

    @property
    def attack(self) -> str:
        """The attack's name without parameters."""
        return str(self.about["attack"]).partition(" ")[0]

    def by_round(self, column: str) -> dict[tuple[int, int], float]:
        """(seed, round) to the number in `column`."""
        if column not in self._columns:
            seeds, rounds = self.rounds["seed"].tolist(), self.rounds["round"].tolist()
            values = self.rounds[column].astype(float).tolist()
            self._columns[column] = dict(zip(zip(seeds, rounds, strict=True), values, strict=True))
        return self._columns[column]

    def parameters(self) -> dict[str, Any]:
        if "attack_parameters" not in self.rounds.columns:
            return {}
        known = json.loads(str(self.rounds["attack_parameters"].iloc[0]))
        return {key: value for key, value in known.items() if key != "threat"}


def raised(lines: Sequence[Line]) -> list[list[str]]:
    """For each line the names of the checks that are raised, in the order of `CHECKS`."""
    found = [_probed(line.rounds) for line in lines]
    for check, weaker, stronger in _pairs(lines):
        one, other = lines[stronger], lines[weaker]
        flips = check in ("noise wins", "fewer steps win") and {one.attack, other.attack} <= FLIPPING | GRADIENT_FREE
        if _more(one, other, "reward") or (flips and _more(other, one, "flip_rate")):
            found[stronger].add(check)
    return [[name for name in CHECKS if name in names] for names in found]


def _probed(rounds: pd.DataFrame) -> set[str]:
    """The checks of what was measured with the policy; rows that do not say it raise nothing."""
    share = {name: rounds[name].astype(float).max() if name in rounds.columns else math.nan for name in LIMITS}
    names = {
        "zero gradients": share["probe_zero_gradients"] > LIMITS["probe_zero_gradients"],
        "loss stays": share["probe_loss_rises"] < LIMITS["probe_loss_rises"],
        "random logits": share["probe_noise"] > LIMITS["probe_noise"],
        "probabilities": share["probe_probabilities"] > LIMITS["probe_probabilities"],
    }
    return {name for name, doubtful in names.items() if doubtful}


def _more(one: Line, other: Line, column: str) -> bool:
    """Whether `one` has more of `column` than `other` in the rounds that both have, beyond the 99 % interval."""
    mine, theirs = one.by_round(column), other.by_round(column)
    difference = np.array([value - theirs[key] for key, value in mine.items() if key in theirs])
    difference = difference[~np.isnan(difference)]
    if len(difference) < 2 or difference.mean() <= 0:
        return False
    low, _ = mean_interval(float(difference.mean()), float(difference.std(ddof=1)), len(difference), 0.99)
    return low > 0


def _pairs(lines: Sequence[Line]) -> Iterator[tuple[str, int, int]]:
    """(check, index of the line that should cost less, of the line that should cost more)."""
    names = ["scenario", "policy", "method", "epsilon", "victims", "budget", "attacked_agents"]
    for same in _grouped(lines, names):
        for weak, strong in permutations(same, 2):
            one, other = lines[strong], lines[weak]
            if one.about["attacked_agents"] == 0:
                continue
            if other.attack in GRADIENT_FREE and one.attack in GRADIENT:
                yield "noise wins", weak, strong
            if _fewer_steps(other, one):
                yield "fewer steps win", weak, strong
    names = ["scenario", "policy", "method", "attack", "victims", "budget"]
    for same in _grouped(lines, [*names, "attacked_agents"]):
        order = sorted(same, key=lambda i: float(lines[i].about["epsilon"]))
        attacked = [i for i in order if lines[i].about["attacked_agents"] > 0]
        yield from (("larger epsilon helps", weak, strong) for weak, strong in pairwise(attacked))
    for same in _grouped(lines, [*names, "epsilon"]):
        order = sorted(same, key=lambda i: int(lines[i].about["attacked_agents"]))
        yield from (("more victims help", weak, strong) for weak, strong in pairwise(order))


def _grouped(lines: Sequence[Line], names: list[str]) -> list[list[int]]:
    """The indices of the lines that agree in `names`."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, line in enumerate(lines):
        groups.setdefault(tuple(line.about[name] for name in names), []).append(i)
    return list(groups.values())


def _fewer_steps(few: Line, many: Line) -> bool:
    """Whether `few` is the attack of `many` with fewer steps; FGSM is PGD with one."""
    one, other = few.parameters(), many.parameters()
    if (few.attack, many.attack) == ("fgsm", "pgd"):
        return bool(other.get("steps", math.inf) > 1)
    steps = one.pop("steps", math.inf), other.pop("steps", math.inf)
    return few.attack == many.attack and steps[0] < steps[1] and one == other
