"""The five methods of the paper, and the opponent's: data, not code."""

from __future__ import annotations

from dataclasses import dataclass

from marlrobust.defenses.schedules import Schedule
from marlrobust.registry import Registry


@dataclass(frozen=True)
class Method:
    """What sets a method apart.

    summary: one line for `marlrobust list methods`; mu, epsilon: schedules of its action loss; mean_field: whether it
    sees the mean action; loops: whether it is trained on after M_norm. The opponent is not: it is the same for all,
    and worse than where they begin.
    """

    summary: str
    mu: Schedule
    epsilon: Schedule
    mean_field: bool = True
    loops: bool = True


ZERO, CONSTANT, ONCE, LOOPS = (Schedule(k) for k in ("zero", "constant", "once", "loops"))

MFAC = Method("mean-field actor-critic, no defence (Yang et al. 2018)", ZERO, ZERO)
SA_MFAC = Method("action loss with constant mu, epsilon rising once (Zhang et al. 2020)", CONSTANT, ONCE)
SA_MFAC3 = Method("action loss with constant mu, epsilon rising in each loop", CONSTANT, LOOPS)
ROMFAC1 = Method("action loss with mu rising once (Zhou and Liu 2022, ablation)", ONCE, CONSTANT)
ROMFAC = Method("action loss with mu rising in each loop (Zhou and Liu 2022)", LOOPS, CONSTANT)
A2C = Method(
    "independent advantage actor-critic: the opponent in every test", ZERO, ZERO, mean_field=False, loops=False
)

METHODS: Registry[Method] = Registry(
    "method",
    "marlrobust.methods",
    {
        "mfac": f"{__name__}:MFAC",
        "sa-mfac": f"{__name__}:SA_MFAC",
        "sa-mfac3": f"{__name__}:SA_MFAC3",
        "romfac1": f"{__name__}:ROMFAC1",
        "romfac": f"{__name__}:ROMFAC",
        "a2c": f"{__name__}:A2C",
    },
    base=f"{__name__}:Method",
)
"""Every method by name; an installed package adds its own, a `Method`, by an entry point of this group."""
