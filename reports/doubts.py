"""An evaluation that doubts itself: signs in the rows that an attack was too weak, so that a policy looks too good, or
that a team is less than its mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
from scipy import stats

from marlrobust.reports.cells import THREAT, WHO, Cell, Floats, clean_of, grouped
from marlrobust.reports.statistics import mean_interval, wilson_interval


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
    "sides differ": Check(
        "The team earns more on one side of the game than on the other: by more than a tenth of the usual reward, and "
        "by more than chance explains. It may have learned one side alone. See the column swapped of the rows.",
        "play a game of two equal teams, which changes sides by itself",
    ),
    "clock decides": Check(
        "More than a quarter of the rounds end by the limit of steps, though the game can be won before. The team, or "
        "its opponent, may stand about instead of finishing. See the column cut of the rows.",
        "play a game that somebody wins",
    ),
}
"""Rewards and flips are compared round by round (the rounds of one number are pairs), by the 99 % t interval of their
difference. All of it the wrong way raises a check; one that reaches further than `ROOM` that way leaves it open."""

RAISED, UNCLEAR, PASSED = "raised", "too few rounds", "passed"
STATES = {"checks": RAISED, "unclear": UNCLEAR, "passed": PASSED}
"""Column of a table to the state of the checks that it names; a check that was not made is in none."""

ROOM = 0.1
"""A difference that passes: a share of the usual reward of a round, or of all decisions."""

CUT = 0.25
"""The share of rounds that may end by the limit of steps."""

GRADIENT_FREE = {"random", "square"}
FLIPPING = {"pgd", "fgsm", "mim", "margin", "apgd-ce", "apgd-dlr"}
"""Attacks that want other decisions: their flips can be compared."""
OTHER_LOSS = {"margin", "apgd-dlr", "mad", "critic", "targeted", "learned"}
"""Attacks that follow another gradient than the cross-entropy's: where that one is zero says little of them."""
GRADIENT = FLIPPING | OTHER_LOSS


def answers(cells: Sequence[Cell]) -> dict[Cell, dict[str, str]]:
    """Each cell to the checks that could be made of it, in the order of `CHECKS`, with their state."""
    found = {cell: _probed(cell) | _played(cell) for cell in cells}
    for check, weaker, stronger in _pairs(cells):
        usual = float(np.sqrt((weaker.rounds["reward"] ** 2).mean()))
        compared = [_wrong_way(stronger.rounds["reward"], weaker.rounds["reward"], ROOM * usual)]
        names = {stronger["attack"], weaker["attack"]}
        if check in ("noise wins", "fewer steps win") and names <= FLIPPING | GRADIENT_FREE:
            compared.append(_wrong_way(_flip_rates(weaker), _flip_rates(stronger), ROOM))
        if made := [state for state in compared if state is not None]:
            found[stronger][check] = _worst([*made, *filter(None, [found[stronger].get(check)])])
    return {cell: {name: own[name] for name in CHECKS if name in own} for cell, own in found.items()}


def _worst(states: Sequence[str]) -> str:
    return next(state for state in STATES.values() if state in states)


def _probed(cell: Cell) -> dict[str, str]:
    """The checks of what was measured with the policy on some states; what was not measured is not checked."""
    states = int(cell["probe_states"])
    zero, rises, noise, probabilities = cell.key(
        ["probe_zero_gradients", "probe_loss_rises", "probe_noise", "probe_probabilities"]
    )
    shares = {"loss stays": (1 - rises, 0.25), "random logits": (noise, 0.0), "probabilities": (probabilities, 0.9)}
    if cell["attack"] not in OTHER_LOSS:
        shares["zero gradients"] = (zero, 0.1)
    return {name: _above(share, limit, states) for name, (share, limit) in shares.items() if not np.isnan(share)}


def _played(cell: Cell) -> dict[str, str]:
    """The checks of how the cell's rounds were played, whoever attacks."""
    found = {}
    reward, swapped, cut = (cell.arrays[name] for name in ("reward", "swapped", "cut"))
    first, second = (reward[swapped == side] for side in (0, 1))
    if min(len(first), len(second)) > 1:
        found["sides differ"] = _apart(first, second, room=ROOM * float(np.sqrt((reward**2).mean())))
    if len(cell.values("win")):
        low, high = wilson_interval(int(cut.sum()), len(cut))
        found["clock decides"] = RAISED if low > CUT else PASSED if high <= CUT else UNCLEAR
    return found


def _apart(one: Floats, other: Floats, *, room: float) -> str:
    """Whether two means differ by more than `room`, and by more than chance explains: Welch's 99 % t interval."""
    difference = one.mean() - other.mean()
    if one.std() == other.std() == 0:
        low = high = difference
    else:
        low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.99)
    if abs(difference) > room and low * high > 0:
        return RAISED
    return PASSED if max(abs(low), abs(high)) <= room else UNCLEAR


def _above(share: float, limit: float, states: int) -> str:
    """Whether a share of states is above its limit; unclear where it is not, and may well be for others."""
    if share > limit:
        return RAISED
    may_be = limit > 0 and states and wilson_interval(round(share * states), states)[1] > limit
    return UNCLEAR if may_be else PASSED


def _flip_rates(cell: Cell) -> pd.Series[float]:
    return cell.rounds["flips"] / cell.rounds["decisions"]  # NaN in a round without attacked decisions


def _wrong_way(one: pd.Series[float], other: pd.Series[float], room: float) -> str | None:
    """Whether `one` is larger than `other`, which it should not be, in the rounds that both have; None: too few."""
    difference = (one - other).dropna()
    if len(difference) < 2:
        return None
    low, high = mean_interval(difference.mean(), difference.std(), len(difference), 0.99)
    return RAISED if low > 0 else PASSED if high <= room else UNCLEAR


def _pairs(cells: Sequence[Cell]) -> Iterator[tuple[str, Cell, Cell]]:
    """(check, the cell that should cost less, the cell that should cost more)."""
    attacked, clean = [cell for cell in cells if not cell.clean], clean_of(cells)
    for same in grouped(attacked, lambda cell: (cell.side, cell.key([*THREAT, *WHO, "attacked_agents"]))).values():
        for weak, strong in permutations(same, 2):
            if weak["attack"] in GRADIENT_FREE and strong["attack"] in GRADIENT:
                yield "noise wins", weak, strong
            if _fewer_steps(weak, strong):
                yield "fewer steps win", weak, strong
    alike = ["norm", "features", *WHO, "attacked_agents"]
    for same in grouped(attacked, lambda cell: (cell.side, cell.attack, cell.key(alike))).values():
        for weak, strong in pairwise(sorted(same, key=lambda cell: float(cell["epsilon"]))):
            if weak["epsilon"] < strong["epsilon"]:
                yield "larger epsilon helps", weak, strong
    for same in grouped(attacked, lambda cell: (cell.side, cell.attack, cell.key([*THREAT, *WHO]))).values():
        unattacked = [clean[same[0]]] if same[0] in clean else []
        at = grouped([*unattacked, *same], lambda cell: cell["attacked_agents"])
        for fewer, more in pairwise(sorted(at)):
            yield from (("more victims help", weak, strong) for weak in at[fewer] for strong in at[more])


def _fewer_steps(few: Cell, many: Cell) -> bool:
    """Whether `few` is the attack of `many` with fewer steps; FGSM is PGD with one."""
    one, other = dict(few.parameters), dict(many.parameters)
    steps = one.pop("steps", np.inf), other.pop("steps", np.inf)
    if (few["attack"], many["attack"]) == ("fgsm", "pgd"):
        return bool(steps[1] > 1)
    return few["attack"] == many["attack"] and bool(steps[0] < steps[1]) and one == other
