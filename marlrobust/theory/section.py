"""What a part of the theory found: lines for a table, and named values for a file and for figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["holds", "fails", "measured"]


@dataclass(frozen=True)
class Line:
    """what: that was computed; value: as found; said: by the paper, or by whom; verdict: whether the two agree, or
    "measured" where nothing was said."""

    what: str
    value: str
    said: str = ""
    verdict: Verdict = "measured"


@dataclass
class Section:
    """values: everything that was computed, by name, as JSON has it."""

    name: str
    title: str
    about: str
    lines: list[Line] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, value: str, said: str = "", verdict: Verdict = "measured") -> None:
        """One more line."""
        self.lines.append(Line(what, value, said, verdict))

    def check(self, what: str, value: str, said: str, agrees: bool) -> None:
        """One more line, whose verdict is whether it `agrees` with what was said."""
        self.add(what, value, said, "holds" if agrees else "fails")

    def json(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {"title": self.title, "about": self.about, "lines": [vars(line) for line in self.lines], **self.values}


def numbers(values: Sequence[float], digits: int = 2) -> str:
    """A few numbers as one text."""
    return ", ".join(f"{round(float(v), digits) + 0.0:.{digits}f}" for v in values)
