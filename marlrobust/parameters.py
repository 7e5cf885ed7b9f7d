"""Parameters that check themselves: frozen dataclasses whose fields pydantic holds to their types and bounds."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from marlrobust.errors import UserError

NOTHING = ("none", "null")
"""What stands for None where a parameter is typed as text."""


class Parameters:
    """Base of a frozen dataclass. Each field's annotation says what it takes: `Annotated[int, Field(ge=1)]`.

    Raises UserError, with the field's name, for a value that does not fit; one that can be read as its type is
    ("20" as 20). A subclass with a `__post_init__` of its own calls this one first.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __post_init__(self) -> None:
        for name, adapter in _adapters(cast(Any, type(self))).items():
            try:
                value = adapter.validate_python(getattr(self, name))
            except ValidationError as error:
                told = dict.fromkeys(_plain(part["msg"]) for part in error.errors())  # of a union, what each part takes
                raise UserError(f"{name}: {' or '.join(told)}, not {getattr(self, name)!r}") from None
            object.__setattr__(self, name, value)


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


@cache
def _adapters(kind: Any) -> dict[str, TypeAdapter[Any]]:
    """Field to its check, of those that can be given."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: _adapter(hints[f.name]) for f in fields(kind) if f.init}


def _adapter(hint: Any) -> TypeAdapter[Any]:
    if is_dataclass(get_args(hint)[0] if get_origin(hint) is Annotated else hint):
        return TypeAdapter(hint)  # it has its own configuration
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))


P = TypeVar("P", bound=Parameters)


def build(noun: str, name: str, kind: type[P], given: dict[str, Any], **own: Any) -> P:
    """A `kind`, which is called `name`, with the parameters `given`, from text or as they are, and `own` beside them.

    Raises UserError for a parameter that it has not, or whose value does not fit.
    """
    known = [f.name for f in fields(kind) if f.init and f.name not in own]
    if odd := sorted(set(given) - set(known)):
        raise UserError(f"the {noun} '{name}' has no parameter '{odd[0]}': it has {', '.join(known) or 'none'}")
    values = {k: None if isinstance(v, str) and v.lower() in NOTHING else v for k, v in given.items()}
    try:
        return kind(**own, **values)
    except UserError as error:
        raise UserError(f"the {noun} '{name}' does not take this: {error}") from None
