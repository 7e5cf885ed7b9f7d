"""Attacks made of others: one made on another policy, and one that strikes only where it pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks import ATTACKS
from marlrobust.attacks.attack import Attack
from marlrobust.attacks.oracle import ready
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.policies.policy import Policy

SOURCES = ("zoo:mfac", "zoo:sa-mfac")
"""What `transfer` is made on if nothing else is asked for: the first that is not the policy under attack."""


@dataclass(frozen=True, kw_only=True)
class Wrapper(Attack):
    """An attack that uses another, with its defaults and inside the same threat. inner: that attack's name."""

    inner: Annotated[str, Field(description="Name of the attack that is used.")] = "pgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = ATTACKS[self.inner]
        if issubclass(kind, Wrapper) or kind.resolved is not Attack.resolved:
            raise UserError(f"inner must be an attack that needs no other attack or policy, not '{self.inner}'")
        self.attack()

    def attack(self) -> Attack:
        """The inner attack."""
        return ATTACKS[self.inner](threat=self.threat)


@dataclass(frozen=True, kw_only=True)
class Timed(Wrapper):
    """Attacks a state only where the clean policy cares: max pi - min pi >= beta, in [0, 1]."""

    summary: ClassVar[str] = "another attack, only where the policy prefers an action clearly (Lin et al. 2017)"

    beta: Annotated[float, Field(ge=0, le=1, description="Least difference of two actions' probabilities.")] = 0.5

    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`."""
        decisions = decisions.showing(decisions.dense)
        with torch.no_grad():
            pi = F.softmax(policy.logits(decisions), 1)
        cares = pi.amax(1) - pi.amin(1) >= self.beta
        perturbed = decisions.dense.clone()
        perturbed[cares] = self.attack().move(policy, decisions.take(cares), rng)
        return perturbed


@dataclass(frozen=True, kw_only=True)
class Transfer(Wrapper):
    """Perturbations made on another policy: what an adversary can do who does not know the team's.

    source: that policy, by a name under runs, a bundled name, a folder or a file; from Python, also any policy. None
    is the bundled `mfac` of the scenario, trained without a defense, and the bundled `sa-mfac` where that is attacked.
    """

    summary: ClassVar[str] = "another attack's perturbations, made on another policy (Papernot et al. 2016)"

    source: Annotated[Any, Field(description="A stored policy; none is the bundled mfac, or sa-mfac against it.")] = (
        None
    )

    def resolved(self, victim: StoredPolicy, library: Library) -> Transfer:
        """See `Attack.resolved`; raises UserError for a source that does not see what the victim sees."""
        source = self.source
        if not isinstance(source, str | None):
            return self
        scenario, role = victim.card.scenario, victim.card.role
        stored = [library.find(name, scenario, role) for name in (SOURCES if source is None else (source,))]
        found = [p for p in stored if p is not None and (source or p.card.hash != victim.card.hash)]
        if not found:
            raise UserError(
                f"there is no policy '{source or SOURCES[0]}' of a {role} for {scenario} to transfer from: "
                "give source=NAME, one of 'marlrobust list policies'"
            )
        seen, needed = found[0].card.state_size, victim.card.state_size
        if seen != needed:
            raise UserError(
                f"{found[0].full_name} takes states of {seen} numbers, {victim.full_name} of {needed}: "
                "give as source a policy of the same game"
            )
        return replace(self, source=found[0])

    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`; `policy` itself is not asked."""
        source = ready(self.source, "source", decisions.mean_actions.device)
        return self.attack().move(source, decisions, rng)
