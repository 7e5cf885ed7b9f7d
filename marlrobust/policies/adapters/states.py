"""Functions of observations as policies: what they take is read off their signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors


class Takes(Enum):
    """What a function of a policy wants to see."""

    DECISIONS = "decisions"
    STATES = "states"
    STATES_AND_MEANS = "states, mean_actions"


def takes(function: Callable[..., Any], others: int = 0) -> Takes:
    """What `function` wants before its `others` last arguments; defaults, and what is not told, do not count.

    Raises UserError for a signature that no policy has.
    """
    try:
        every = inspect.signature(_told(function)).parameters.values()
    except (TypeError, ValueError):  # compiled functions do not tell
        return Takes.STATES
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in every if p.kind in kinds and p.default is p.empty]
    own = needed[: len(needed) - others]
    if len(own) > 2:
        names = ", ".join(p.name for p in needed)
        raise UserError(f"a policy's function takes decisions, states, or states and mean actions, not ({names})")
    if own and (own[0].name == "decisions" or own[0].annotation in (Decisions, "Decisions")):
        return Takes.DECISIONS
    return Takes.STATES_AND_MEANS if len(own) == 2 else Takes.STATES


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """What holds the signature: a module's forward."""
    return function.forward if isinstance(function, nn.Module) else function


class Reads:
    """A function that is shown decisions in the form that it takes."""

    def __init__(
        self,
        function: Callable[..., Any],
        shape: tuple[int, ...] | None = None,
        weights: nn.Module | None = None,
        *,
        others: int = 0,
    ) -> None:
        """shape: of an observation, None for flat ones; weights: the module whose weights say in which
        type and on which device it takes them; others: further arguments that it takes."""
        self.function, self.shape = function, shape
        every = () if weights is None else weights.parameters()
        self.weight = next((p for p in every if p.is_floating_point()), None)  # follows where its module is moved
        self.takes = takes(function, others)
        owner = getattr(function, "__self__", function)
        self.random = getattr(owner, "random", False) is True
        """Whether whoever it belongs to says that it is random on purpose."""

    def __call__(self, decisions: Decisions, *others: Any) -> Any:
        if self.takes is Takes.DECISIONS:
            return self.function(decisions, *others)
        states = decisions.dense
        if self.shape is not None:
            states = states.reshape(len(states), *self.shape)
        means = (decisions.mean_actions,) if self.takes is Takes.STATES_AND_MEANS else ()
        return self.function(*(self._placed(t) for t in (states, *means)), *others)

    def _placed(self, tensor: Tensor) -> Tensor:
        """In the type and on the device of the weights, if there are any."""
        return tensor if self.weight is None else tensor.to(self.weight.device, self.weight.dtype)

    @property
    def flat_module(self) -> nn.Module | None:
        """The module that is all there is to this function of flat states (n, d); None where it is something else."""
        flat = self.shape is None or len(self.shape) == 1
        own = isinstance(self.function, nn.Module) and self.takes is Takes.STATES
        return self.function if flat and own else None  # type: ignore[return-value]


def logits_of(answer: Any) -> Tensor:
    """Logits (n, a) float32 from what a policy answers; raises UserError where there are none."""
    found = answer
    if isinstance(found, tuple | list) and found:
        found = found[0]
    found = found.get("logits") if isinstance(found, Mapping) else getattr(found, "logits", found)
    if not isinstance(found, Tensor) or found.dim() != 2 or not found.is_floating_point():
        what = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(answer).__name__
        raise UserError(
            f"a policy answers with one logit for each action, a torch tensor (n, a) of floats, not {what}: "
            "torch.from_numpy(...) makes one of an array"
        )
    return found if found.dtype == torch.float32 else found.float()


def answers_of(answer: Any, actions: Vectors | None) -> Tensor:
    """What a policy answers, as logits (n, a), or as what continuous `actions` are made of."""
    return logits_of(answer) if actions is None else actions.read(answer)


@dataclass(frozen=True)
class StatePolicy:
    """A policy by a function of observations. actions: where they are continuous."""

    function: Reads
    actions: Vectors | None = field(default=None, kw_only=True)

    @property
    def random(self) -> bool:
        """Whether it is random on purpose."""
        return self.function.random

    def logits(self, decisions: Decisions) -> Tensor:
        """See `Policy.logits`."""
        return answers_of(self.function(decisions), self.actions)


@dataclass(frozen=True)
class StateCritic(StatePolicy):
    """The same with a critic."""

    values: Reads

    def q_values(self, decisions: Decisions) -> Tensor:
        """See `Critic.q_values`."""
        return logits_of(self.values(decisions))


@dataclass(frozen=True)
class StateActionCritic(StatePolicy):
    """A policy of continuous actions with a critic. values: of observations and actions (n, k)."""

    values: Reads

    def q_values(self, decisions: Decisions, actions: Tensor) -> Tensor:
        """See `ActionCritic.q_values`."""
        value: Tensor = self.values(decisions, actions)
        return value.float().reshape(len(actions))
