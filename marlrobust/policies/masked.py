"""A policy that takes legal actions alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy

NEVER = -1e9
"""The logit of an action that is not legal: its probability is exactly 0, and sums and differences stay finite."""


class Masked:
    """A policy whose logits obey the mask that decisions carry, whoever asks: the round, an attack, a check.

    The mask is what the environment says, not what an agent sees: no attack moves it. All else is the policy's own.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __getattr__(self, name: str) -> Any:
        if name == "policy" or name.startswith("__"):  # not there yet, as in a copy that is being made
            raise AttributeError(name)
        return getattr(self.policy, name)

    def logits(self, decisions: Decisions) -> Tensor:
        """See `Policy.logits`."""
        logits = self.policy.logits(decisions)
        return logits if decisions.mask is None else torch.where(decisions.mask, logits, NEVER)
