"""Rows on disk: one parquet file a cell, whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from marlrobust.errors import UserError
from marlrobust.files import write_atomically


class Store:
    """The cells under `folder`."""

    def __init__(self, folder: Path, say: Callable[[str], None] = print) -> None:
        """say: told, in a sentence, of a damaged file that was set aside."""
        self.folder, self.say = folder, say

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def read(self, name: str, rounds: int, column: str = "round") -> pd.DataFrame | None:
        """The cell's rows, one for each of `rounds` rounds, which `column` numbers; None where it is not stored.

        A file that is not whole is named, set aside as `.damaged`, and counts as not stored.
        """
        path = self.path(name)
        if not path.exists():
            return None
        try:
            rows = pd.read_parquet(path)
            if sorted(rows[column]) != list(range(rounds)):
                raise ValueError(f"it has {len(rows)} rows for {rounds} {column}s")
        except Exception as error:  # whatever pyarrow makes of damaged bytes
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            self.say(
                f"{path} is damaged ({str(error).splitlines()[0]}): set aside as {aside.name}, its cell runs again"
            )
            return None
        return rows

    def write(self, name: str, rows: pd.DataFrame) -> None:
        """Store a cell's rows; raises UserError where the disk takes no more, with all stored before intact."""
        path = self.path(name)
        try:
            write_atomically(path, lambda temporary: rows.to_parquet(temporary, index=False))
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}; what was stored before is whole: "
                "make room or choose another --out, and run the same command again"
            ) from None
