"""Cells side by side in processes; the rows are the same whatever their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import wait

import numpy as np

from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import Cell
from marlrobust.evaluation.play import play
from marlrobust.evaluation.recording import Recorder, by_intervals, recorded
from marlrobust.games.game import Game
from marlrobust.recorded import Recorded
from marlrobust.rows import Facts, Round
from marlrobust.workers import Answer, Tell, Worker

DIED = (
    "a worker process died, perhaps for want of memory; what was stored is whole: run the same command again, with "
    "fewer --workers"
)
TICKS = "ticks"
"""A message of rounds played."""

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
    playing: dict[Worker, Cell] = {}

    def hand_over(worker: Worker) -> None:
        playing[worker] = cell = waiting.pop()
        worker.send((cell, watched.get(cell.name, ())))
        on_tick(cell, 0)

    crew: list[Worker] = []
    try:
        for _ in range(workers):
            crew.append(worker := Worker(_player, DIED, daemon=False))  # a game may have processes of its own
            hand_over(worker)
        while playing:
            ready = wait([worker.pipe for worker in playing])
            for worker in [worker for worker in playing if worker.pipe in ready]:
                kind, content = worker.receive()
                cell = playing[worker]
                if kind == TICKS:
                    on_tick(cell, content)
                    continue
                del playing[worker]
                on_rows(cell, *content)
                if waiting:
                    hand_over(worker)
    finally:
        for worker in crew:
            worker.end()


def _watched(cell: Cell, ticks: Ticks, numbers: Sequence[int]) -> tuple[Facts, list[Round], list[Recorded]]:
    """The cell's rows, and its rounds of these numbers as they were seen."""
    recorders = [Recorder(numbers, cell.team, by_intervals(cell))] if numbers else []
    facts, rounds = play(cell, [ticks, *recorders])
    return facts, rounds, [found for recorder in recorders for found in recorded(cell, facts, rounds, recorder)]


def _player() -> Answer:
    """In a worker: plays the cells that it is sent."""

    def answer(asked: tuple[Cell, Sequence[int]], tell: Tell) -> tuple[Facts, list[Round], list[Recorded]]:
        cell, numbers = asked
        return _watched(cell, Ticks(cell.game.max_steps, partial(tell, TICKS)), numbers)

    return answer
