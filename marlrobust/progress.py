"""Progress for anything over two seconds: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm


class Progress:
    """Counts `unit`s up to `total`, with the time left; a context manager."""

    def __init__(self, total: int, unit: str, label: str, *, done: int = 0, every: float = 15.0) -> None:
        """done: units finished before; every: seconds between plain lines where there is no terminal."""
        self.total, self.unit, self.label, self.every = total, unit, label, every
        self.done = self.first = done
        self.started = self.said = time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = (
            tqdm(total=total, unit=f" {unit}", desc=label, initial=done, dynamic_ncols=True) if terminal else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif self.done > self.first:
            self._say()

    def advance(self, units: int, note: str = "") -> None:
        """`units` more are done; note: a few words beside the bar."""
        self.done += units
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(units)
        elif time.monotonic() - self.said >= self.every:
            self._say(note)

    def _say(self, note: str = "") -> None:
        self.said = time.monotonic()
        elapsed = self.said - self.started
        left = elapsed / max(self.done - self.first, 1) * (self.total - self.done)
        words = f"{self.label}: {self.done} of {self.total} {self.unit} in {elapsed:.0f} s, {left:.0f} s left"
        print(f"{words}  {note}".rstrip(), file=sys.stderr, flush=True)
