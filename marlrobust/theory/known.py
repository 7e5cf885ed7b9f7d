"""Games that other papers solved, with their numbers, and what policies with memory do in them."""

from __future__ import annotations

import numpy as np

from marlrobust.theory.examples import EXAMPLES
from marlrobust.theory.memory import by_the_clock, with_clock
from marlrobust.theory.perturbation import optimal
from marlrobust.theory.section import Section, numbers
from marlrobust.theory.theorems import best_stationary
from marlrobust.theory.values import adversaries, clean_values

ZHANG = {
    "optimal (A2, A1, A1)": ((100, 100, 100), (0, 0, 0)),
    "always A1": ((0, 100, 100), (0, 100, 100)),
    "A1 with 0.5": ((50, 50, 50), (50, 50, 50)),
    "A1 with 0.9": ((60.88, 66.02, 65.76), (60.88, 66.02, 65.76)),
}
"""Zhang et al. 2020: values of S1, S2, S3 without and with the optimal adversary."""

HE = {"equilibrium": ((100, 100), (0, 0)), "both mix": ((50, 50), (50, 50))}
"""He et al. 2023: the same, of the states where equal and where different actions are rewarded."""


def known() -> Section:
    """The published values, computed again."""
    section = Section(
        "known", "Games solved elsewhere", "Values from each state, clean and under the optimal adversary."
    )
    for name, source, table in (("three_states", "Zhang", ZHANG), ("same_or_different", "He", HE)):
        game, policies = EXAMPLES[name].game, EXAMPLES[name].policies
        section.values[name] = {}
        for policy, said in table.items():
            clean = clean_values(game, policies[policy])[0]
            attacked = optimal(adversaries(game, policies[policy])).values[0]
            section.values[name][policy] = {"clean": clean.tolist(), "attacked": attacked.tolist()}
            for how, values, published in (("clean", clean, said[0]), ("attacked", attacked, said[1])):
                agrees = bool(np.abs(values - published).max() < 0.005)
                section.check(f"{source}: {policy}, {how}", numbers(values.tolist()), numbers(published), agrees)
    return section


def memory() -> Section:
    """Policies that know how long they have played, against adversaries that may show anything else."""
    about = (
        "A clock that the adversaries cannot touch, whatever they show. The papers speak of stationary policies alone."
    )
    section = Section("memory", "Policies with memory", about)
    game = EXAMPLES["three_states"].game
    stationary = best_stationary(game)
    clocked = with_clock(game, (1, 2, 2))
    remembered = optimal(adversaries(clocked, by_the_clock([[1, 1, 0]], 3, 2))).values[0].reshape(3, 3)[:, 0]
    section.values["three_states"] = {"best_stationary": stationary.tolist(), "A2, A2, then A1": remembered.tolist()}
    section.add("three_states: stationary with the best worst state, attacked", numbers(stationary.tolist()))
    section.add("three_states: A2, A2, then A1 for ever, attacked", numbers(remembered.tolist()))
    game = EXAMPLES["same_or_different"].game
    clocked = with_clock(game, (1, 0))
    turns = optimal(adversaries(clocked, by_the_clock([[0, 0], [0, 1]], 2, 2))).values[0].reshape(2, 2)[:, 0]
    section.values["same_or_different"] = {"both mix": [50.0, 50.0], "equal, different, in turn": turns.tolist()}
    section.add("same_or_different: equal and different in turn, attacked", numbers(turns.tolist()))
    return section
