"""What every command shares: errors that are one sentence, signals that mean the same, options made from settings."""

from __future__ import annotations

import errno
import json
import math
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource

from marlrobust.config import FieldError, Settings
from marlrobust.errors import UserError
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
        except FieldError as error:
            raise click.UsageError(error.told(_typed(ctx)), ctx=None) from None
        except UserError as error:
            raise click.UsageError(str(error), ctx=None) from None
        except MemoryError:
            raise click.UsageError("there is not enough memory; what was stored is whole", ctx=None) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # who read our output wants no more: click ends in silence
            where = f" {error.filename}" if error.filename else ""
            raise click.UsageError(f"cannot use{where}: {error.strerror or error}", ctx=None) from None


def _typed(ctx: click.Context) -> dict[str, str]:
    """Field to the flag by which it was given; a setting of the game with and without the table in which it stands."""
    flags: dict[str, str] = {}
    for text in ctx.params.get("game_option", ()):
        name = text.partition("=")[0].strip()
        flags |= dict.fromkeys((name, f"game.{name}"), f"--game-option {name}")
    for option in ctx.command.params:
        if option.name and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            flags |= dict.fromkeys((option.name, f"game.{option.name}"), option.opts[0])
    return flags


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


def json_option(command: F) -> F:
    """Adds --json, for a command that then prints JSON and nothing else; progress and notes stay on standard error."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def print_json(content: Any) -> None:
    """Print `content`; a number that is none becomes null."""
    click.echo(json.dumps(_plain(content), indent=1, ensure_ascii=False))


def _plain(content: Any) -> Any:
    """The same in JSON's own types: NaN and infinity are none of them."""
    if isinstance(content, dict):
        return {str(name): _plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content if isinstance(content, bool | int | float | str | None) else str(content)


def command_line() -> str:
    """What was typed."""
    return shlex.join(["marlrobust", *sys.argv[1:]])


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that were given, by field; the game's settings are a table of their own."""
    values = {k: v for k, v in values.items() if v is not None and v != ()}
    game = {}
    for text in values.pop("game_option", ()):
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--game-option takes NAME=VALUE; not '{text}'")
        game[name.strip()] = value.strip()
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
    return click.option("--game-option", multiple=True, metavar="NAME=VALUE", help=text)(function)


def game_options(function: F) -> F:
    """The same, and --steps N for the setting that all games have."""
    return options(Scenario, max_steps="--steps")(game_option(function))


def out_option(text: str) -> Callable[[F], F]:
    """--out FOLDER."""
    return click.option("--out", type=click.Path(path_type=Path), help=text)


def options(kind: type[Settings], **flags: str) -> Callable[[F], F]:
    """An option for each of the fields `flags` of `kind`: its flag, with the field's help and default.

    Values stay text, which the settings read; one that is not given is None or (), so that a file's, or the default,
    stays.
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
    hint = next(kind for kind in (*get_args(field.annotation), field.annotation) if kind is not type(None))
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    how: dict[str, Any] = {"help": text, "default": None}
    if get_origin(field.annotation) is Literal:
        how["type"] = click.Choice(get_args(field.annotation))
    elif get_origin(field.annotation) is tuple:
        several = hint in (int, float)  # of which several are typed as one
        how |= {"multiple": not several, "metavar": "X,Y,..." if several else "NAME"}
    elif "/" not in flag:
        how["metavar"] = {int: "N", float: "X", str: "NAME"}.get(hint, "NAME")
    return click.option(*flag.split(), name, **how)


def _shown(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(_shown, value)) if isinstance(value, tuple) else str(value)
