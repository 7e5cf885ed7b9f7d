"""Files that are whole or not there, and JSON that knows when it was changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEAL = "sha256"


class Damaged(ValueError):
    """A sealed file that does not hold what was written."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there; on an error `path` stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # some writers leave it for their owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path` atomically; returns `path`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return path


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON with its own SHA-256 inside, atomically; `read_sealed` takes it back."""
    sealed = {**content, SEAL: digest(content)}
    write_bytes(path, (json.dumps(sealed, indent=1) + "\n").encode())


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote; raises Damaged where the file holds anything else, OSError where it cannot be read."""
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it is no JSON: {error}") from None
    if not isinstance(content, dict) or content.pop(SEAL, None) != digest(content):
        raise Damaged("its checksum does not fit its content")
    return content


def digest(content: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged`, so that it is out of the way and not lost; returns where it is now."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    return aside


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
