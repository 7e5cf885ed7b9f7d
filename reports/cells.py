"""Rows taken apart into cells: what was run once, identified by its digest, never by a name that is shown."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from marlrobust.metrics import METRICS
from marlrobust.rows import Facts

SETTING = ["opponent", "opponent_hash", "game", "greedy", "seed", "instructions"]
"""How a policy is played, whatever attacks it."""

SIDE = ["scenario", "policy", "policy_hash", "method", *SETTING]
"""Whose rounds, of one number, are pairs: cells that agree in these differ in what attacks them alone."""

THREAT = ["epsilon", "norm", "features"]
WHO = ["victims", "victims_parameters", "budget"]

COUNTED = [
    *(metric.column for metric in METRICS),
    *("draw", "steps", "cut", "swapped", "decisions", "flips", "displacement", "proven"),
]
"""What is counted in each round."""

Key = tuple[Any, ...]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cell:
    """facts: what all its rows share, by the names of `rows.Facts`, or as `cell[name]`.

    rounds: the numbers in `COUNTED`, NaN where a game has no such thing; the index is the round's own number.
    """

    facts: dict[str, Any]
    rounds: pd.DataFrame

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    @cached_property
    def arrays(self) -> dict[str, Floats]:
        """The columns of `rounds`, (n,) each."""
        return {str(name): self.rounds[name].to_numpy(float) for name in self.rounds}

    def values(self, column: str) -> Floats:
        """What is known of a column, (m,)."""
        found = self.arrays[column]
        return found[~np.isnan(found)]

    def key(self, names: Iterable[str]) -> Key:
        return tuple(self.facts[name] for name in names)

    @property
    def clean(self) -> bool:
        return bool(self["attacked_agents"] == 0)

    @cached_property
    def side(self) -> Key:
        """The values of `SIDE`, and what computed the rounds."""
        return (*self.key(SIDE), json.dumps(computed(self["versions"]), sort_keys=True))

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Of the attack: those of its threat, but for what has a column of its own, beside the others."""
        known = dict(read(self["attack_parameters"]))
        threat = known.pop("threat", None) or {}
        return {k: v for k, v in threat.items() if k not in THREAT} | known

    @cached_property
    def attack(self) -> str:
        """Identity of the attack with its parameters, whatever the radius."""
        return f"{self['attack']} {json.dumps(self.parameters, sort_keys=True)}"


def pairs(one: Cell, other: Cell, column: str) -> tuple[Floats, Floats]:
    """A column's values in the rounds of one number that both cells have, (m,) each: they share start and chance."""
    a, b = one.rounds.index.to_numpy(), other.rounds.index.to_numpy()
    left, right = one.arrays[column], other.arrays[column]
    if not np.array_equal(a, b):
        _, at, there = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        left, right = left[at], right[there]
    known = ~np.isnan(left + right)
    return left[known], right[known]


def cells_of(rows: pd.DataFrame) -> list[Cell]:
    """The cells of `rows`, in the order of their first rows; raises ValueError where a column is missing."""
    names = list(Facts.model_fields)
    if missing := [name for name in names if name not in rows.columns]:
        raise ValueError(f"the rows have no column {', '.join(missing)}")
    facts = rows.drop_duplicates("cell")[names].to_dict("records")
    counted = rows.set_index(["cell", "round"])[COUNTED].astype(float)
    rounds = {cell: part.droplevel("cell") for cell, part in counted.groupby(level="cell", sort=False)}
    return [Cell({str(k): v for k, v in own.items()}, rounds[own["cell"]]) for own in facts]


@cache
def read(text: Any) -> dict[str, Any]:
    """A column's JSON; nothing where it is empty."""
    found = json.loads(text) if isinstance(text, str) and text else {}
    return found if isinstance(found, dict) else {}


def computed(versions: Any) -> dict[str, Any]:
    """Versions of what computes a number: the interpreter's is no part of it."""
    return {name: version for name, version in read(versions).items() if name != "python"}


def grouped(cells: Iterable[Cell], by: Callable[[Cell], Any]) -> dict[Any, list[Cell]]:
    """The cells that are alike in `by`."""
    groups: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[by(cell)].append(cell)
    return dict(groups)


def clean_of(cells: Iterable[Cell]) -> dict[Cell, Cell]:
    """Each attacked cell to the clean one of its side, where there is one.

    Of several it is one that was asked for with the same norm and features, then the one with most rounds.
    """
    cells = list(cells)
    clean = grouped((cell for cell in cells if cell.clean), lambda cell: cell.side)

    def nearest(cell: Cell) -> Cell:
        like = ["norm", "features"]
        return max(clean[cell.side], key=lambda o: (o.key(like) == cell.key(like), len(o.rounds), o["cell"]))

    return {cell: nearest(cell) for cell in cells if not cell.clean and cell.side in clean}
