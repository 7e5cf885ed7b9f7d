"""Progress for anything over two seconds: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

FIRST = 2.0
"""Seconds after which the time left is worth telling."""


class Progress:
    """Counts `unit`s up to `total`, with the time left; a context manager. Says nothing where nothing is to do."""

    def __init__(
        self, label: str, unit: str, total: int = 1, cost: float | None = None, *, done: int = 0, every: float = 15.0
    ) -> None:
        """cost: of all units that are to be done, where some take longer than others; done: units finished before;
        every: seconds between plain lines where there is no terminal."""
        self.label, self.unit, self.total, self.every = label, unit, total, every
        self.cost = float(total - done) if cost is None else cost
        self.done, self.paid = float(done), 0.0
        self.started = self.said = time.monotonic()
        self.bar: Any = None
        if total > done and sys.stderr.isatty():
            shape = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}{postfix}"
            self.bar = tqdm(
                total=total, unit=f" {unit}", desc=label, initial=done, dynamic_ncols=True, bar_format=shape
            )
        elif total > done:
            self._say("")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif self.paid:
            self._say("")

    def advance(self, units: float, note: str = "", cost: float | None = None) -> None:
        """`units` more are done, or a part of one, at `cost`, one each if not given; note: a few words beside them."""
        self.done = min(self.done + units, self.total)
        self.paid += units if cost is None else cost
        if self.bar is not None:
            self.bar.set_postfix_str(", ".join(filter(None, [self._left(), note])), refresh=False)
            self.bar.n = round(self.done)
            self.bar.refresh()
        elif time.monotonic() - self.said >= self.every:
            self._say(note)

    def at(self, done: int, total: int) -> None:
        """`done` units of `total` are done, where that is known only on the way."""
        self.total, self.cost = total, float(total)
        if self.bar is not None:
            self.bar.total = total
        self.advance(done - self.done)

    def _left(self) -> str:
        elapsed = time.monotonic() - self.started
        if elapsed < FIRST or not self.paid or self.done >= self.total:
            return ""
        return f"about {duration(elapsed / self.paid * max(self.cost - self.paid, 0))} left"

    def _say(self, note: str) -> None:
        self.said = time.monotonic()
        words = [
            f"{self.done:.0f} of {self.total} {self.unit}",
            f"{duration(self.said - self.started)}",
            self._left(),
            note,
        ]
        print(f"{self.label}: {', '.join(filter(None, words))}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
