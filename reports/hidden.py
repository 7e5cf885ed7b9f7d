"""Paths as a report shows them: nothing of the machine's folders."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

PATH = re.compile(r"(?<![\w.…:/])/[^\s,;:'\"]+")
"""An absolute path inside a text: it begins where no name, number or address goes before."""


def command(text: str, here: Path) -> str:
    """A command line whose absolute paths are relative to `here`, or `…/` and their last part."""
    try:
        words = shlex.split(text)
    except ValueError:  # no shell would take it: as a sentence then
        return sentence(text, here)
    return " ".join(_quoted(value(word, here)) for word in words)


def sentence(text: str, here: Path) -> str:
    """The same in running text."""
    return PATH.sub(lambda match: shorter(match[0], here), text)


def value(thing: Any, here: Path) -> Any:
    """The same in settings: every text in tables and lists; a path may hold spaces there."""
    if isinstance(thing, dict):
        return {key: value(item, here) for key, item in thing.items()}
    if isinstance(thing, list | tuple):
        return [value(item, here) for item in thing]
    if not isinstance(thing, str):
        return thing
    name, equals, rest = thing.rpartition("=")
    return f"{name}{equals}{shorter(rest, here)}" if rest.startswith("/") else sentence(thing, here)


def shorter(path: str, here: Path) -> str:
    """`results/a` below `here`, `…/a` elsewhere."""
    absolute = Path(path)
    if absolute.is_relative_to(here):
        return str(absolute.relative_to(here))
    return f"…/{absolute.name}"


def _quoted(word: str) -> str:
    return word if "…" in word and " " not in word else shlex.quote(word)
