"""Actor and critic that remember: each agent carries what a GRU keeps of all that it was shown."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from marlrobust.config import Settings
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.state_layer import StateLayer
from marlrobust.sparse import SparseStates


class RecurrentShape(Settings):
    """The sizes of a recurrent policy, as its card keeps them."""

    state_size: int = Field(ge=1, le=10**7)
    n_actions: int = Field(ge=1, le=10**5)
    hidden: int = Field(64, ge=1, le=10**5)


class RecurrentNetwork(nn.Module):
    """States (n, d), dense or compressed, and what was remembered (n, h) give (n, a), and what is remembered (n, h)."""

    def __init__(self, shape: RecurrentShape) -> None:
        super().__init__()
        self.state = StateLayer(shape.state_size, shape.hidden)
        self.cell = nn.GRUCell(shape.hidden, shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.n_actions)

    def forward(self, states: Tensor | SparseStates, memory: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.cell(self.state(states).relu(), memory)
        return self.out(memory), memory


class RecurrentPolicy(nn.Module):
    """A trained team's actor and critic (see `memory.Recurrent`); their memory is a pair, (n, h) each."""

    network: ClassVar[str] = "recurrent"

    def __init__(self, state_size: int, n_actions: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.shape = RecurrentShape(state_size=state_size, n_actions=n_actions, hidden=hidden)
        self.actor = RecurrentNetwork(self.shape)
        self.critic = RecurrentNetwork(self.shape)

    def initial_memory(self, n: int) -> tuple[Tensor, Tensor]:
        """Of n agents at the start of a round: zeros."""
        zeros = self.actor.out.weight.new_zeros(n, self.shape.hidden)
        return zeros, zeros

    def logits(self, decisions: Decisions) -> Tensor:
        """Logits (n, a) of the actor; see `Policy.logits`."""
        y: Tensor = self.actor(decisions.states, self._remembered(decisions)[0])[0]
        return y

    def q_values(self, decisions: Decisions) -> Tensor:
        """Q of all actions, (n, a), by what the agents remember."""
        y: Tensor = self.critic(decisions.states, self._remembered(decisions)[1])[0]
        return y

    def step(self, decisions: Decisions, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `Recurrent.step`."""
        logits, of_actor = self.actor(decisions.states, memory[0])
        return logits, (of_actor, self.critic(decisions.states, memory[1])[1])

    def _remembered(self, decisions: Decisions) -> tuple[Tensor, Tensor]:
        if decisions.memory is None:
            raise UserError("this policy remembers: give decisions with what its agents carry (see initial_memory)")
        memory: tuple[Tensor, Tensor] = decisions.memory
        return memory


Trainable = MeanFieldPolicy | RecurrentPolicy
"""What the learners here train."""
