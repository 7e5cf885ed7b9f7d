"""Policies that a user brings: named `module:attribute`, or stored in a file of another library."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marlrobust.errors import UserError
from marlrobust.files import file_hash
from marlrobust.policies.card import Card
from marlrobust.policies.library import StoredPolicy

NETWORK = "brought"
"""What a card says of a network that is not ours."""

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
DEPTH = 4  # of objects inside each other that a fingerprint looks into


@dataclass(frozen=True)
class BroughtPolicy(StoredPolicy):
    """name: `module:attribute`, or a path. trust: whether a file that can run code may be loaded."""

    trust: bool = False

    @property
    def full_name(self) -> str:
        """See `StoredPolicy.full_name`."""
        return self.name

    def load(self, device: str = "cpu") -> Any:
        """What `as_policy` makes a policy of, once it knows what an observation looks like; on `device`."""
        thing = _of_role(_read(self.name, self.trust), self.card.role)
        if _fingerprint(self.name, thing) != self.card.hash:
            raise UserError(
                f"{self.name} is another policy each time it is made, or has changed since it was chosen: load its "
                "weights from a file, or seed them"
            )
        return thing.to(device) if hasattr(thing, "state_dict") else thing


@dataclass(frozen=True)
class Kind:
    """what: a file is, in words; extra: of marlrobust, that reads it; load: `module:function` of a path;
    danger: why it can run code; "" where it cannot."""

    what: str
    extra: str
    load: str
    danger: str = ""


CHECKPOINT = "class_and_ctor_args.pkl"
"""What a folder of RLlib holds."""

KINDS = {
    ".zip": Kind("a Stable-Baselines3 model", "sb3", "marlrobust.policies.adapters.sb3:loaded", "it holds pickles"),
    ".pt": Kind("TorchScript", "", "marlrobust.policies.adapters.files:torchscript", "it is a program"),
    ".onnx": Kind("an ONNX network", "onnx", "marlrobust.policies.adapters.onnx:loaded"),
    "": Kind("an RLlib checkpoint", "rllib", "marlrobust.policies.adapters.rllib:loaded", "it holds pickles"),
}
"""By a path's ending; a folder has none."""


def kind_of(path: Path) -> Kind | None:
    """Of a file or folder of another library; None where it is something else."""
    if path.is_dir():
        return KINDS[""] if (path / CHECKPOINT).is_file() else None
    return KINDS.get(path.suffix.lower())


def is_brought(name: str) -> bool:
    """Whether a policy's name means one that a user brings."""
    return bool(NAME.fullmatch(name)) or (Path(name).exists() and kind_of(Path(name)) is not None)


def brought(name: str, scenario: str, role: str, trust: bool) -> BroughtPolicy:
    """The policy that a user calls `name`, for a role of a game. Raises UserError where it cannot be loaded."""
    thing = _of_role(_read(name, trust), role)
    card = Card(
        method=name,  # nobody knows how it was trained: tables tell it apart by its name
        scenario=scenario,
        role=role,
        network=NETWORK,
        shape={},
        critic=hasattr(thing, "q_values"),
        seed=0,
        rounds=0,
        planned_rounds=0,
        seconds=0.0,
        hash=_fingerprint(name, thing),
    )
    return BroughtPolicy(name, Path(name), card, trust)


def _fingerprint(name: str, thing: Any) -> str:
    """Of a policy's code and weights: equal where two are the same."""
    digest = hashlib.sha256(name.encode())
    for part in (*_code(name), *_content(thing, DEPTH)):
        digest.update(part)
    return digest.hexdigest()


def _read(name: str, trust: bool) -> Any:
    """What a name or a path stands for. On one thread: what is trained on the way is the same in every process."""
    import torch

    from marlrobust.policies.adapters.files import named, read_file

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return read_file(Path(name), trust=trust) if Path(name).exists() else named(name)
    finally:
        torch.set_num_threads(threads)


def _of_role(thing: Any, role: str) -> Any:
    """A role's own, where a dict names the roles; raises UserError where it has not this one."""
    if isinstance(thing, Mapping) and thing and all(isinstance(key, str) for key in thing):
        if role not in thing:
            raise UserError(f"there is a policy for {', '.join(thing)}, and none for the role '{role}'")
        return thing[role]
    return thing


def _code(name: str) -> Iterator[bytes]:
    """What the policy's own file holds."""
    path = Path(name)
    if not path.exists():
        path = Path(getattr(sys.modules.get(name.partition(":")[0]), "__file__", None) or "")
    for file in sorted(path.rglob("*")) if path.is_dir() and path != Path("") else [path]:
        if file.is_file():
            yield file_hash(file).encode()


def _content(thing: Any, depth: int) -> Iterator[bytes]:
    """Bytes that differ where two policies do: weights, numbers, names."""
    if hasattr(thing, "state_dict"):
        yield repr(thing).encode()
        thing = thing.state_dict()
    if hasattr(thing, "detach"):
        thing = thing.detach().cpu().float().numpy()
    if hasattr(thing, "tobytes"):
        yield thing.tobytes()
    elif isinstance(thing, str | int | float | bool | None):
        yield repr(thing).encode()
    elif depth and isinstance(thing, Mapping):
        for key, value in thing.items():
            yield str(key).encode()
            yield from _content(value, depth - 1)
    elif depth and isinstance(thing, Sequence):
        for value in thing:
            yield from _content(value, depth - 1)
    elif depth and hasattr(thing, "__dict__"):
        yield type(thing).__qualname__.encode()
        yield from _content(vars(thing), depth - 1)
