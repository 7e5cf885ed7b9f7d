"""The training log: a CSV row per batch of rounds, and TensorBoard where its extra is installed."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from marlrobust.files import set_aside, write_bytes
from marlrobust.policies.library import LOG
from marlrobust.training.state import storing

COUNT = re.compile(r"[0-9]{1,9}")

Say = Callable[[str], None]


def to_stderr(sentence: str) -> None:
    """The `say` of those who give no other."""
    print(sentence, file=sys.stderr, flush=True)


class TrainingLog:
    """Appends rows to `train.csv` in `folder`."""

    def __init__(self, folder: Path, columns: Sequence[str], say: Say = to_stderr) -> None:
        """columns: of every row, the first two the batch's number and the rounds so far; say: told what is wrong."""
        self.path, self.columns, self.say = folder / LOG, tuple(columns), say
        self._board: Any = None

    def write(self, row: dict[str, float]) -> None:
        """Add a row; raises UserError where it cannot be written."""
        with storing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            with open(self.path, "a", newline="") as file:
                writer = csv.DictWriter(file, self.columns)
                if new:
                    writer.writeheader()
                writer.writerow(row)
            if find_spec("tensorboard"):
                self._write_board(row)

    def _write_board(self, row: dict[str, float]) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path.parent / "tensorboard"))
        for name, value in row.items():
            self._board.add_scalar(name, value, row["rounds"])
        self._board.flush()

    def continue_from(self, folder: Path, iteration: int) -> None:
        """Take over the rows of the log in `folder` up to `iteration`; later ones were not checkpointed.

        Of a damaged log the rows that can be read are kept, it is set aside, and said.
        """
        source = folder / LOG
        if not source.exists():
            return
        rows, whole = _read(source, self.columns)
        if not whole:
            self.say(f"{source} is damaged: it is now {set_aside(source)}, and the rows that can be read are kept")
            self._store(source, rows)
        self._store(self.path, [row for row in rows if int(row[0]) <= iteration])

    def copy_to(self, folder: Path) -> None:
        """Store the log in `folder` too."""
        with storing(folder / LOG):
            write_bytes(folder / LOG, self.path.read_bytes())

    def _store(self, path: Path, rows: list[list[str]]) -> None:
        lines = [",".join(cells) for cells in (self.columns, *rows)]
        with storing(path):
            write_bytes(path, "".join(f"{line}\r\n" for line in lines).encode())


def logged_rounds(folder: Path) -> int:
    """Rounds that the log in `folder` tells of, as far as it can be read; 0 where there is none."""
    path = folder / LOG
    return max((int(row[1]) for row in _read(path)[0]), default=0) if path.is_file() else 0


def _read(path: Path, columns: tuple[str, ...] = ()) -> tuple[list[list[str]], bool]:
    """The rows that can be read, as text, and whether that is all there is; columns: that it must have, if any."""
    lines = path.read_bytes().decode(errors="replace").replace("\r\n", "\n").removesuffix("\n").split("\n")
    header, *rows = [line.split(",") for line in lines]
    if columns and tuple(header) != columns:
        return [], False
    good = [row for row in rows if _is_row(row, len(header))]
    return good, len(good) == len(rows)


def _is_row(cells: list[str], width: int) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return len(cells) == width >= 2 and all(COUNT.fullmatch(cell) for cell in cells[:2])
