"""Observations as a user has them: tensors or numpy arrays of any float type and shape, and back again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marlrobust.attacks.threat import Threat
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.memory import refuse_hidden_memory
from marlrobust.policies.policy import Policy


@dataclass(frozen=True)
class Plain:
    """n observations of one shape. given: as the user has them; states: (n, d), the same in the same float type."""

    given: Any
    states: Tensor

    @classmethod
    def of(cls, given: Any) -> Plain:
        """Raises UserError for what is no array of floats (n, *shape)."""
        array = torch.tensor(given) if isinstance(given, np.ndarray) else given
        if not isinstance(array, Tensor):
            raise UserError(
                f"observations are decisions, a tensor or a numpy array, not {type(given).__name__}: "
                "put them into one array (n, ...)"
            )
        if not array.is_floating_point() or array.dim() < 2:
            raise UserError(
                f"observations are an array of floats (n, ...), not {array.dtype} {tuple(array.shape)}: "
                "turn them into floats in the range that the policy takes, with the batch first"
            )
        return cls(given, array.detach().reshape(len(array), math.prod(array.shape[1:])))

    @property
    def device(self) -> torch.device:
        return self.states.device

    def moved(self, threat: Threat, policy: Any, move: Callable[[Policy, Decisions], Tensor]) -> Any:
        """What `move` makes of the observations in float32, inside `threat` in their own float type."""
        network = as_policy(policy, tuple(self.given.shape[1:]))
        seen = self.states.float()
        means = seen.new_zeros(len(seen), getattr(network, "mean_action_size", 0))  # as at a round's first step
        decisions = Decisions.of(seen, means)
        refuse_hidden_memory(network, decisions)
        moved = threat.carry(self.states, seen, move(network, decisions)).reshape(self.given.shape)
        return moved.numpy() if isinstance(self.given, np.ndarray) else moved
