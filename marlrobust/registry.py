"""Names for the things that users plug in: a decorator, entry points, and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from marlrobust.errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to a `T`, from this package, by decorator, or from an installed one, by entry point."""

    def __init__(self, noun: str, group: str | None = None) -> None:
        """noun: what an entry is, for messages; group: the entry-point group that adds entries."""
        self.noun = noun
        self.group = group
        self._entries: dict[str, T] = {}
        self._loaded = group is None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds its object as `name`; raises ValueError where the name is taken."""

        def add(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ValueError(f"{self.noun} '{name}' is registered twice: {self._entries[name]!r}, {entry!r}")
            self._entries[name] = entry
            return entry

        return add

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for point in entry_points(group=self.group or ""):
            try:
                entry = point.load()
            except Exception as error:
                raise UserError(
                    f"the installed {self.noun} '{point.name}' ({point.value}) does not load: {error!r}; "
                    "mend or uninstall its package"
                ) from error
            self.register(point.name)(entry)

    def __getitem__(self, name: str) -> T:
        """The entry called `name`; raises UserError with the nearest name where there is none."""
        self._load()
        if name not in self._entries:
            raise UserError(unknown(self.noun, name, self._entries))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def items(self) -> list[tuple[str, T]]:
        self._load()
        return list(self._entries.items())


def unknown(noun: str, name: str, known: Iterable[str]) -> str:
    """A sentence for a name that is not among `known`, with the nearest that is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f": did you mean '{near[0]}'?" if near else f"; there are {', '.join(names)}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun.removesuffix('s')}s"
    return f"unknown {noun} '{name}'{hint} (see 'marlrobust list {plural}')"
