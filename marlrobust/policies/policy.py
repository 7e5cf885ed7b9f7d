"""What a policy is to everybody else: logits for decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions


class Policy(Protocol):
    """What an attack and a rollout need of a policy: any torch module, ours or the user's.

    A policy of continuous actions has an attribute `actions` (`policies.actions.Vectors`), which says how its answers
    become vectors in a box; without one, answers are logits.
    """

    def logits(self, decisions: Decisions) -> Tensor:
        """Unnormalised log-probabilities (n, a) of the actions, differentiable in `decisions.states` (n, d).

        Of continuous actions: their means (n, k), or means and logarithms of standard deviations side by side (n, 2k).
        """
        ...


class Critic(Protocol):
    """A policy that values actions too."""

    def q_values(self, decisions: Decisions) -> Tensor:
        """Q(s, ., mean action) of all actions, (n, a)."""
        ...


class ActionCritic(Protocol):
    """A policy of continuous actions that values them."""

    def q_values(self, decisions: Decisions, actions: Tensor) -> Tensor:
        """Q(s, a) (n,) of the actions a (n, k), differentiable in them."""
        ...


def values_of(policy: object, decisions: Decisions) -> Tensor:
    """Q(s, ., m) (n, a) of the policy's critic; raises UserError where it has none.

    An action that is not legal has the value of the best that is: nobody aims at it, and nobody counts on it.
    """
    refuse_no_critic(policy)
    critic: Critic = policy  # type: ignore[assignment]
    values = critic.q_values(decisions)
    if decisions.mask is None:
        return values
    best = values.masked_fill(~decisions.mask, -torch.inf).amax(1, keepdim=True)
    return torch.where(decisions.mask, values, best)


def value_of(policy: object, decisions: Decisions, actions: Tensor) -> Tensor:
    """Q(s, a) (n,) of continuous actions (n, k) by the policy's critic; raises UserError where it has none."""
    refuse_no_critic(policy)
    critic: ActionCritic = policy  # type: ignore[assignment]
    return critic.q_values(decisions, actions).reshape(len(actions))


def refuse_no_critic(policy: object) -> None:
    """Raises UserError for a policy without a critic."""
    if not has_values(policy):
        raise UserError(
            f"this attack asks a critic, and {type(policy).__name__} has none: "
            "give it q_values(decisions), or choose an attack on the actions alone"
        )


def has_values(policy: object) -> bool:
    """Whether the policy has a critic that can be asked."""
    return callable(getattr(policy, "q_values", None))


def checked(answers: Tensor, n: int, widths: Sequence[int], who: str) -> Tensor:
    """`answers` as they are; UserError where they are not finite numbers (n, one of `widths`): so nobody can play."""
    if tuple(answers.shape) not in [(n, width) for width in widths]:
        raise UserError(
            f"{who} returns logits of shape {tuple(answers.shape)} for {n} agents with {widths[0]} actions: "
            f"it must be ({n}, {widths[0]})"
        )
    if not bool(torch.isfinite(answers).all()):
        raise UserError(f"{who} returns logits that are not finite numbers: its decisions mean nothing")
    return answers


def sample_actions(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Actions (n,) int64 from logits (n, a) by the inverse distribution at uniforms (n,) in [0, 1).

    One number per agent decides its action: equal logits and numbers give equal actions, whoever else is there.
    """
    cumulative = torch.softmax(logits, 1).cumsum_(1)
    thresholds = (uniforms * cumulative[:, -1])[:, None]
    actions: Tensor = torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
    return actions.clamp_(max=logits.shape[1] - 1)
