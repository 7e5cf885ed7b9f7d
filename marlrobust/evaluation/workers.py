"""Cells side by side in processes; the rows are the same whatever their number."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pandas as pd

from marlrobust.errors import UserError
from marlrobust.evaluation.sweep import Cell, play

_ended: Any = None  # in a worker: where it tells of rounds that ended


def _start(ended: Any) -> None:
    global _ended
    _ended = ended


def _play(cell: Cell) -> pd.DataFrame:
    return play(cell, _ended.put)


def play_all(
    cells: Sequence[Cell],
    workers: int,
    on_rows: Callable[[Cell, pd.DataFrame], None],
    on_end: Callable[[int], None],
) -> None:
    """Play `cells` in up to `workers` processes; `on_rows` gets each cell's rows as soon as they are there.

    on_end: called with numbers of rounds that ended.
    """
    workers = min(workers, len(cells))
    if workers <= 1:
        for cell in cells:
            on_rows(cell, play(cell, on_end))
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's and the engine's threads half
    ended = context.Queue()
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(ended,)) as pool:
        waiting = {pool.submit(_play, cell): cell for cell in cells}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                _drain(ended, on_end)
                for future in done:
                    on_rows(waiting.pop(future), future.result())
        except BrokenProcessPool:
            raise UserError(
                "a worker process died, perhaps for want of memory; what was stored is whole: "
                "run the same command again, with fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
            raise
        _drain(ended, on_end)


def _drain(ended: Any, on_end: Callable[[int], None]) -> None:
    try:
        while True:
            on_end(ended.get_nowait())
    except queue.Empty:
        pass
