"""The five methods of the paper, and the opponent's: data, not code."""

from __future__ import annotations

from dataclasses import dataclass

from marlrobust.defenses.schedules import Schedule
from marlrobust.registry import Registry


@dataclass(frozen=True)
class Method:
    """What sets a method apart.

    mu, epsilon: schedules of its action loss; mean_field: whether it sees the mean action; loops: whether it is
    trained on after M_norm. The opponent is not: it is the same for all, and worse than where they begin.
    """

    mu: Schedule
    epsilon: Schedule
    description: str
    mean_field: bool = True
    loops: bool = True


ZERO, CONSTANT, ONCE, LOOPS = (Schedule(k) for k in ("zero", "constant", "once", "loops"))

METHODS: Registry[Method] = Registry("method", "marlrobust.methods")
for _name, _method in {
    "mfac": Method(ZERO, ZERO, "mean-field actor-critic, no defence (Yang et al. 2018)"),
    "sa-mfac": Method(CONSTANT, ONCE, "action loss with constant mu, epsilon rising once (Zhang et al. 2020)"),
    "sa-mfac3": Method(CONSTANT, LOOPS, "action loss with constant mu, epsilon rising in each loop"),
    "romfac1": Method(ONCE, CONSTANT, "action loss with mu rising once (Zhou and Liu 2022, ablation)"),
    "romfac": Method(LOOPS, CONSTANT, "action loss with mu rising in each loop (Zhou and Liu 2022)"),
    "a2c": Method(
        ZERO, ZERO, "independent advantage actor-critic: the opponent in every test", mean_field=False, loops=False
    ),
    "adversary": Method(
        ZERO, ZERO, "no team: names the actions that a team is driven to, for the attack 'learned'", loops=False
    ),
}.items():
    METHODS.register(_name)(_method)
