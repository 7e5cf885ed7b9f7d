"""What a defence adds to the loss of an actor: how far an adversary within epsilon can move it from its clean action.

Each is a `Loss`: a `Method` names one, and any learner, or a loop of your own, can use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.gradient import PGD, GradientAttack
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.values import MAD
from marlrobust.defenses.intervals import worst_logits
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy


class After(NamedTuple):
    """What came after n decisions: actions (n,), rewards (n,), terminal (n,) 1 where no value follows; decisions: the
    next ones, with the mean actions (n, a) of this step; learning_rate: of what learns from it."""

    actions: Tensor
    rewards: Tensor
    terminal: Tensor
    decisions: Decisions
    learning_rate: float


class Defended(NamedTuple):
    """What a loss is computed from.

    policy: what learns; decisions: n of them; logits: (n, a), its answer to them, differentiable; epsilon: l_inf
    radius, in state units; steps: of an attack; rng: of its draws; after: what came after them, for a loss that learns
    from it.
    """

    policy: Any
    decisions: Decisions
    logits: Tensor
    epsilon: float
    steps: int
    rng: torch.Generator
    after: After | None = None


class ActionLoss(NamedTuple):
    """loss: (n,), differentiable in the policy; flipped: share of argmax actions that moved, or that may move."""

    loss: Tensor
    flipped: float


Loss = Callable[[Defended], ActionLoss]
"""One that learns too is a module, with an `optimizer`; see `Method.loss`."""


def cross_entropy(it: Defended) -> ActionLoss:
    """CE(pi(. | s_adv, m), z) with z = argmax pi(. | s, m) and s_adv of PGD (eqs. 10-12 of Zhou and Liu 2022)."""
    z = it.logits.detach().argmax(1)
    logits = _attacked(it, PGD)
    return ActionLoss(F.cross_entropy(logits, z, reduction="none"), _moved(logits, z))


def divergence(it: Defended) -> ActionLoss:
    """KL(pi(. | s, m) || pi(. | s_adv, m)), s_adv of PGD on it (Zhang et al. 2020); pi(. | s, m) is what is kept."""
    clean, logits = F.log_softmax(it.logits.detach(), 1), _attacked(it, MAD)
    loss = F.kl_div(F.log_softmax(logits, 1), clean, reduction="none", log_target=True).sum(1)
    return ActionLoss(loss, _moved(logits, clean.argmax(1)))


def worst_case(it: Defended) -> ActionLoss:
    """Cross-entropy of the worst logits over the box to z = argmax pi(. | s, m), by intervals (Gowal et al. 2018,
    Oikarinen et al. 2021): where it is small, no adversary can move the action."""
    if not isinstance(it.policy, MeanFieldPolicy):
        raise UserError(f"intervals are for a mean-field policy, and {type(it.policy).__name__} is none")
    z = it.logits.detach().argmax(1)
    with exactly(it):
        worst = worst_logits(it.policy.actor, it.decisions.states, it.decisions.mean_actions, it.epsilon, z)
    return ActionLoss(F.cross_entropy(worst, z, reduction="none"), _moved(worst, z))


def exactly(it: Defended) -> torch.autocast:
    """Computes in float32, whatever the learner does."""
    return torch.autocast(it.logits.device.type, enabled=False)


def _attacked(it: Defended, kind: type[GradientAttack]) -> Tensor:
    """Logits (n, a) of the states that the attack shows."""
    attack = kind(threat=Threat(norm="l_inf", epsilon=it.epsilon), steps=it.steps)
    with exactly(it):
        shown = attack.perturb(it.policy, it.decisions, it.rng)
    logits: Tensor = it.policy.logits(it.decisions.showing(shown))
    return logits


def _moved(logits: Tensor, z: Tensor) -> float:
    return (logits.argmax(1) != z).float().mean().item()
