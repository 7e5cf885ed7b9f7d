"""An evaluation that doubts itself: signs in the rows that an attack was too weak, so that a policy looks too good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

import numpy as np

from marlrobust.reports.cells import THREAT, WHO, Cell, clean_of, grouped
from marlrobust.reports.statistics import mean_interval


@dataclass(frozen=True)
class Check:
    """meaning: when it is raised, why, and what to do; run: what to play so that it can be made."""

    meaning: str
    run: str


GRADIENTS = "attack at least one agent with an attack that follows gradients, such as --attack pgd"
ANY_ATTACK = "attack at least one agent, for instance with --agents 0,8"

CHECKS = {
    "zero gradients": Check(
        "On more than 10 % of the attacked states the gradient of the cross-entropy is zero, or below 1e-10. An attack "
        "that follows this gradient sees nothing there. The policy may then look robust without being so. Try the "
        "attacks margin and square.",
        GRADIENTS,
    ),
    "loss stays": Check(
        "On more than 25 % of the attacked states the loss was no higher after the attack than before it. The attack "
        "did not do what it should. Try other steps, restarts, or an attack with another loss.",
        GRADIENTS,
    ),
    "random logits": Check(
        "Two passes of the same states through the policy gave different outputs. A gradient then belongs to one draw, "
        "and the action to another. Let the attack average over draws, or fix the noise.",
        ANY_ATTACK,
    ),
    "probabilities": Check(
        "The outputs of the policy are not below zero and sum to one. They are probabilities, where logits are "
        "expected. A softmax is then taken twice, and gradients fade. Return logits.",
        ANY_ATTACK,
    ),
    "noise wins": Check(
        "Noise or random search costs the team more, or changes more decisions, than this attack, which follows "
        "gradients. Either the policy hides its gradients, or the attack is too weak.",
        "play a gradient attack and also --attack random",
    ),
    "fewer steps win": Check(
        "The same attack with fewer steps costs the team more, or changes more decisions. The further steps lead "
        "away from the goal: gradients may be hidden, or the step size may be bad. (FGSM is PGD with one step.)",
        "play the same attack also with fewer steps, such as --attack pgd --attack fgsm",
    ),
    "larger epsilon helps": Check(
        "The team earns more under a larger epsilon. A larger epsilon allows all that a smaller one does, so the "
        "attack does not find what it could.",
        "play several radii, such as --eps 0.0375,0.075",
    ),
    "more victims help": Check(
        "The team earns more reward with more of its agents attacked. Either the attack does not find what it could, "
        "or what it does is no harm.",
        "play several counts, such as --agents 0,8,16",
    ),
}
"""Rewards and flips are compared round by round (the rounds of one number are pairs), and a difference counts beyond
its 99 % t interval."""

GRADIENT_FREE = {"random", "square"}
FLIPPING = {"pgd", "fgsm", "mim", "margin", "apgd-ce", "apgd-dlr"}
"""Attacks that want other decisions: their flips can be compared."""
GRADIENT = FLIPPING | {"mad", "critic", "targeted", "learned"}


def answers(cells: Sequence[Cell]) -> dict[str, dict[str, bool]]:
    """Digest of each cell to the checks that could be made of it, in the order of `CHECKS`: whether each is raised."""
    found: dict[str, dict[str, bool]] = {str(cell.facts["cell"]): _probed(cell.facts) for cell in cells}
    for check, weaker, stronger in _pairs(cells):
        compared = [_more(stronger.by_round("reward"), weaker.by_round("reward"))]
        names = {stronger.facts["attack"], weaker.facts["attack"]}
        if check in ("noise wins", "fewer steps win") and names <= FLIPPING | GRADIENT_FREE:
            compared.append(_more(weaker.flip_rates(), stronger.flip_rates()))
        made = [more for more in compared if more is not None]
        if made:
            own = found[str(stronger.facts["cell"])]
            own[check] = own.get(check, False) or any(made)
    return {digest: {name: own[name] for name in CHECKS if name in own} for digest, own in found.items()}


def overall(lines: Iterable[Mapping[Any, Any]]) -> dict[str, str]:
    """Each check to `raised`, `passed` or `not run`, from the lines of a table."""
    lines = list(lines)
    state = {}
    for name in CHECKS:
        raised, passed = (any(name in line[column].split("; ") for line in lines) for column in ("checks", "passed"))
        state[name] = "raised" if raised else "passed" if passed else "not run"
    return state


def _probed(facts: Mapping[str, Any]) -> dict[str, bool]:
    """The checks of what was measured with the policy; what was not measured is not checked."""
    doubtful = {
        "zero gradients": facts["probe_zero_gradients"] > 0.1,
        "loss stays": facts["probe_loss_rises"] < 0.75,
        "random logits": facts["probe_noise"] > 0.0,
        "probabilities": facts["probe_probabilities"] > 0.9,
    }
    measured = {
        **{"zero gradients": "probe_zero_gradients", "loss stays": "probe_loss_rises"},
        **{"random logits": "probe_noise", "probabilities": "probe_probabilities"},
    }
    return {name: bool(is_raised) for name, is_raised in doubtful.items() if not np.isnan(facts[measured[name]])}


def _more(one: dict[tuple[int, int], float], other: dict[tuple[int, int], float]) -> bool | None:
    """Whether `one` is larger than `other` in the rounds that both have, beyond the 99 % interval; None: too few."""
    difference = np.array([value - other[key] for key, value in one.items() if key in other])
    if len(difference) < 2:
        return None
    low, _ = mean_interval(float(difference.mean()), float(difference.std(ddof=1)), len(difference), 0.99)
    return low > 0


def _pairs(cells: Sequence[Cell]) -> Iterator[tuple[str, Cell, Cell]]:
    """(check, the cell that should cost less, the cell that should cost more)."""
    attacked = [cell for cell in cells if not cell.clean]
    for same in grouped(attacked, [*THREAT, *WHO, "attacked_agents"], attack=False):
        for weak, strong in permutations(same, 2):
            if weak.facts["attack"] in GRADIENT_FREE and strong.facts["attack"] in GRADIENT:
                yield "noise wins", weak, strong
            if _fewer_steps(weak, strong):
                yield "fewer steps win", weak, strong
    for same in grouped(attacked, ["norm", "features", *WHO, "attacked_agents"], attack=True):
        for weak, strong in pairwise(sorted(same, key=lambda cell: float(cell.facts["epsilon"]))):
            if weak.facts["epsilon"] < strong.facts["epsilon"]:
                yield "larger epsilon helps", weak, strong
    clean = clean_of(cells)
    for same in grouped(attacked, [*THREAT, *WHO], attack=True):
        at: dict[int, list[Cell]] = defaultdict(list)
        for cell in same:
            at[cell.count].append(cell)
        order = [at[count] for count in sorted(at)]
        for strong in order[0]:
            if str(strong.facts["cell"]) in clean:
                yield "more victims help", clean[str(strong.facts["cell"])], strong
        for weaker, stronger in pairwise(order):
            yield from (("more victims help", weak, strong) for weak in weaker for strong in stronger)


def _fewer_steps(few: Cell, many: Cell) -> bool:
    """Whether `few` is the attack of `many` with fewer steps; FGSM is PGD with one."""
    one, other = dict(few.parameters), dict(many.parameters)
    if (few.facts["attack"], many.facts["attack"]) == ("fgsm", "pgd"):
        return bool(other.get("steps", np.inf) > 1)
    steps = one.pop("steps", np.inf), other.pop("steps", np.inf)
    return few.facts["attack"] == many.facts["attack"] and bool(steps[0] < steps[1]) and one == other
