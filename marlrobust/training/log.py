"""The training log: a CSV row an iteration, and TensorBoard where its extra is installed."""

from __future__ import annotations

import csv
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from marlrobust.files import write_atomically

LOG = "train.csv"


class TrainingLog:
    """Appends rows to `train.csv` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._board: Any = None

    def write(self, row: dict[str, float]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
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
        """Take over the rows of the log in `folder` up to `iteration`; later ones were not checkpointed."""
        source = folder / LOG
        if not source.exists():
            return
        with open(source, newline="") as file:
            lines = file.readlines()
        kept = lines[:1] + [line for line in lines[1:] if int(line.split(",")[0]) <= iteration]
        write_atomically(self.path, lambda temporary: temporary.write_text("".join(kept)))

    def copy_to(self, folder: Path) -> None:
        write_atomically(folder / LOG, lambda temporary: shutil.copyfile(self.path, temporary))
