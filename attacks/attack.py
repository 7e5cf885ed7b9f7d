"""What an attack is: a threat (how far it may go) and a way to perturb states inside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from pydantic import InstanceOf
from torch import Tensor

from marlrobust.attacks.threat import Threat
from marlrobust.games.game import Decisions
from marlrobust.parameters import Parameters
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.policies.policy import Policy

__all__ = ["Attack", "Threat"]


@dataclass(frozen=True, kw_only=True)
class Attack(Parameters, ABC):
    """Perturbs states inside a threat. A subclass is a frozen dataclass whose fields are its parameters.

    Raises UserError for a parameter that does not fit its annotation.
    """

    summary: ClassVar[str] = ""
    """One line for `marlrobust list attacks`: what it does, and the paper it comes from."""

    threat: InstanceOf[Threat]

    def resolved(self, victim: StoredPolicy, library: Library) -> Attack:
        """The attack as it is run on `victim`: names of stored policies are replaced by the policies found.

        Raises UserError, before anything is played, for what is not there.
        """
        return self

    @abstractmethod
    def perturb(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """Perturbed states (n, d) float32 for n `decisions`, inside the threat; n may be 0.

        rng: the only source of randomness. Changes neither its arguments, nor the policy's mode, gradients or
        parameters.
        """

    def parameters(self) -> dict[str, Any]:
        """Every parameter, defaults included, as JSON-able values: what a row needs to repeat the attack."""
        own = {f.name: _told(getattr(self, f.name)) for f in fields(self) if f.name != "threat"}
        return {"threat": self.threat.parameters(), **own}


def _told(value: Any) -> Any:
    """A stored policy by its name and hash, never its path; an object from Python by the name of its class."""
    if isinstance(value, StoredPolicy):
        return {"name": value.full_name, "hash": value.card.hash}
    return value if isinstance(value, str | int | float | tuple | list | dict | None) else type(value).__name__
