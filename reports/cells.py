"""Rows taken apart into cells: what was run once, identified by its digest, never by a name that is shown."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pandas as pd

from marlrobust.rows import Facts

SETTING = ["opponent", "opponent_hash", "game", "greedy", "seed", "instructions"]
"""How a policy is played, whatever attacks it."""

SIDE = ["scenario", "policy", "policy_hash", "method", *SETTING]
"""Whose rounds, of one number, are pairs: cells that agree in these differ in what attacks them alone."""

THREAT = ["epsilon", "norm", "features"]
WHO = ["victims", "victims_parameters", "budget"]

OF_POLICY = {"digest", "adversary", "source", "hash"}
"""Parameters that an attack has of the policy that it meets: no other attack for that."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Cell:
    """facts: what all its rows share, by the names of `rows.Facts`; rounds: its rows."""

    facts: dict[str, Any]
    rounds: pd.DataFrame

    @property
    def clean(self) -> bool:
        return self.count == 0

    @property
    def count(self) -> int:
        """Attacked agents."""
        return int(self.facts["attacked_agents"])

    @cached_property
    def side(self) -> Key:
        """The values of `SIDE`, and what computed the rounds."""
        return (*self.key(SIDE), json.dumps(computed(self.facts["versions"]), sort_keys=True))

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Of the attack: those of its threat, but for what has a column of its own, beside the others."""
        known = dict(read(self.facts["attack_parameters"]))
        threat = known.pop("threat", None) or {}
        return {k: v for k, v in threat.items() if k not in THREAT} | known

    @cached_property
    def attack(self) -> str:
        """Identity of the attack with its parameters, whatever the radius."""
        return f"{self.facts['attack']} {json.dumps(self.parameters, sort_keys=True)}"

    @cached_property
    def _columns(self) -> dict[str, dict[tuple[int, int], float]]:
        return {}

    def key(self, names: Iterable[str]) -> Key:
        return tuple(self.facts[name] for name in names)

    def by_round(self, column: str) -> dict[tuple[int, int], float]:
        """(seed, round) to the number in `column`, where there is one."""
        if column not in self._columns:
            values = self.rounds[column].astype("Float64")
            pairs = zip(self.rounds["seed"].tolist(), self.rounds["round"].tolist(), values.tolist(), strict=True)
            self._columns[column] = {(s, r): float(v) for s, r, v in pairs if not pd.isna(v)}
        return self._columns[column]

    def flip_rates(self) -> dict[tuple[int, int], float]:
        """(seed, round) to the share of its attacked decisions that changed."""
        decisions, flips = self.by_round("decisions"), self.by_round("flips")
        return {key: flips[key] / n for key, n in decisions.items() if n}


def cells_of(rows: pd.DataFrame) -> list[Cell]:
    """The cells of `rows`, in the order of their first rows; raises ValueError where a column is missing."""
    if missing := [name for name in Facts.model_fields if name not in rows.columns]:
        raise ValueError(f"the rows have no column {', '.join(missing)}")
    facts = list(Facts.model_fields)
    return [
        Cell(dict(zip(facts, part[facts].iloc[0], strict=True)), part) for _, part in rows.groupby("cell", sort=False)
    ]


@cache
def read(text: Any) -> dict[str, Any]:
    """A column's JSON; nothing where it is empty."""
    found = json.loads(text) if isinstance(text, str) and text else {}
    return found if isinstance(found, dict) else {}


def computed(versions: Any) -> dict[str, Any]:
    """Versions of what computes a number: the interpreter's is no part of it."""
    return {name: version for name, version in read(versions).items() if name != "python"}


def grouped(cells: Iterable[Cell], names: list[str], *, attack: bool) -> list[list[Cell]]:
    """The cells of one side that agree in `names`, and, if asked, in the attack with its parameters."""
    groups: dict[Key, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.side, cell.key(names), cell.attack if attack else None].append(cell)
    return list(groups.values())


def clean_of(cells: Iterable[Cell]) -> dict[str, Cell]:
    """Digest of each attacked cell to the clean cell of its side, where there is one.

    Of several it is one that was asked for with the same norm and features, then the one with most rounds.
    """
    cells = list(cells)
    clean: dict[Key, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.clean:
            clean[cell.side].append(cell)

    def nearness(one: Cell, other: Cell) -> tuple[bool, int, str]:
        same = one.key(["norm", "features"]) == other.key(["norm", "features"])
        return same, len(one.rounds), str(one.facts["cell"])

    found = {}
    for cell in cells:
        if not cell.clean and clean[cell.side]:
            found[str(cell.facts["cell"])] = max(clean[cell.side], key=lambda one: nearness(one, cell))
    return found
