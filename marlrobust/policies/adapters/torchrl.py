"""Policies of TorchRL: modules that read and write a TensorDict, for one agent or, as BenchMARL's, for a group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.adapters.states import Reads, StatePolicy

Key = str | tuple[str, ...]


def adapted(thing: Any, shape: tuple[int, ...] | None) -> StatePolicy:
    """A policy of a `TensorDictModule` or `ProbabilisticActor` that reads one observation and writes "logits".

    A module for a group of agents, (..., agents, d), answers for each agent at its own place. Raises UserError where
    there is no key "logits", or more than one that is read.
    """
    logits = next((key for key in thing.out_keys if _last(key) == "logits"), None)
    if len(thing.in_keys) != 1 or logits is None:
        raise UserError(
            f"the module reads {list(thing.in_keys)} and writes {list(thing.out_keys)}: "
            "a policy reads one observation and writes 'logits'"
        )
    agents = next((module.n_agents for module in thing.modules() if hasattr(module, "n_agents")), 0)
    module = _Module(thing, thing.in_keys[0], logits, agents)
    if not agents:
        return StatePolicy(Reads(module.each, shape, thing))
    if shape is not None and len(shape) != 1:
        raise UserError("a module for a group of agents takes flat observations")
    return StatePolicy(Reads(module.group, None, thing))


class _Module:
    """A module called with tensors. agents: of the group that it answers for at once, 0 for none."""

    def __init__(self, module: Any, observation: Key, logits: Key, agents: int) -> None:
        self.module, self.observation, self.key, self.agents = module, observation, logits, agents

    def each(self, states: Tensor) -> Tensor:
        """Logits (n, a) for states (n, *shape)."""
        from tensordict import TensorDict

        asked: Any = TensorDict({self.observation: states}, batch_size=[len(states)])
        answered: Any = asked
        for part in _parts(self.module):
            answered = part(answered)
        logits: Tensor = answered.get(self.key)
        return logits

    def group(self, decisions: Decisions) -> Tensor:
        """Logits (n, a): each of n agents is shown to the module at its own place among the group's."""
        states = decisions.dense
        place = torch.from_numpy(decisions.agent)
        logits = self.each(states[:, None].expand(-1, self.agents, -1))
        return logits[torch.arange(len(states)), place.to(logits.device)]


def _parts(module: Any) -> list[Any]:
    """What is run, in order: without the last part of an actor, which draws an action."""
    from tensordict.nn import ProbabilisticTensorDictModule

    parts = list(module) if hasattr(module, "__getitem__") and hasattr(module, "__len__") else [module]
    return [part for part in parts if not isinstance(part, ProbabilisticTensorDictModule)]


def _last(key: Key) -> str:
    """A nested key's own name."""
    return key if isinstance(key, str) else key[-1]
