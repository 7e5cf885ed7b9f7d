"""Ascents that know more than the clean action: its whole distribution, or what the critic says of the true state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.gradient import GradientAttack
from marlrobust.attacks.oracle import Loss
from marlrobust.attacks.vectors import lost_value, no_reference
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors
from marlrobust.policies.policy import Policy, values_of


@dataclass(frozen=True, kw_only=True)
class MAD(GradientAttack):
    """Maximal action difference. Its gradient is 0 at the state itself, so that it starts from noise."""

    summary: ClassVar[str] = "ascent on the KL divergence from the clean policy (Zhang et al. 2020)"

    start: Annotated[Literal["uniform"], Field(description="It has no gradient at the state.")] = "uniform"

    def reference(self, policy: Policy, decisions: Decisions, logits: Tensor) -> Tensor:
        """The clean log-probabilities (n, a)."""
        return F.log_softmax(logits, 1)

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """KL(pi(. | s) || pi(. | s')), (n,)."""
        return F.kl_div(F.log_softmax(logits, 1), reference, reduction="none", log_target=True).sum(1)


@dataclass(frozen=True, kw_only=True)
class Aimed(GradientAttack):
    """Descends the cross-entropy to the actions (n,) that `reference` names."""

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Minus the cross-entropy to the target actions (n,)."""
        return -F.cross_entropy(logits, reference, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Targeted(Aimed):
    """Descends the cross-entropy to a chosen action.

    target: "worst", the action with the least value of the true state by the policy's critic, or an action's number.
    """

    summary: ClassVar[str] = "descent to a chosen action: the critic's worst, or a given one (Lin et al. 2017)"

    target: Annotated[
        Annotated[int, Field(ge=0)] | Literal["worst"], Field(description="An action's number, or the critic's worst.")
    ] = "worst"

    def reference(self, policy: Policy, decisions: Decisions, logits: Tensor) -> Tensor:
        """The target actions (n,)."""
        if self.target == "worst":
            worst: Tensor = values_of(policy, decisions).argmin(1)
            return worst
        if self.target >= logits.shape[1]:
            raise UserError(f"there is no action {self.target}: the policy has 0 to {logits.shape[1] - 1}")
        return torch.full((len(logits),), self.target, device=logits.device)


@dataclass(frozen=True, kw_only=True)
class Critic(GradientAttack):
    """Descends the value of the true state under the policy of the false one."""

    summary: ClassVar[str] = "descent on the true state's value under the perturbed policy (Pattanaik et al. 2018)"
    continuous: ClassVar[bool] = True

    def reference(self, policy: Policy, decisions: Decisions, logits: Tensor) -> Tensor:
        """Q(s, ., m) (n, a) of the clean states: a critic that is shown the false state values what is not there."""
        return values_of(policy, decisions)

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Minus sum_a pi(a | s') Q(s, a, m), (n,)."""
        return -(F.softmax(logits, 1) * reference).sum(1)

    def of_vectors(
        self, kind: Vectors, policy: Policy, decisions: Decisions, answers: Tensor, reference: Tensor | None
    ) -> Loss:
        """Minus Q(s, a) of the true state and the mean action of the false one."""
        return Loss(lost_value(kind, policy, decisions), no_reference(answers))
