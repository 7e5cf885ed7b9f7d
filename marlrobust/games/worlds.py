"""Where the agents of a PettingZoo environment are, as far as it tells: those of MPE have a world of circles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from marlrobust.errors import UserError
from marlrobust.games.places import Places
from marlrobust.games.spaces import Kind
from marlrobust.recorded import Kind as Shape
from marlrobust.recorded import Stage

Circles = Mapping[str, tuple[float, float, float]]
"""Name to x, y (downwards) and radius of what is in a world: agents and landmarks."""

FAR, UNIT = 15.0, 0.0005
"""How far from its middle a world is told, and how finely: MPE's agents start within 1 of it."""


def circles(environment: Any) -> Circles | None:
    """What is in an environment's world, as it is now; None where it has no such world."""
    world = getattr(getattr(environment, "unwrapped", None), "world", None)
    try:
        every = [*world.agents, *world.landmarks]  # type: ignore[union-attr]
        return {
            str(one.name): (float(one.state.p_pos[0]), -float(one.state.p_pos[1]), float(one.size)) for one in every
        }
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def stage(name: str, found: Circles | None, kinds: Sequence[Kind], teams: Sequence[int]) -> Stage:
    """The stage of a round; teams: of each kind. Raises UserError where the environment does not say where its agents
    are."""
    if found is None or not all(agent in found for kind in kinds for agent in kind.agents):
        raise UserError(f"{name} does not say where its agents are: there is nothing to show of its rounds")
    shapes = [_shape(kind.role, team, found, kind.agents) for kind, team in zip(kinds, teams, strict=True)]
    if others := _others(found, kinds):
        shapes.append(_shape("landmarks", -1, found, others))
    return Stage(left=-FAR, top=-FAR, width=2 * FAR, height=2 * FAR, unit=UNIT, kinds=tuple(shapes))


def places(found: Circles, kinds: Sequence[Kind]) -> list[Places]:
    """Where everybody is; agents of such a world do not die."""
    return [_places([found[name] for name in names]) for names in (*(k.agents for k in kinds), _others(found, kinds))]


def _places(those: Sequence[tuple[float, float, float]]) -> Places:
    corners = [(x - radius, y - radius) for x, y, radius in those]
    n = len(corners)
    return Places(np.arange(n), np.array(corners, np.float32).reshape(n, 2), np.ones(n, np.float32))


def _shape(role: str, team: int, found: Circles, names: Sequence[str]) -> Shape:
    size = 2 * found[names[0]][2]
    return Shape(role=role, team=team, size=len(names), body=(size, size))


def _others(found: Circles, kinds: Sequence[Kind]) -> list[str]:
    """Who is in the world, and nobody plays."""
    played = {agent for kind in kinds for agent in kind.agents}
    return [name for name in found if name not in played]
