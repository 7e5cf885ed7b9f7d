"""What a user names `module:attribute`: found in the current folder too, or what was probably meant."""

from __future__ import annotations

import inspect
import os
import pkgutil
import sys
from importlib import import_module
from typing import Any

from marlrobust.errors import UserError
from marlrobust.registry import nearest

MOST = 12
"""Names that a sentence lists."""


def module_at(path: str, *roots: str) -> Any:
    """The module called `path`, or that inside one of the packages `roots`, also where its package offers it as an
    attribute alone. Raises UserError where there is none, with the nearest that there is."""
    if os.getcwd() not in sys.path:  # a file beside the one who asks; workers get the same path
        sys.path.insert(0, os.getcwd())
    for place in (path, *(f"{root}.{path}" for root in roots)):
        if (found := _module(place)) is not None:
            return found
    beside = next(filter(None, (_beside(path, prefix) for prefix in ("", *(f"{root}." for root in roots)))), [])
    hint = _hint(path, beside) if beside else ""
    if not hint.endswith("?"):
        top = path.partition(".")[0]
        hint += f" (install the package {top}, or for a file of your own run the command in its folder)"
    raise UserError(f"there is no module {path}{hint}")


def attribute_of(module: Any, name: str, noun: str) -> Any:
    """What a module has at `name`, which may have dots; raises UserError where it has not, with the nearest."""
    thing = module
    for part in name.split("."):
        if not hasattr(thing, part):
            raise UserError(f"there is no {noun} '{name}' in {module.__name__}{_hint(name, _public(module))}")
        thing = getattr(thing, part)
    return thing


def _hint(name: str, known: list[str]) -> str:
    """What was probably meant; if nothing was, some of what there is."""
    meant = nearest(name, known)
    return meant if meant.endswith("?") else nearest(name, known[:MOST])


def _module(path: str) -> Any:
    """None where there is none; raises UserError for one that needs another."""
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise UserError(f"{path} needs the package {error.name}: pip install {error.name}") from None
    parent, _, last = path.rpartition(".")
    try:
        return getattr(import_module(parent), last, None) if parent else None
    except ModuleNotFoundError:
        return None


def _beside(path: str, prefix: str) -> list[str]:
    """The modules where `path` was looked for, behind `prefix`, in the words of `path`."""
    parent, dot, _ = path.rpartition(".")
    try:
        places = list(import_module(prefix + parent).__path__) if parent else [os.getcwd()]
    except (ImportError, AttributeError):
        return []
    names = [found.name for found in pkgutil.iter_modules(places) if not found.name.startswith("_")]
    return [f"{parent}{dot}{name}" for name in names]


def _public(module: Any) -> list[str]:
    """The names that a module makes itself."""
    return [
        name
        for name, thing in vars(module).items()
        if not (name.startswith("_") or inspect.ismodule(thing))
        and (not (inspect.isclass(thing) or inspect.isroutine(thing)) or thing.__module__ == module.__name__)
    ]
