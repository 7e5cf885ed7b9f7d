"""Mean-field actor and critic: one network shape, read as logits or as action values."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from marlrobust.config import Settings
from marlrobust.games.game import Decisions
from marlrobust.policies.state_layer import StateLayer, compress_if_sparse
from marlrobust.sparse import SparseStates


class MeanFieldShape(Settings):
    """The sizes of a mean-field policy, as its card keeps them."""

    state_size: int = Field(ge=1, le=10**7)
    n_actions: int = Field(ge=1, le=10**5)
    hidden: int = Field(256, ge=1, le=10**5)
    embedding: int = Field(64, ge=1, le=10**5)  # of the mean action
    mean_field: bool = True  # False: the mean action is not looked at


class MeanFieldNetwork(nn.Module):
    """pi(. | s, m) as logits, or Q(s, ., m) of all actions at once (Yang et al. 2018; eqs. 5-8).

    states (n, d), dense or compressed, and mean actions (n, a) give (n, a). Without `mean_field` the mean
    action is ignored, which makes it the independent learner's.
    """

    def __init__(self, shape: MeanFieldShape) -> None:
        super().__init__()
        self.state = StateLayer(shape.state_size, shape.hidden)
        self.mean = nn.Linear(shape.n_actions, shape.embedding) if shape.mean_field else None
        self.hidden = nn.Linear(shape.hidden + (shape.embedding if shape.mean_field else 0), shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.n_actions)

    def forward(self, states: Tensor | SparseStates, mean_actions: Tensor) -> Tensor:
        h = self.state(states).relu_()
        if self.mean is not None:
            h = torch.cat([h, self.mean(mean_actions).relu_()], dim=1)
        h = self.hidden(h).relu_()
        with torch.autocast(h.device.type, enabled=False):  # values need more digits than layers between
            y: Tensor = self.out(h.float())
        return y


class MeanFieldPolicy(nn.Module):
    """A trained team's actor and critic."""

    network: ClassVar[str] = "mean_field"

    def __init__(
        self, state_size: int, n_actions: int, *, hidden: int = 256, embedding: int = 64, mean_field: bool = True
    ) -> None:
        super().__init__()
        self.shape = MeanFieldShape(
            state_size=state_size, n_actions=n_actions, hidden=hidden, embedding=embedding, mean_field=mean_field
        )
        self.actor = MeanFieldNetwork(self.shape)
        self.critic = MeanFieldNetwork(self.shape)

    @property
    def mean_action_size(self) -> int:
        """Of the mean actions that it is shown: a."""
        return self.shape.n_actions

    def logits(self, decisions: Decisions) -> Tensor:
        """Logits (n, a) of the actor; see `Policy.logits`."""
        states = decisions.states
        if isinstance(states, Tensor) and not (torch.is_grad_enabled() and states.requires_grad):
            states = compress_if_sparse(states)
        y: Tensor = self.actor(states, decisions.mean_actions)
        return y

    def q_values(self, decisions: Decisions) -> Tensor:
        """Q(s, ., mean action) of all actions, (n, a)."""
        y: Tensor = self.critic(decisions.states, decisions.mean_actions)
        return y
