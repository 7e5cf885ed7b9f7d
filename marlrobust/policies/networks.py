"""Mean-field actor and critic: one network shape, read as logits or as action values."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from marlrobust.policies.sparse import StateLayer, compress_if_sparse
from marlrobust.states import SparseStates


class Policy(Protocol):
    """What an attack and a rollout need of a policy: any torch module, ours or the user's."""

    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the actions.

        states: (n, d) float32; mean_actions: (n, a) float32, the team's mean action of the last step;
        returns (n, a).
        """
        ...


class MeanFieldNetwork(nn.Module):
    """pi(. | s, m) as logits, or Q(s, ., m) of all actions at once (Yang et al. 2018; eqs. 5-8).

    states (n, d), dense or compressed, and mean actions (n, a) give (n, a). Without `mean_field` the mean
    action is ignored, which makes it the independent learner's.
    """

    def __init__(
        self,
        state_size: int,
        n_actions: int,
        *,
        hidden: int = 256,
        embedding: int = 64,
        mean_field: bool = True,
    ) -> None:
        super().__init__()
        self.state = StateLayer(state_size, hidden)
        self.mean = nn.Linear(n_actions, embedding) if mean_field else None
        self.hidden = nn.Linear(hidden + (embedding if mean_field else 0), hidden)
        self.out = nn.Linear(hidden, n_actions)

    def forward(self, states: Tensor | SparseStates, mean_actions: Tensor) -> Tensor:
        h = self.state(states).relu_()
        if self.mean is not None:
            h = torch.cat([h, self.mean(mean_actions).relu_()], dim=1)
        y: Tensor = self.out(self.hidden(h).relu_())
        return y


class MeanFieldPolicy(nn.Module):
    """A trained team's actor and critic."""

    def __init__(
        self,
        state_size: int,
        n_actions: int,
        *,
        hidden: int = 256,
        embedding: int = 64,
        mean_field: bool = True,
    ) -> None:
        super().__init__()
        self.state_size, self.n_actions = state_size, n_actions
        shape: dict[str, Any] = {"hidden": hidden, "embedding": embedding, "mean_field": mean_field}
        self.actor = MeanFieldNetwork(state_size, n_actions, **shape)
        self.critic = MeanFieldNetwork(state_size, n_actions, **shape)

    def logits(self, states: Tensor | SparseStates, mean_actions: Tensor) -> Tensor:
        """Logits (n, a) of the actor; see `Policy.logits`. Differentiable in dense `states`."""
        if isinstance(states, Tensor) and not (torch.is_grad_enabled() and states.requires_grad):
            states = compress_if_sparse(states)
        y: Tensor = self.actor(states, mean_actions)
        return y

    def q_values(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        """Q(s, ., mean action) of all actions, (n, a)."""
        y: Tensor = self.critic(states, mean_actions)
        return y
