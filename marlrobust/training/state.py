"""All that a training needs to go on as if it had never stopped: named tensors and numbers in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.files import write_atomically

STATE = "state.safetensors"


def save_state(folder: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Write the state into `folder`, atomically, with a SHA-256 over all of it.

    numbers: JSON-able. Raises UserError where the file cannot be written.
    """
    stored = {k: v.contiguous() for k, v in tensors.items()}
    text = json.dumps(numbers)
    about = {"numbers": text, "sha256": _digest(stored, text)}
    with storing(folder / STATE):
        write_atomically(folder / STATE, lambda temporary: save_file(stored, temporary, about))


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and numbers as they were stored in `folder`; None where there is no state.

    Raises UserError where they are not what was stored.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        text = about["numbers"]
        if about["sha256"] != _digest(tensors, text):
            raise ValueError("its checksum does not fit its content")
        return tensors, json.loads(text)
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> UserError:
    """What to say of a state that cannot be gone on from."""
    reason = " ".join(str(error).split())
    return UserError(f"{path} is damaged ({reason[:200]}): remove it to train from the start")


def below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `start`, by the rest of their names."""
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns a failure to write `path`, such as a full disk, into a UserError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(
            f"cannot write {path}: {reason}; what was stored before is whole: make room and run the same command "
            "with --resume"
        ) from None


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of names, types, shapes and contents, and of the text beside them."""
    total = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
