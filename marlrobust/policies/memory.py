"""Policies that remember: what their agents carry from one step to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from marlrobust.games.game import Decisions, of_rows

Memory = Any
"""What n agents remember: a tensor (n, ...), or a tuple of such."""


class Recurrent(Protocol):
    """A policy with memory. Its `logits` read `decisions.memory` and leave it alone."""

    def logits(self, decisions: Decisions) -> Tensor:
        """See `Policy.logits`."""
        ...

    def initial_memory(self, n: int) -> Memory:
        """Of n agents at the start of a round."""
        ...

    def step(self, decisions: Decisions, memory: Memory) -> tuple[Tensor, Memory]:
        """Logits (n, a), and what the n agents remember after they were shown `decisions`."""
        ...


def has_memory(policy: object) -> bool:
    """Whether the policy says that it remembers."""
    return callable(getattr(policy, "initial_memory", None)) and callable(getattr(policy, "step", None))


class Memories:
    """What the agents of a group remember, over all rounds; nothing where their policy has no memory."""

    def __init__(self, policy: Any, rounds: int, size: int) -> None:
        """As at the start of `rounds` rounds of `size` agents."""
        self.policy, self.size = policy if has_memory(policy) else None, size
        self.memory = None if self.policy is None else self.policy.initial_memory(rounds * size)

    def carried(self, decisions: Decisions) -> Decisions:
        """The decisions with what their agents remember."""
        if self.policy is None:
            return decisions
        return replace(decisions, memory=of_rows(self.memory, self._places(decisions)))

    @torch.no_grad()
    def advance(self, shown: Decisions) -> None:
        """The agents were shown this, and remember it: all that carry a memory, once for each step."""
        if self.policy is not None and len(shown):
            _, following = self.policy.step(shown, shown.memory)
            self.memory = _put(self.memory, self._places(shown), following)

    def _places(self, decisions: Decisions) -> Tensor:
        return torch.from_numpy(decisions.round * self.size + decisions.agent)


class Acting:
    """A policy, and what its agents remember of the rounds that are played."""

    def __init__(self, policy: Any, rounds: int, size: int) -> None:
        """As at the start of `rounds` rounds of `size` agents."""
        self.policy, self.memories = policy, Memories(policy, rounds, size)

    @torch.no_grad()
    def logits(self, decisions: Decisions) -> Tensor:
        """Logits (n, a) for what the agents are shown, which they remember: once for each step."""
        carried = self.memories.carried(decisions)
        answer: Tensor = self.policy.logits(carried)
        self.memories.advance(carried)
        return answer


def _put(memory: Memory, places: Tensor, part: Memory) -> Memory:
    """`memory` with `part` at some of its rows; what decisions carry of it stays as it is."""
    if isinstance(memory, tuple):
        return tuple(_put(whole, places, own) for whole, own in zip(memory, part, strict=True))
    whole = memory.clone()
    whole[places.to(whole.device)] = part.detach().to(whole.dtype)
    return whole
