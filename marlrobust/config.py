"""Settings: typed, checked, and read from YAML. Which settings there are, their rooms say themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from marlrobust.errors import UserError


class Settings(BaseModel):
    """Base of all settings: no unknown fields, no change after the check, no NaN or infinity.

    A field's description is its help on the command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


class FieldError(UserError):
    """What is wrong with settings: a field's path (`epsilons.0`; empty where several do not go together) and what is
    wrong with it."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.told({}))

    def told(self, flags: Mapping[str, str]) -> str:
        """One sentence. flags: fields to what was typed to set them; a part of a field is called by its flag too."""
        return "; ".join(f"{_called(path, flags)}: {words}" if path else words for path, words in self.problems)

    def inside(self, table: str) -> FieldError:
        """The same of settings that stand in the field `table` of others."""
        return FieldError([(f"{table}.{path}" if path else table, words) for path, words in self.problems])


def _called(path: str, flags: Mapping[str, str]) -> str:
    parts = path.split(".")
    wholes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((flags[whole] for whole in wholes if whole in flags), path)


def resolve(kind: type[S], *layers: dict[str, Any]) -> S:
    """Settings of `kind` from layers of values, the later ones winning; raises FieldError that names the field."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merge(merged, layer)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise FieldError(_problems(error)) from None


def reasons(error: ValidationError) -> str:
    """What is wrong, field by field, in one sentence."""
    return str(FieldError(_problems(error)))


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    told = error.errors()
    within = {part["loc"][:-1] for part in told}  # a list is too short for the part of it that is wrong
    return [_problem(part) for part in told if part["type"] != "too_short" or part["loc"] not in within]


def _problem(error: Any) -> tuple[str, str]:
    """What is wrong with a field, or with several that do not go together."""
    message: str = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    field = ".".join(map(str, error["loc"]))
    given = "" if error["type"] == "value_error" and not field else f", not {_short(error['input'])}"
    return field, f"{message}{given}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    """Put the values of `layer` into `into`, nested tables by their fields.

    A table that has another `name` is another thing, and takes the place of the whole: parameters of one are none of
    the other.
    """
    for key, value in layer.items():
        known = into.get(key)
        if isinstance(value, dict) and isinstance(known, dict) and value.get("name") in (None, known.get("name")):
            merge(known, value)
        else:
            into[key] = dict(value) if isinstance(value, dict) else value


def load(path: Path) -> dict[str, Any]:
    """The table in a YAML file; raises UserError where it is none."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"cannot read the configuration {path}: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"the configuration {path} is no table of names and values")
    try:
        plain: dict[str, Any] = _plain(values)
    except RecursionError:
        raise UserError(f"the configuration {path} contains itself") from None
    return plain


def _plain(value: Any) -> Any:
    """The value with text for every name, and no part in two places."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def dump(settings: Settings) -> str:
    """The settings as YAML, which `load` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
