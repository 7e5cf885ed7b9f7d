"""Cells side by side in processes; the rows are the same whatever their number.

Each worker has a pipe of its own: nothing is shared that a killed one could leave locked.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import Cell
from marlrobust.evaluation.play import play
from marlrobust.evaluation.recording import Recorder, by_intervals, recorded
from marlrobust.games.game import Game
from marlrobust.recorded import Recorded
from marlrobust.rows import Facts, Round

OnRows = Callable[[Cell, Facts, list[Round], list[Recorded]], None]
OnTick = Callable[[Cell, float], None]


class Ticks(Observer):
    """Tells how many rounds have been played, parts of rounds included, a few times per second."""

    EVERY = 0.2

    def __init__(self, max_steps: int, tell: Callable[[float], object]) -> None:
        """max_steps: of a round; tell: given the rounds played since it was called last."""
        self.max_steps, self.tell = max_steps, tell
        self.before, self.untold, self.last = 0.0, 0.0, 0.0

    def stepped(self, game: Game) -> None:
        """See `Observer.stepped`."""
        played = float(np.where(game.active, game.steps / self.max_steps, 1.0).sum())
        self.untold += played - self.before
        over = not game.active.any()
        self.before = 0.0 if over else played  # another batch of rounds begins with none
        if over or time.monotonic() - self.last > self.EVERY:
            self.last = time.monotonic()
            self.tell(self.untold)
            self.untold = 0.0


def play_all(
    cells: Sequence[Cell],
    workers: int,
    on_rows: OnRows,
    on_tick: OnTick,
    watched: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Play `cells` in up to `workers` processes; `on_rows` gets each cell's rows as soon as they are there.

    watched: a cell's name to the numbers of its rounds that are recorded, which `on_rows` gets too.
    on_tick: told of a cell, and of how many of its rounds were played. Whatever ends this, no worker stays.
    """
    workers, watched = min(workers, len(cells)), watched or {}
    if workers <= 1:
        for cell in cells:
            on_tick(cell, 0)
            ticks = Ticks(cell.game.max_steps, partial(on_tick, cell))
            on_rows(cell, *_watched(cell, ticks, watched.get(cell.name, ())))
        return
    waiting = list(reversed(cells))

    def hand_over(worker: _Worker) -> None:
        worker.cell = cell = waiting.pop()
        worker.pipe.send((cell, watched.get(cell.name, ())))
        on_tick(cell, 0)

    crew: list[_Worker] = []
    busy: dict[Any, _Worker] = {}
    try:
        for _ in range(workers):
            crew.append(worker := _Worker())
            busy[worker.pipe] = worker
            hand_over(worker)
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                kind, content = worker.receive()
                if kind == "ticks":
                    on_tick(worker.cell, content)
                    continue
                if kind == "failed":
                    raise content
                on_rows(worker.cell, *content)
                if waiting:
                    hand_over(worker)
                else:
                    del busy[worker.pipe]
    finally:
        for worker in crew:
            worker.end()


def _watched(cell: Cell, ticks: Ticks, numbers: Sequence[int]) -> tuple[Facts, list[Round], list[Recorded]]:
    """The cell's rows, and its rounds of these numbers as they were seen."""
    recorders = [Recorder(numbers, cell.team, by_intervals(cell))] if numbers else []
    facts, rounds = play(cell, [ticks, *recorders])
    return facts, rounds, [found for recorder in recorders for found in recorded(cell, facts, rounds, recorder)]


class _Worker:
    """A process that plays the cells that it is sent."""

    cell: Cell

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's and the engine's threads half
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        with _undisturbed():
            self.process.start()
        theirs.close()

    def receive(self) -> tuple[str, Any]:
        try:
            message: tuple[str, Any] = self.pipe.recv()
            return message
        except (EOFError, OSError):
            raise UserError(
                "a worker process died, perhaps for want of memory; what was stored is whole: "
                "run the same command again, with fewer --workers"
            ) from None

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that end a program wait until this is over; a process that is started in it never gets them.

    A terminal sends Ctrl-C to every process: it is the parent that says when a worker ends.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """In a worker: play what comes; end with the parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            cell, numbers = pipe.recv()
            try:
                ticks = Ticks(cell.game.max_steps, lambda rounds: pipe.send(("ticks", rounds)))
                pipe.send(("rows", _watched(cell, ticks, numbers)))
            except UserError as error:
                pipe.send(("failed", error))
            except MemoryError:
                pipe.send(("failed", UserError("there is not enough memory: use fewer --workers, or fewer --rounds")))
            except (EOFError, OSError):
                raise
            except Exception:
                pipe.send(("failed", RuntimeError(f"in a worker process:\n{traceback.format_exc()}")))
    except (EOFError, OSError):
        return  # the parent has closed the pipe


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
