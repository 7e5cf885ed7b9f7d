"""What an attack is: a threat (how far it may go) and a way to perturb states inside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import FunctionType
from typing import Any, ClassVar, overload

import numpy as np
import numpy.typing as npt
import torch
from pydantic import InstanceOf
from torch import Tensor, nn

from marlrobust.attacks.arrays import Plain
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.vectors import refuse_misfit
from marlrobust.games.game import Decisions
from marlrobust.parameters import Parameters
from marlrobust.policies.actions import is_continuous
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.hidden_memory import refuse_hidden_memory
from marlrobust.policies.layers import known
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.policies.policy import Policy

__all__ = ["Attack", "Threat"]

Numbers = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Attack(Parameters, ABC):
    """Perturbs states inside a threat. A subclass is a frozen dataclass whose fields are its parameters.

    A new attack writes `move`; everybody calls `perturb`. Raises UserError for a parameter that does not fit its
    annotation.
    """

    summary: ClassVar[str] = ""
    """One line for `marlrobust list attacks`: what it does, and the paper it comes from."""

    continuous: ClassVar[bool] = False
    """Whether it can be made on a policy whose actions are vectors of numbers, not a choice."""

    threat: InstanceOf[Threat]

    def resolved(self, victim: StoredPolicy, library: Library) -> Attack:
        """The attack as it is run on `victim`: names of stored policies are replaced by the policies found.

        Raises UserError, before anything is played, for what is not there.
        """
        return self

    @overload
    def perturb(
        self, policy: Any, states: Decisions | Tensor, rng: torch.Generator | int = 0, **how: Any
    ) -> Tensor: ...

    @overload
    def perturb(self, policy: Any, states: Numbers, rng: torch.Generator | int = 0, **how: Any) -> Numbers: ...

    def perturb(
        self, policy: Any, states: Decisions | Tensor | Numbers, rng: torch.Generator | int = 0, **how: Any
    ) -> Tensor | Numbers:
        """Perturbed states, inside the threat.

        states: `Decisions` of n agents, which give (n, d) float32; or plain observations (n, *shape), a tensor or a
        numpy array of any float type, which give the same kind, type and shape. The budget then holds for each of
        the n observations as a whole, in its own float type. policy: a `Policy`; for plain observations anything
        that `as_policy` takes. rng: the only source of randomness, or a seed for one. how: what this attack alone
        takes (`reference` of a gradient attack).
        Raises UserError for observations that are no floats, for a policy that remembers without saying so, and for
        one whose kind of actions the attack does not fit.
        """
        move: Callable[..., Tensor] = self.move
        if isinstance(states, Decisions):
            refuse_misfit(self, is_continuous(policy))
            return move(policy, states, _generator(rng, states.mean_actions.device), **how)
        plain = Plain.of(states)
        read = _read(policy, plain.shape)
        network = read.policy
        refuse_misfit(self, is_continuous(network))
        decisions = plain.decisions(network)
        if not read.asked and not known(network):  # in those nothing can hide
            refuse_hidden_memory(network, decisions)
        read.asked = True
        moved = move(network, decisions, _generator(rng, plain.device), **how)
        back: Tensor | Numbers = plain.back(self.threat, decisions.dense, moved)
        return back

    @abstractmethod
    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """Perturbed states (n, d) float32 for n `decisions`, inside the threat; n may be 0.

        Changes neither its arguments, nor the policy's mode, gradients or parameters.
        """

    def parameters(self) -> dict[str, Any]:
        """Every parameter, defaults included, as JSON-able values: what a row needs to repeat the attack."""
        own = {f.name: _told(getattr(self, f.name)) for f in fields(self) if f.name != "threat"}
        return {"threat": self.threat.parameters(), **own}


@dataclass
class _Read:
    """A policy that plain observations of a shape were given for. asked: whether it was tried for a hidden memory."""

    given: Any
    shape: tuple[int, ...]
    policy: Policy
    asked: bool = False


_LAST: list[_Read] = []
"""The module or function that was given last: it is read and tried once, not at each step of a loop."""


def _read(given: Any, shape: tuple[int, ...]) -> _Read:
    for last in _LAST:
        if last.given is given and last.shape == shape:
            return last
    read = _Read(given, shape, as_policy(given, shape))
    if isinstance(given, nn.Module | FunctionType):  # anything else may hold other parts the next time
        _LAST[:] = [read]
    return read


def _generator(rng: torch.Generator | int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(rng) if isinstance(rng, int) else rng


def _told(value: Any) -> Any:
    """A stored policy by its name and hash, never its path; an object from Python by the name of its class."""
    if isinstance(value, StoredPolicy):
        return {"name": value.full_name, "hash": value.card.hash}
    return value if isinstance(value, str | int | float | tuple | list | dict | None) else type(value).__name__
