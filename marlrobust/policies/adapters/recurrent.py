"""An object with memory as a policy that attacks can ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors
from marlrobust.policies.adapters.states import Reads, answers_of
from marlrobust.policies.memory import Memory


@dataclass(frozen=True)
class RecurrentPolicy:
    """See `marlrobust.policies.memory.Recurrent`. function: from decisions and memory to an answer and the
    next; actions: where they are continuous."""

    initial: Callable[[int], Memory]
    function: Reads
    actions: Vectors | None = None

    def initial_memory(self, n: int) -> Memory:
        """See `Recurrent.initial_memory`."""
        return self.initial(n)

    def step(self, decisions: Decisions, memory: Memory) -> tuple[Tensor, Memory]:
        """See `Recurrent.step`."""
        answer, following = self.function(decisions, memory)
        return answers_of(answer, self.actions), following

    def logits(self, decisions: Decisions) -> Tensor:
        """See `Policy.logits`; where the decisions carry no memory, a round's first step is meant."""
        memory = self.initial(len(decisions)) if decisions.memory is None else decisions.memory
        return self.step(decisions, memory)[0]
