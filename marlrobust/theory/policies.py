"""Policies and perturbations of tabular games as the rest of the package knows them: modules and attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from marlrobust.attacks.attack import Attack
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy
from marlrobust.theory.game import Numbers, Whole

FLOOR = 1e-30
"""Stands for a chance of 0, whose logit is no finite number."""


class TablePolicy(nn.Module):
    """Plays a table (N, S, A) on states that are one-hot of the game's state, then of the agent (see `scenario`)."""

    def __init__(self, table: Numbers) -> None:
        super().__init__()
        self.n_agents, self.n_states, _ = table.shape
        logits = np.log(np.maximum(table, FLOOR))
        self.register_buffer("table", torch.from_numpy(logits.astype(np.float32)))

    def logits(self, decisions: Decisions) -> Tensor:
        """See `Policy.logits`; linear in the state, so that it is defined between one-hot states too."""
        states = decisions.dense
        table: Any = self.table
        return torch.einsum("ns,nj,jsa->na", states[:, : self.n_states], states[:, self.n_states :], table)


@dataclass(frozen=True, kw_only=True)
class Shown(Attack):
    """Shows each attacked agent the one-hot state that a perturbation names, wherever the threat allows it.

    shown: (N, S) which state each agent is shown; an agent that is not attacked is shown the truth. The threat must
    reach from one one-hot state to another: epsilon 1 in l_inf.
    """

    summary: ClassVar[str] = "what a solved game says (see marlrobust.theory)"

    shown: Any

    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`."""
        states, size = decisions.dense, self.shown.shape[1]
        false = self.shown[states[:, size:].argmax(1).numpy(), states[:, :size].argmax(1).numpy()]
        wanted = states.clone()
        wanted[:, :size] = torch.eye(size)[torch.from_numpy(false)]
        return self.threat.deliver(states, wanted - states)


def shown(v: Whole, choices: Whole, agents: int) -> Whole:
    """A perturbation (S,) of `Adversaries` as what each of `agents` agents is shown, (N, S)."""
    table = np.tile(np.arange(len(v)), (agents, 1))
    table[: choices.shape[1]] = choices[v].T
    return table
