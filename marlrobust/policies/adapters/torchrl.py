"""Policies of TorchRL: modules that read and write a TensorDict, for one agent or, as BenchMARL's, for a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Box
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors
from marlrobust.policies.adapters.states import Reads, StatePolicy

Key = str | tuple[str, ...]


def adapted(thing: Any, shape: tuple[int, ...] | None, box: Box | None) -> StatePolicy:
    """A policy of a `TensorDictModule` or `ProbabilisticActor` that reads one observation and writes "logits", or of
    actions in `box`, "loc" and "scale" of a Gaussian (`Normal`, `TanhNormal`).

    A module for a group of agents, (..., agents, d), answers for each agent at its own place. Raises UserError where
    there are no such keys, or more than one that is read.
    """
    names = ("logits",) if box is None else ("loc", "scale")
    written = [next((key for key in thing.out_keys if _last(key) == name), None) for name in names]
    keys = [key for key in written if key is not None]
    if len(thing.in_keys) != 1 or len(keys) < len(names):
        raise UserError(
            f"the module reads {list(thing.in_keys)} and writes {list(thing.out_keys)}: "
            f"a policy reads one observation and writes {' and '.join(map(repr, names))}"
            + ("; for continuous actions, as_policy takes their box" if box is None else "")
        )
    agents = next((module.n_agents for module in thing.modules() if hasattr(module, "n_agents")), 0)
    module = _Module(thing, thing.in_keys[0], keys, agents)
    vectors = None if box is None else Vectors(box, squashed=_squashes(thing))
    if not agents:
        return StatePolicy(Reads(module.each, shape, thing), actions=vectors)
    if shape is not None and len(shape) != 1:
        raise UserError("a module for a group of agents takes flat observations")
    return StatePolicy(Reads(module.group, None, thing), actions=vectors)


class _Module:
    """A module called with tensors. agents: of the group that it answers for at once, 0 for none."""

    def __init__(self, module: Any, observation: Key, keys: Sequence[Key], agents: int) -> None:
        """keys: of logits (n, a); or of means and standard deviations, (n, k) each."""
        self.module, self.observation, self.keys, self.agents = module, observation, keys, agents

    def each(self, states: Tensor) -> Any:
        """Logits (n, a), or mean actions and logarithms of standard deviations, for states (n, *shape)."""
        from tensordict import TensorDict

        asked: Any = TensorDict({self.observation: states}, batch_size=[len(states)])
        answered: Any = asked
        for part in _parts(self.module):
            answered = part(answered)
        first, *scale = (answered.get(key) for key in self.keys)
        return (first, scale[0].log()) if scale else first

    def group(self, decisions: Decisions) -> Any:
        """What `each` gives: each of n agents is shown to the module at its own place among the group's."""
        states = decisions.dense
        place = torch.from_numpy(decisions.agent)
        answer = self.each(states[:, None].expand(-1, self.agents, -1))
        several = answer if isinstance(answer, tuple) else (answer,)
        own = tuple(part[torch.arange(len(states)), place.to(part.device)] for part in several)
        return own if isinstance(answer, tuple) else own[0]


def _squashes(module: Any) -> bool:
    """Whether tanh brings its actions into their box."""
    return any(part.distribution_class.__name__ == "TanhNormal" for part in _drawing(module))


def _drawing(module: Any) -> list[Any]:
    """The parts of an actor that draw an action."""
    from tensordict.nn import ProbabilisticTensorDictModule

    return [part for part in module.modules() if isinstance(part, ProbabilisticTensorDictModule)]


def _parts(module: Any) -> list[Any]:
    """What is run, in order: without the last part of an actor, which draws an action."""
    from tensordict.nn import ProbabilisticTensorDictModule

    parts = list(module) if hasattr(module, "__getitem__") and hasattr(module, "__len__") else [module]
    return [part for part in parts if not isinstance(part, ProbabilisticTensorDictModule)]


def _last(key: Key) -> str:
    """A nested key's own name."""
    return key if isinstance(key, str) else key[-1]
