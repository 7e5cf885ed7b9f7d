"""The action loss: how far an attack moves the actor from the action it takes on the clean state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy


class ActionLoss(NamedTuple):
    """loss: (n,), CE(pi(. | s_adv, m), z), differentiable in the policy; flipped: share of argmax actions moved."""

    loss: Tensor
    flipped: float


def action_loss(
    policy: Policy, clean_logits: Tensor, decisions: Decisions, attack: Attack, rng: torch.Generator
) -> ActionLoss:
    """Eqs. 10-12 of Zhou and Liu 2022: z = argmax pi(. | s, m), s_adv from `attack` inside its threat.

    clean_logits: (n, a) of the n clean decisions.
    """
    z = clean_logits.detach().argmax(1)
    adversarial = attack.perturb(policy, decisions, rng)
    logits = policy.logits(decisions.showing(adversarial))
    return ActionLoss(F.cross_entropy(logits, z, reduction="none"), (logits.argmax(1) != z).float().mean().item())
