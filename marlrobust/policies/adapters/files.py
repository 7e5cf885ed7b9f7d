"""Files of other libraries, and what is named `module:attribute`. What can run code is loaded only if it is trusted."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from marlrobust.errors import UserError
from marlrobust.policies.adapters.adapt import Shape, as_policy
from marlrobust.policies.policy import Policy
from marlrobust.registry import imported


@dataclass(frozen=True)
class Kind:
    """what: a file is, in words; extra: of marlrobust, that reads it; load: `module:function` (path, shape);
    danger: why it can run code; "" where it cannot."""

    what: str
    extra: str
    load: str
    danger: str = ""


KINDS = {
    ".zip": Kind("a Stable-Baselines3 model", "sb3", "marlrobust.policies.adapters.sb3:loaded", "it holds pickles"),
    ".pt": Kind("TorchScript", "", "marlrobust.policies.adapters.files:torchscript", "it is a program"),
    ".onnx": Kind("an ONNX network", "onnx", "marlrobust.policies.adapters.onnx:loaded"),
    "": Kind("an RLlib checkpoint", "rllib", "marlrobust.policies.adapters.rllib:loaded", "it holds pickles"),
}
"""By a path's ending; a folder has none."""


def load_file(path: Path, *, trust: bool = False, observation_shape: Shape = None) -> Policy:
    """The policy in a file, or folder, of another library.

    trust: whether files that can run code when they are loaded may be. Raises UserError for those otherwise, for a
    kind that is not known, and where the library is not installed.
    """
    kind = KINDS.get("" if path.is_dir() else path.suffix.lower())
    if kind is None or not path.exists():
        known = ", ".join(f"{ending or 'a folder'} ({k.what})" for ending, k in KINDS.items())
        why = "there is nothing there" if not path.exists() else f"it is none of .safetensors, {known}"
        raise UserError(f"{path} is no policy: {why}")
    if kind.danger and not trust:
        raise UserError(
            f"{path} is {kind.what}: {kind.danger}, and can run any code when it is loaded. "
            "Give --trust (trust=True) if you know who made it"
        )
    try:
        load: Callable[[Path, Shape], Policy] = imported(kind.load)
        return load(path, observation_shape)
    except ImportError as error:
        raise UserError(
            f"{path} is {kind.what}, and {error.name} is not installed: pip install 'marlrobust[{kind.extra}]'"
        ) from None


def torchscript(path: Path, shape: Shape) -> Policy:
    """The policy in a file of `torch.jit.save`; its gradients are as good as any module's."""
    try:
        module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(f"{path} is no TorchScript that can be read: {str(error).splitlines()[0]}") from None
    return as_policy(module.eval(), shape)


def named(name: str, observation_shape: Shape = None) -> Policy:
    """The policy at `module:attribute`, found from the current folder too: an object, or a class or function without
    arguments that makes one.

    Raises UserError where it is not there, or is no policy.
    """
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        thing = import_module(module)
        for part in attribute.split("."):
            thing = getattr(thing, part)
    except (ImportError, AttributeError) as error:
        raise UserError(f"there is no policy '{name}': {error}; give module:attribute") from None
    return as_policy(_made(thing), observation_shape)


def _made(thing: Any) -> Any:
    """What a class or function that needs no arguments makes; a policy as it is."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return thing
    parameters = inspect.signature(thing).parameters.values()
    return thing if any(p.default is p.empty and p.kind < p.VAR_POSITIONAL for p in parameters) else thing()
