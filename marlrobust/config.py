"""Settings: typed, checked, and read from YAML. Which settings there are, their rooms say themselves."""

from __future__ import annotations

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


def resolve(kind: type[S], *layers: dict[str, Any]) -> S:
    """Settings of `kind` from layers of values, the later ones winning; raises UserError that names the field."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merge(merged, layer)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise UserError(reasons(error)) from None


def reasons(error: ValidationError) -> str:
    """What is wrong, field by field, in one sentence."""
    told = error.errors()
    within = {part["loc"][:-1] for part in told}  # a list is too short for the part of it that is wrong
    return "; ".join(_reason(part) for part in told if part["type"] != "too_short" or part["loc"] not in within)


def _reason(error: Any) -> str:
    """What is wrong with a field, or with several that do not go together."""
    message: str = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    field = ".".join(map(str, error["loc"]))
    given = "" if error["type"] == "value_error" and not field else f", not {_short(error['input'])}"
    return f"{field}: {message}{given}" if field else f"{message}{given}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    """Put the values of `layer` into `into`, nested tables by their fields."""
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
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
