"""What a PettingZoo environment's agents see and do: which of them are of one kind, and how their observations become
states."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Actions, Bools, Floats

MASK = "action_mask"
"""What PettingZoo calls the legal actions, beside an observation or in `infos`."""

Doubles = npt.NDArray[np.float64]
Limit = float | tuple[float, ...] | None

Grouping = Literal["kind", "space", "agent"]


@dataclass(frozen=True, eq=False)
class Kind:
    """Agents of one group. role: what their policy is for; agents: their names, in the environment's order;
    space, actions: of what the environment shows them, and takes from them; in_infos: whether `infos` tell which
    actions are legal."""

    role: str
    agents: tuple[str, ...]
    space: spaces.Space[Any]
    actions: spaces.Discrete | spaces.Box
    in_infos: bool = False

    @cached_property
    def observations(self) -> spaces.Space[Any]:
        """Of what a policy sees: all but a mask of legal actions."""
        if not _has_mask(self.space):
            return self.space
        rest = {name: part for name, part in self.space.spaces.items() if name != MASK}
        return next(iter(rest.values())) if len(rest) == 1 else spaces.Dict(rest)

    @property
    def masked(self) -> bool:
        """Whether the environment tells which actions are legal."""
        return self.in_infos or _has_mask(self.space)

    @property
    def box(self) -> spaces.Box | None:
        """Where continuous actions lie; None where actions are discrete."""
        return self.actions if isinstance(self.actions, spaces.Box) else None

    def seen(self, shown: Any) -> Any:
        """What a policy sees of what the environment shows."""
        if not _has_mask(self.space):
            return shown
        rest = {name: part for name, part in shown.items() if name != MASK}
        return next(iter(rest.values())) if len(rest) == 1 else rest

    def legal(self, shown: Any, info: Any) -> Bools | None:
        """(a,) bool, the legal actions of an agent; None where the environment says nothing."""
        told = shown[MASK] if _has_mask(self.space) else info.get(MASK)
        return None if told is None else np.asarray(told).astype(bool).reshape(-1)

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
    def limits(self) -> tuple[Limit, Limit]:
        """The least and the largest value that the space gives each number of a state; see `Group`."""
        low, high = _limits(self.observations)
        return _limit(low), _limit(high)

    @property
    def width(self) -> float:
        """Of the widest range that the space gives one number of an observation; infinite where it gives none."""
        if not isinstance(self.observations, spaces.Box):
            return float("inf")
        return float(np.max(self.observations.high.astype(np.float64) - self.observations.low, initial=0.0))

    @property
    def n_actions(self) -> int:
        """a, or the numbers of a continuous action."""
        return int(spaces.flatdim(self.actions))

    def vectors(self, actions: Actions) -> Floats:
        """Actions of n agents as (n, a) float32: numbers as one-hot vectors, continuous ones as they are."""
        found = actions if self.box is not None else np.eye(self.n_actions)[actions]
        return np.asarray(found, np.float32)

    def action(self, chosen: Any) -> Any:
        """An action as the environment takes it."""
        if isinstance(self.actions, spaces.Box):
            return np.asarray(chosen, self.actions.dtype).reshape(self.actions.shape)
        return int(chosen) + int(self.actions.start)


def _has_mask(space: Any) -> TypeGuard[spaces.Dict]:
    """Whether an observation holds a mask of legal actions beside something to see."""
    return isinstance(space, spaces.Dict) and MASK in space.spaces and len(space.spaces) > 1


def _limits(space: spaces.Space[Any]) -> tuple[Doubles, Doubles]:
    """The least and the largest value (d,) of each number of an observation made flat."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        lows, highs = zip(*map(_limits, inner), strict=True)
        return np.concatenate(lows), np.concatenate(highs)
    if isinstance(space, spaces.Box):
        return space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    size = spaces.flatdim(space)  # of one-hot vectors and bits
    return np.zeros(size), np.ones(size)


def _limit(ends: Doubles) -> Limit:
    """One for all where they are equal; None where there is none."""
    if not np.isfinite(ends).any():
        return None
    return float(ends[0]) if (ends == ends[0]).all() else tuple(ends.tolist())


def stacked(masks: Sequence[Bools | None], n_actions: int) -> Tensor | None:
    """The legal actions (n, a) bool of n agents: all, of one of whom nothing is said. None where nothing is said of
    anybody."""
    if all(mask is None for mask in masks):
        return None
    return torch.from_numpy(np.stack([np.ones(n_actions, np.bool_) if mask is None else mask for mask in masks]))


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


def kinds_of(
    environment: Any, grouping: Grouping = "kind", infos: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Kind]:
    """The groups of an environment's agents, in the order in which the first of each comes. grouping: agents of one
    kind, of the same spaces and, but for a number at its end, the same name; all of the same spaces; or each agent
    alone. infos: of a reset, which may tell what actions are legal. Raises UserError for spaces that no policy here can
    deal with."""
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
    told = infos or {}
    return [
        Kind(role, tuple(names), space, actions, any(MASK in told.get(name, {}) for name in names))
        for role, ((_, space, actions), names) in zip(roles, groups, strict=True)
    ]


def _stem(agent: str) -> str:
    """An agent's name without the number at its end, as a part of a file's name."""
    stem = re.sub(r"[_-]?\d+$", "", agent) or "agent"
    return re.sub(r"[^\w-]+", "_", stem, flags=re.ASCII)


_KEYS: dict[Grouping, Callable[[str], str]] = {"kind": _stem, "space": lambda agent: "", "agent": lambda agent: agent}


def _check(agent: str, observations: Any, actions: Any) -> None:
    continuous = isinstance(actions, spaces.Box) and np.issubdtype(actions.dtype, np.floating)
    if not (isinstance(actions, spaces.Discrete) or continuous):
        raise UserError(
            f"{agent} has actions of {actions}: agents here act by one choice (Discrete), or by floats (Box); "
            "put a wrapper around the environment that gives one of these"
        )
    try:
        size = spaces.flatdim(observations)
    except (NotImplementedError, ValueError):
        size = 0
    if not size:
        raise UserError(f"{agent} sees {observations}, which cannot be made a list of numbers of one length")
