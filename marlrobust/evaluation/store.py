"""Rows on disk: one sealed JSON file per cell, whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from marlrobust.errors import UserError
from marlrobust.files import Damaged, read_sealed, set_aside, write_sealed
from marlrobust.rows import NAME, Facts, Item, Round, Shared, pack, unpack


class Store:
    """The cells under `folder`."""

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], object],
        facts: type[Shared] = Facts,
        item: type[Item] = Round,
    ) -> None:
        """say: told, in a sentence, of a file that was set aside; facts, item: what a file's rows are made of."""
        self.folder, self.say, self.facts, self.item = folder, say, facts, item

    def path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a cell")
        return self.folder / f"{name}.json"

    def read(self, name: str, items: int, first: int = 0) -> pd.DataFrame | None:
        """The cell's rows, of which there are `items`, numbered from `first`; None where it is not stored.

        A damaged file is named, set aside, and counts as not stored; one that holds something else is named and not
        used. One that cannot be read ends in UserError.
        """
        path = self.path(name)
        try:
            rows = unpack(read_sealed(path), self.facts, self.item)
            self._check(rows, name, items, first)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        except Damaged as error:
            aside = set_aside(path)
            self.say(f"{path} is damaged ({error}): set aside as {aside.name}, its cell is played again")
            return None
        except ValueError as error:  # whole, and not what it is looked for: it stays where it is
            self.say(f"{path} is no cell of this evaluation ({str(error).splitlines()[0]}): not used")
            return None
        return rows

    def _check(self, rows: pd.DataFrame, name: str, items: int, first: int) -> None:
        number = next(iter(self.item.model_fields))
        if rows[number].tolist() != list(range(first, first + items)):
            raise ValueError(f"it has {len(rows)} rows for {items} {number}s")
        if not name.endswith(f"-{rows['cell'].iloc[0]}"):
            raise ValueError("it holds the rows of another cell")

    def holds(self, name: str) -> bool:
        """Whether there is a file for the cell, without looking into it."""
        return self.path(name).exists()

    def write(self, name: str, facts: Shared, items: Sequence[Item]) -> None:
        """Store a cell's rows; raises UserError where the disk takes no more, with all stored before intact."""
        path = self.path(name)
        try:
            write_sealed(path, pack(facts, items))
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}; what was stored before is whole: "
                "make room or choose another --out, and run the same command again"
            ) from None
