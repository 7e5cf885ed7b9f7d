"""Files inside the page: who was sent one file has the rows and the tables too."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass

MOST_BYTES = 1_500_000
"""Of a file that stands in the page too."""


@dataclass(frozen=True)
class Download:
    """A file inside the page. data: as a URL, or nothing where it is too large; note: what it is."""

    name: str
    note: str
    data: str


INSIDE = {
    "rows.csv": "one row per round, packed with gzip",
    "table.csv": "every number of this page",
    "table.tex": "the tables for LaTeX (booktabs)",
}
"""What the page holds of the files beside it."""


def downloads(files: Mapping[str, bytes]) -> list[Download]:
    """The files of `INSIDE` that there are; rows are many, and packed."""
    found = []
    for name, note in INSIDE.items():
        content = files.get(name, b"")
        packed, kind = name.startswith("rows"), "text/plain"
        if packed:
            content, name, kind = gzip.compress(content, mtime=0), f"{name}.gz", "application/gzip"
        data = f"data:{kind};base64,{base64.b64encode(content).decode()}" if len(content) <= MOST_BYTES else ""
        found += [Download(name, note, data)] if files else []
    return found
