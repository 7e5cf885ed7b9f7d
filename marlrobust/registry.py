"""Names for the things that users plug in: a table of paths, entry points, a decorator, and "did you mean"."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from marlrobust.errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to a `T`: of this package, of an installed one (by entry point), or of a script (by decorator).

    Names are known without importing anything; an entry is imported when it is asked for. A plug-in that cannot be
    used is named on standard error, once, and left out.
    """

    def __init__(self, noun: str, group: str, builtin: Mapping[str, str], *, base: str) -> None:
        """noun: what an entry is, for messages; group: the entry-point group that adds entries; builtin: name to
        `module:attribute`; base: the class, as `module:attribute`, that an entry is a kind or an instance of."""
        self.noun, self.group, self.base = noun, group, base
        self._paths = dict(builtin)
        self._entries: dict[str, T] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds its object as `name`; raises ValueError where the name is taken."""

        def add(entry: T) -> T:
            if name in self._paths or self._entries.get(name, entry) is not entry:
                raise ValueError(f"the {self.noun} '{name}' is there already")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """The entry called `name`; raises UserError, with the nearest name, where there is none, or with the reason
        where it is a plug-in that does not load."""
        self.check(name)
        if name not in self._entries:
            self._entries[name] = self._load(name)
        return self._entries[name]

    def check(self, name: str) -> None:
        """Raises UserError for a name that there is not, without importing anything."""
        names = list(self)
        if name not in names:
            raise UserError(unknown(self.noun, name, names))

    def __iter__(self) -> Iterator[str]:
        """Every name, whether its entry can be loaded or not."""
        return iter(dict.fromkeys([*self._paths, *self._found(), *self._entries]))

    def items(self) -> list[tuple[str, T]]:
        """Every entry that loads."""
        loaded = []
        for name in list(self):
            try:
                loaded.append((name, self[name]))
            except UserError as error:
                self._plugins = {k: v for k, v in self._found().items() if k != name}
                print(f"left out: {error}", file=sys.stderr)
        return loaded

    def _found(self) -> dict[str, EntryPoint]:
        """The plug-ins of installed packages; those that take a name that is taken are left out."""
        if self._plugins is None:
            self._plugins = {}
            for point in entry_points(group=self.group):
                if point.name in self._paths or point.name in self._plugins:
                    words = f"the installed {self.noun} '{point.name}' ({point.value})"
                    print(f"left out: {words} takes the name of another {self.noun}", file=sys.stderr)
                else:
                    self._plugins[point.name] = point
        return self._plugins

    def _load(self, name: str) -> T:
        if name in self._paths:
            entry: T = imported(self._paths[name])
            return entry
        point = self._found()[name]
        try:
            entry = point.load()
        except (Exception, SystemExit) as error:
            raise UserError(
                f"the installed {self.noun} '{name}' ({point.value}) does not load: {error!r}; "
                "mend or uninstall its package"
            ) from error
        base = imported(self.base)
        if not (isinstance(entry, base) or (isinstance(entry, type) and issubclass(entry, base))):
            raise UserError(f"the installed {self.noun} '{name}' ({point.value}) is no {base.__name__}")
        return entry


def imported(path: str) -> Any:
    """The object at `module:attribute`."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def unknown(noun: str, name: str, known: Iterable[str]) -> str:
    """A sentence for a name that is not among `known`, with the nearest that is."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun.removesuffix('s')}s"
    return f"unknown {noun} '{name}'{nearest(name, known)} (see 'marlrobust list {plural}')"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of such a sentence: the one of `known` that was probably meant, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean '{near[0]}'?" if near else f"; there are {', '.join(names) or 'none'}"
