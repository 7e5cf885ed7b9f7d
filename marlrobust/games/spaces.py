"""What a PettingZoo environment's agents see and do: which of them are of one kind, and how their observations become
states."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Floats

Grouping = Literal["kind", "space", "agent"]


@dataclass(frozen=True, eq=False)
class Kind:
    """Agents of one group. role: what their policy is for; agents: their names, in the environment's order;
    observations, actions: their spaces."""

    role: str
    agents: tuple[str, ...]
    observations: spaces.Space[Any]
    actions: spaces.Discrete

    @property
    def state_size(self) -> int:
        """d, of an observation made flat."""
        return int(spaces.flatdim(self.observations))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of an observation; None where it is flat already, or no single array."""
        shape = self.observations.shape if isinstance(self.observations, spaces.Box) else None
        return shape if shape is not None and len(shape) != 1 else None

    @property
    def width(self) -> float:
        """Of the widest range that the space gives one number of an observation; infinite where it gives none."""
        if not isinstance(self.observations, spaces.Box):
            return float("inf")
        return float(np.max(self.observations.high.astype(np.float64) - self.observations.low, initial=0.0))

    @property
    def n_actions(self) -> int:
        return int(self.actions.n)

    def action(self, number: int) -> int:
        """The environment's own number of an action."""
        return number + int(self.actions.start)


def flat(space: spaces.Space[Any], observation: Any) -> Floats:
    """An observation as (d,) float32: arrays row by row, the parts of a dictionary or a tuple in its space's order,
    whole numbers of a few as one-hot vectors."""
    return np.asarray(spaces.flatten(space, observation), np.float32).reshape(-1)


def parts(space: spaces.Space[Any], states: Tensor) -> Any:
    """States (n, d) as the observations that they were: tensors (n, *shape), in dictionaries and tuples as in `space`;
    what was one-hot stays so. For a policy that reads such observations; gradients flow back to the states."""
    if isinstance(space, spaces.Dict):
        return dict(zip(space.spaces, _split(list(space.spaces.values()), states), strict=True))
    if isinstance(space, spaces.Tuple):
        return tuple(_split(list(space.spaces), states))
    return states.reshape(len(states), *space.shape) if isinstance(space, spaces.Box) else states


def _split(of: Sequence[spaces.Space[Any]], states: Tensor) -> list[Any]:
    sizes = [int(spaces.flatdim(space)) for space in of]
    return [parts(space, part) for space, part in zip(of, torch.split(states, sizes, dim=1), strict=True)]


def kinds_of(environment: Any, grouping: Grouping = "kind") -> list[Kind]:
    """The groups of an environment's agents, in the order in which the first of each comes. grouping: agents of one
    kind, of the same spaces and, but for a number at its end, the same name; all of the same spaces; or each agent
    alone. Raises UserError for spaces that no policy here can deal with."""
    key = _KEYS[grouping]
    groups: list[tuple[Any, list[str]]] = []
    for agent in environment.possible_agents:
        own = key(agent), environment.observation_space(agent), environment.action_space(agent)
        _check(agent, *own[1:])
        mates = next((names for other, names in groups if other == own), None)
        if mates is None:
            groups.append((own, [agent]))
        else:
            mates.append(agent)
    roles: list[str] = []
    for _, names in groups:
        role = names[0] if grouping == "agent" else _stem(names[0])
        again = sum(r == role or r.startswith(f"{role}-") for r in roles)
        roles.append(f"{role}-{again + 1}" if again else role)
    return [
        Kind(role, tuple(names), observations, actions)
        for role, ((_, observations, actions), names) in zip(roles, groups, strict=True)
    ]


def _stem(agent: str) -> str:
    """An agent's name without the number at its end, as a part of a file's name."""
    stem = re.sub(r"[_-]?\d+$", "", agent) or "agent"
    return re.sub(r"[^\w-]+", "_", stem, flags=re.ASCII)


_KEYS: dict[Grouping, Callable[[str], str]] = {"kind": _stem, "space": lambda agent: "", "agent": lambda agent: agent}


def _check(agent: str, observations: Any, actions: Any) -> None:
    if not isinstance(actions, spaces.Discrete):
        raise UserError(
            f"{agent} has actions of {actions}: only discrete actions can be attacked here; "
            "give an environment with Discrete actions, if it has an option for that"
        )
    if isinstance(observations, spaces.Dict) and "action_mask" in observations.spaces:
        raise UserError(f"{agent} is told which actions are legal (action_mask): policies here know of no such mask")
    try:
        size = spaces.flatdim(observations)
    except (NotImplementedError, ValueError):
        size = 0
    if not size:
        raise UserError(f"{agent} sees {observations}, which cannot be made a list of numbers of one length")
