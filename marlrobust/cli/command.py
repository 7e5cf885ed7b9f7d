"""What every command shares: errors that are one sentence, signals that mean the same, options made from settings."""

from __future__ import annotations

import errno
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click

from marlrobust.config import Settings
from marlrobust.errors import UserError
from marlrobust.evaluation.settings import Named
from marlrobust.games import Scenario
from marlrobust.policies.library import RUNS

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose user errors are one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _ended_alike():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nstopped; what was stored is whole: run the same command again to go on", err=True)
            raise SystemExit(130) from None
        except UserError as error:
            raise click.UsageError(str(error), ctx=None) from None
        except MemoryError:
            raise click.UsageError("there is not enough memory; what was stored is whole", ctx=None) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # who read our output wants no more: click ends in silence
            where = f" {error.filename}" if error.filename else ""
            raise click.UsageError(f"cannot use{where}: {error.strerror or error}", ctx=None) from None


@contextmanager
def _ended_alike() -> Iterator[None]:
    """SIGTERM, and a terminal that closes, mean the same as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def say(sentence: str) -> None:
    """Tell the user something that is no result."""
    click.echo(sentence, err=True)


def trust_option(command: F) -> F:
    """Adds --trust."""
    words = "Load also policies in files that can run code (pickles, TorchScript): only of somebody you know."
    return click.option("--trust", is_flag=True, help=words)(command)


def command_line() -> str:
    """What was typed."""
    return shlex.join(["marlrobust", *sys.argv[1:]])


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that were given, by field; the game's settings are a table of their own."""
    values = {k: v for k, v in values.items() if v is not None and v != ()}
    game = dict(values.pop("game_option", ()))
    if "max_steps" in values:
        game["max_steps"] = values.pop("max_steps")
    return {**values, **({"game": game} if game else {})}


def config_option(function: F) -> F:
    """--config FILE."""
    return click.option("--config", type=click.Path(path_type=Path), help="YAML file of settings. Flags win over it.")(
        function
    )


def runs_option(function: F) -> F:
    """--runs FOLDER."""
    text = "Folder of trained policies."
    return click.option("--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True, help=text)(function)


def game_option(function: F) -> F:
    """--game-option NAME=VALUE, for whatever a game can be set to."""
    text = "A setting of the game, as in map_size=16. May be repeated."
    return click.option("--game-option", type=Setting(), multiple=True, metavar="NAME=VALUE", help=text)(function)


def game_options(function: F) -> F:
    """The same, and --steps N for the setting that all games have."""
    return options(Scenario, max_steps="--steps")(game_option(function))


def out_option(text: str) -> Callable[[F], F]:
    """--out FOLDER."""
    return click.option("--out", type=click.Path(path_type=Path), help=text)


def options(kind: type[Settings], **flags: str) -> Callable[[F], F]:
    """An option for each of the fields `flags` of `kind`: its flags, with type, bounds, help and default of the field.

    A value that is not given is None or (), so that a file's, or the default, stays.
    """

    def add(function: F) -> F:
        for name, flag in reversed(flags.items()):
            function = _option(kind, name, flag)(function)
        return function

    return add


def _option(kind: type[Settings], name: str, flag: str) -> Callable[[F], F]:
    field = kind.model_fields[name]
    text = field.description or ""
    if "[default:" not in text and field.default is not None and not field.is_required():
        text += f"  [default: {_shown(field.default)}]"
    hint, *rest = _without_none(field.annotation)
    assert not rest
    how: dict[str, Any] = {"help": text, "default": None}
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is bool:
        how["help"] = text
    elif origin is Literal:
        how["type"] = click.Choice(arguments)
    elif hint is int:
        how |= {"type": Whole(*_bounds(field.metadata)), "metavar": "N"}
    elif hint is float:
        how |= {"type": Number(), "metavar": "X"}
    elif hint is Named:
        how |= {"type": NameAndParameters(), "metavar": "NAME"}
    elif origin is tuple and arguments[0] in (Named, str):
        how |= {"type": NameAndParameters() if arguments[0] is Named else str, "multiple": True, "metavar": "NAME"}
    elif origin is tuple:
        how |= {"type": Numbers(arguments[0]), "metavar": "X,Y,..." if arguments[0] is float else "N,N,..."}
    return click.option(*flag.split(), name, **how)


def _without_none(annotation: Any) -> list[Any]:
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [a for a in alternatives if a is not type(None)]


def _bounds(metadata: list[Any]) -> tuple[int | None, int | None]:
    """A field's smallest and largest value."""
    found: dict[str, int] = {}
    for mark in metadata:
        for name, key, step in (("ge", "least", 0), ("gt", "least", 1), ("le", "most", 0), ("lt", "most", -1)):
            if getattr(mark, name, None) is not None:
                found[key] = getattr(mark, name) + step
    return found.get("least"), found.get("most")


def _shown(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


class Whole(click.ParamType):  # type: ignore[type-arg]
    """A whole number within bounds."""

    name = "whole number"

    def __init__(self, least: int | None, most: int | None) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        bounds = "" if self.least is None else f" of at least {self.least}"
        try:
            number = int(value)
        except ValueError:
            self.fail(f"it takes a whole number{bounds}; not '{value}'", param, ctx)
        if self.least is not None and number < self.least:
            self.fail(f"it takes a whole number{bounds}; not {value}", param, ctx)
        if self.most is not None and number > self.most:
            self.fail(f"it takes a whole number of at most {self.most}; not {value}", param, ctx)
        return number


class NameAndParameters(click.ParamType):  # type: ignore[type-arg]
    """`pgd:steps=20,start=uniform`, as a name and its parameters, which stay text: their own types read it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, dict):
            return value
        name, _, tail = value.partition(":")
        parameters = {}
        for part in filter(None, tail.split(",")):
            key, equals, text = part.partition("=")
            if not equals:
                self.fail(f"it takes NAME or NAME:PARAMETER=VALUE,...; not '{value}'", param, ctx)
            parameters[key.strip()] = text.strip()
        return {"name": name, "parameters": parameters}


class Setting(click.ParamType):  # type: ignore[type-arg]
    """`map_size=16`, as a name and its value, which stays text."""

    name = "setting"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        key, equals, text = value.partition("=")
        if not equals:
            self.fail(f"it takes NAME=VALUE; not '{value}'", param, ctx)
        return key.strip(), text.strip()


class Number(click.ParamType):  # type: ignore[type-arg]
    """A number, or a fraction: 0.075, 8/255."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        text = value.strip()
        if len(text) > 1 and text[0] == "0" and text.isdigit():
            self.fail(
                f"'{text}' begins with 0 and is no fraction: is a comma meant as a point? Write 0.{text}", param, ctx
            )
        try:
            return float(Fraction(text)) if "/" in text else float(text)
        except (ValueError, ZeroDivisionError):
            self.fail(f"it takes numbers, as in 0.075, 8/255 or 0.05,0.1; not '{value}'", param, ctx)


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers of one kind, with commas between them."""

    name = "numbers"

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if self.kind is float:
            return tuple(Number().convert(part, param, ctx) for part in value.split(","))
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"it takes whole numbers, as in 0,8,16; not '{value}'", param, ctx)
