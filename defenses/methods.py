"""The methods: those of the paper, defences of others, and the opponent's. Data, not code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marlrobust.defenses.schedules import Schedule
from marlrobust.registry import Registry, imported

if TYPE_CHECKING:
    from marlrobust.defenses.losses import Loss
    from marlrobust.policies.recurrent import Trainable


LOSSES = "marlrobust.defenses.losses"
SELF_PLAY = "marlrobust.training.self_play:SelfPlay"


@dataclass(frozen=True)
class Method:
    """What sets a method apart.

    summary: one line for `marlrobust list methods`; mu, epsilon: schedules of its loss's weight and radius; loss_name:
    "module:attribute" of the loss (see `defenses.losses`); mean_field: whether it sees the mean action; loops: whether
    it is trained on after M_norm (the opponent is not: it is the same for all, and worse than where they begin);
    cast_name: "module:attribute" of the `training.cast.Cast` that plays its rounds, made from the training's settings.
    """

    summary: str
    mu: Schedule
    epsilon: Schedule
    loss_name: str = f"{LOSSES}:cross_entropy"
    mean_field: bool = True
    loops: bool = True
    cast_name: str = SELF_PLAY

    def loss(self, policy: Trainable, *, gamma: float, tau: float) -> Loss:
        """Its loss, for the policy that learns. gamma: discount; tau: how far targets move per update."""
        found: Any = imported(self.loss_name)  # only now: names are known without torch
        loss: Loss = found(policy, gamma, tau) if isinstance(found, type) else found
        return loss


ZERO, CONSTANT, ONCE, LOOPS = (Schedule(k) for k in ("zero", "constant", "once", "loops"))

MFAC = Method("mean-field actor-critic, no defence (Yang et al. 2018)", ZERO, ZERO)
SA_MFAC = Method("action loss with constant mu, epsilon rising once (Zhang et al. 2020)", CONSTANT, ONCE)
SA_MFAC3 = Method("action loss with constant mu, epsilon rising in each loop", CONSTANT, LOOPS)
ROMFAC1 = Method("action loss with mu rising once (Zhou and Liu 2022, ablation)", ONCE, CONSTANT)
ROMFAC = Method("action loss with mu rising in each loop (Zhou and Liu 2022)", LOOPS, CONSTANT)
SA_KL = Method(
    "divergence from the clean policy with constant weight (Zhang et al. 2020)", CONSTANT, ONCE, f"{LOSSES}:divergence"
)
CERTIFIED = Method(
    "the worst case by intervals, epsilon and weight rising once (Gowal et al. 2018, Oikarinen et al. 2021)",
    ONCE,
    ONCE,
    f"{LOSSES}:worst_case",
)
WOCAR = Method(
    "the worst value under attack, learned beside the critic (Liang et al. 2022)",
    ONCE,
    ONCE,
    "marlrobust.defenses.worst_value:WorstValue",
)
ATLA = Method(
    "in turns with an adversary that learns to attack it (Zhang et al. 2021)",
    ZERO,
    ONCE,
    cast_name="marlrobust.training.atla:InTurns",
)
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
        "sa-kl": f"{__name__}:SA_KL",
        "certified": f"{__name__}:CERTIFIED",
        "wocar": f"{__name__}:WOCAR",
        "atla": f"{__name__}:ATLA",
        "a2c": f"{__name__}:A2C",
    },
    base=f"{__name__}:Method",
)
"""Every method by name; an installed package adds its own, a `Method`, by an entry point of this group."""
