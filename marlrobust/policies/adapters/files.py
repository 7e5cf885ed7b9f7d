"""Files of other libraries, and what is named `module:attribute`. What can run code is loaded only if it is trusted."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from marlrobust.errors import UserError
from marlrobust.games.modules import attribute_of, module_at
from marlrobust.policies.adapters.adapt import Shape, as_policy
from marlrobust.policies.brought import KINDS, kind_of
from marlrobust.policies.policy import Policy
from marlrobust.registry import imported


def read_file(path: Path, *, trust: bool = False) -> Any:
    """What is in a file, or folder, of another library: something that `as_policy` takes.

    trust: whether files that can run code when they are loaded may be. Raises UserError for those otherwise, for a
    kind that is not known, and where the library is not installed.
    """
    kind = kind_of(path)
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
        return imported(kind.load)(path)
    except ImportError as error:
        raise UserError(
            f"{path} is {kind.what}, and {error.name} is not installed: pip install 'marlrobust[{kind.extra}]'"
        ) from None


def load_file(path: Path, *, trust: bool = False, observation_shape: Shape = None) -> Policy:
    """The policy in a file, or folder, of another library; see `read_file` and `as_policy`."""
    return as_policy(read_file(path, trust=trust), observation_shape)


def torchscript(path: Path) -> Any:
    """The module in a file of `torch.jit.save`; its gradients are as good as any module's."""
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(f"{path} is no TorchScript that can be read: {str(error).splitlines()[0]}") from None


def named(name: str) -> Any:
    """What is at `module:attribute`, looked for in the current folder too; what a class or function without arguments
    makes. Raises UserError where it is not there."""
    module, _, attribute = name.partition(":")
    try:
        return _made(attribute_of(module_at(module), attribute, "policy"))
    except ImportError as error:
        raise UserError(f"there is no policy '{name}': {error}") from None


def _made(thing: Any) -> Any:
    """What a class or function that needs no arguments makes; a policy as it is."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return thing
    parameters = inspect.signature(thing).parameters.values()
    return thing if any(p.default is p.empty and p.kind < p.VAR_POSITIONAL for p in parameters) else thing()
