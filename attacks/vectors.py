"""What an ascent climbs where a policy's actions are vectors of numbers: the action moves, or loses value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from marlrobust.attacks import ATTACKS
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors, actions_of
from marlrobust.policies.policy import Policy, refuse_no_critic, value_of

Climbed = Callable[[Tensor, Tensor], Tensor]
"""From answers (n, m) and what they are compared with, (n, ...), to a loss (n,)."""


def vectors_of(policy: object) -> Vectors | None:
    """How the policy's answers become vectors; None where its actions are discrete."""
    kind = actions_of(policy)
    return kind if isinstance(kind, Vectors) else None


def refuse_misfit(attack: Any, continuous: bool) -> None:
    """Raises UserError for an attack on logits, made on a policy of continuous actions."""
    if not continuous or attack.continuous:
        return
    known = {name: ATTACKS[name] for name in ATTACKS}
    own = next((name for name, kind in known.items() if kind is type(attack)), type(attack).__name__)
    raise UserError(
        f"the attack '{own}' needs a policy that chooses between actions, and this one's actions are vectors of "
        f"numbers: take one of {', '.join(name for name, kind in known.items() if kind.continuous)}"
    )


def distance(kind: Vectors) -> Climbed:
    """The squared distance of the mean action, as it is played, from a given one (n, k), in halves of the box's width,
    less `beyond`."""

    def loss(answers: Tensor, reference: Tensor) -> Tensor:
        played, half = kind.best(answers), kind.half.to(answers.device)
        return (((played - reference) / half) ** 2).sum(1) - beyond(kind, answers)

    return loss


def beyond(kind: Vectors, answers: Tensor) -> Tensor:
    """How far (n,) mean actions are outside the box, squared, in halves of its width. What is outside is cut off when
    it is played, and the cut has no gradient: this one leads back to where there is one."""
    means, half = kind.means(answers), kind.half.to(answers.device)
    return (((means - kind.inside(means)) / half) ** 2).sum(1)


def density(kind: Vectors) -> Climbed:
    """Minus the logarithm of the policy's density, but for a constant, at given numbers (n, k) before tanh.

    Raises UserError for a policy that does not say how wide it spreads.
    """

    def loss(answers: Tensor, reference: Tensor) -> Tensor:
        if answers.shape[1] == kind.size:
            raise UserError("the policy's actions have no density, as they are not random: leave out drift=density")
        mean, log_std = answers[:, : kind.size], answers[:, kind.size :]
        return (((reference - mean) / log_std.exp()) ** 2 / 2 + log_std).sum(1)

    return loss


def lost_value(kind: Vectors, policy: Policy, decisions: Decisions) -> Climbed:
    """Minus the value, by the policy's critic, of the mean action in the true states of `decisions`, less `beyond`."""
    refuse_no_critic(policy)

    def loss(answers: Tensor, reference: Tensor) -> Tensor:
        return -value_of(policy, decisions, kind.best(answers)) - beyond(kind, answers)

    return loss


DRIFTS: dict[str, tuple[Callable[[Vectors], Climbed], Callable[[Vectors, Tensor], Tensor]]] = {
    "distance": (distance, lambda kind, answers: kind.best(answers)),
    "density": (density, lambda kind, answers: answers[:, : kind.size]),
}
"""What may be climbed, and what it compares with, from clean answers (n, m)."""


def drift(name: str, kind: Vectors, answers: Tensor, reference: Tensor | None) -> tuple[Climbed, Tensor]:
    """The loss called `name`, and what it compares with: `reference` (n, k), or what the clean `answers` say."""
    climbed, clean = DRIFTS[name]
    return climbed(kind), clean(kind, answers) if reference is None else reference


def no_reference(answers: Tensor) -> Tensor:
    """(n, 0), for a loss that compares with nothing."""
    return torch.empty(len(answers), 0, device=answers.device)
