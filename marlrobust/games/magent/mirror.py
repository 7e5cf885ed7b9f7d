"""The mirrors of MAgent2's square maps: left to right, and top to bottom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marlrobust.games.game import Ints
from marlrobust.games.symmetry import Symmetry

IDENTITY = 10  # numbers of an agent's identity, the first of its features


def mirrors(
    map_size: int, view: tuple[int, int, int], minimaps: Sequence[int], moves: float, hits: float
) -> tuple[Symmetry, ...]:
    """The three mirrors of a square map without walls inside, for agents of one cell; none where the minimap, of
    coarser cells, has none.

    view: (height, width, channels) of what an agent sees; minimaps: which channels are the minimap's; moves, hits:
    radii in cells of the actions to move, and to attack another cell.
    """
    coarse = -(-map_size // view[0])  # cells per cell of the minimap
    if map_size % coarse:
        return ()
    left_right, top_bottom = (
        _mirror(map_size, map_size // coarse, view, minimaps, (moves, hits), axis) for axis in (1, 0)
    )
    return left_right, top_bottom, left_right.then(top_bottom)


def _mirror(
    map_size: int, bins: int, view: tuple[int, int, int], minimaps: Sequence[int], radii: tuple[float, float], axis: int
) -> Symmetry:
    """axis: 1 turns x, 0 turns y. bins: cells of the minimap that are used, per side."""
    moves, hits = radii
    actions = np.concatenate([_circle(moves, axis), len(_circle(moves, axis)) + _circle(hits, axis, middle=False)])
    at = np.indices(view)
    here = at[axis]
    minimap = np.isin(at[2], minimaps)
    turned_minimap = np.where(here < bins, bins - 1 - here, here)
    at[axis] = np.where(minimap, turned_minimap, view[axis] - 1 - here)
    of_view = np.ravel_multi_index(tuple(at), view).ravel()
    first = len(of_view)
    last_action = first + IDENTITY + actions
    columns = np.concatenate([of_view, first + np.arange(IDENTITY), last_action])
    others = len(columns) + np.arange(3)  # the last reward, x, y
    turned = np.full(len(columns) + 3, np.nan, np.float32)
    turned[others[2 - axis]] = np.float32((map_size - 1) / map_size)
    return Symmetry(np.concatenate([columns, others]), turned, actions)


def _circle(radius: float, axis: int, *, middle: bool = True) -> Ints:
    """Of the cells within `radius`, numbered by y, then x: the number of each one's mirror image."""
    reach = range(-int(radius), int(radius) + 1)
    cells = [(y, x) for y in reach for x in reach if x * x + y * y <= radius * radius and (middle or x or y)]
    image = [(y, -x) if axis == 1 else (-y, x) for y, x in cells]
    return np.array([cells.index(cell) for cell in image])
