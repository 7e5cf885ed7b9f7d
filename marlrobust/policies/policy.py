"""What a policy is to everybody else: logits for decisions."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions


class Policy(Protocol):
    """What an attack and a rollout need of a policy: any torch module, ours or the user's."""

    def logits(self, decisions: Decisions) -> Tensor:
        """Unnormalised log-probabilities (n, a) of the actions, differentiable in `decisions.states` (n, d)."""
        ...


class Critic(Protocol):
    """A policy that values actions too."""

    def q_values(self, decisions: Decisions) -> Tensor:
        """Q(s, ., mean action) of all actions, (n, a)."""
        ...


def values_of(policy: object, decisions: Decisions) -> Tensor:
    """Q(s, ., m) (n, a) of the policy's critic; raises UserError where it has none."""
    if not has_values(policy):
        raise UserError(
            f"this attack asks a critic, and {type(policy).__name__} has none: "
            "give it q_values(decisions), or choose an attack on the actions alone"
        )
    critic: Critic = policy  # type: ignore[assignment]
    return critic.q_values(decisions)


def has_values(policy: object) -> bool:
    """Whether the policy has a critic that can be asked."""
    return callable(getattr(policy, "q_values", None))


def checked(logits: Tensor, n: int, n_actions: int, who: str) -> Tensor:
    """`logits` as they are; UserError where they are not (n, n_actions) finite numbers: no round is played so."""
    if tuple(logits.shape) != (n, n_actions):
        raise UserError(
            f"{who} returns logits of shape {tuple(logits.shape)} for {n} agents with {n_actions} actions: "
            f"it must be ({n}, {n_actions})"
        )
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{who} returns logits that are not finite numbers: its decisions mean nothing")
    return logits


def sample_actions(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Actions (n,) int64 from logits (n, a) by the inverse distribution at uniforms (n,) in [0, 1).

    One number per agent decides its action: equal logits and numbers give equal actions, whoever else is there.
    """
    cumulative = torch.softmax(logits, 1).cumsum_(1)
    thresholds = (uniforms * cumulative[:, -1])[:, None]
    actions: Tensor = torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
    return actions.clamp_(max=logits.shape[1] - 1)
