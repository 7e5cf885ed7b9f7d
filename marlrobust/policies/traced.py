"""What a module's own `forward` does, where that is one layer after the other."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

FUNCTIONS: dict[Any, type[nn.Module]] = {
    torch.relu: nn.ReLU,
    F.relu: nn.ReLU,
    "relu": nn.ReLU,
    torch.tanh: nn.Tanh,
    F.tanh: nn.Tanh,
    "tanh": nn.Tanh,
}
"""Functions, and names of a tensor's methods, that are an activation."""

_FOUND: weakref.WeakKeyDictionary[nn.Module, list[str | type[nn.Module]] | None] = weakref.WeakKeyDictionary()


def chain(module: nn.Module) -> list[nn.Module] | None:
    """The layers that `module` calls one after the other, its own, with their present weights; None where its forward
    does something else, or cannot be read. It is read once: what it does may change, so whoever relies on it compares.

    A copy is read, so that a forward that writes into its module writes there.
    """
    if module not in _FOUND:
        _FOUND[module] = _read(module)
    names = _FOUND[module]
    if names is None:
        return None
    return [module.get_submodule(name) if isinstance(name, str) else name() for name in names]


def _read(module: nn.Module) -> list[str | type[nn.Module]] | None:
    """Names of the layers, and kinds of activations that are none."""
    if any(p._forward_hooks or p._forward_pre_hooks or "forward" in vars(p) for p in module.modules()):
        return None
    try:
        nodes = list(fx.Tracer().trace(copy.deepcopy(module)).nodes)
    except Exception:  # it asks what its input is, or does what cannot be copied
        return None
    first, *steps, last = nodes
    found: list[str | type[nn.Module]] = []
    for before, node in zip(nodes, steps, strict=False):
        if list(node.all_input_nodes) != [before] or len(node.args) != 1:
            return None
        if node.op == "call_module":
            found.append(str(node.target))
        elif node.op in ("call_function", "call_method") and node.target in FUNCTIONS:
            found.append(FUNCTIONS[node.target])
        else:
            return None
    ends = first.op == "placeholder" and last.op == "output" and list(last.args) == [steps[-1]] if steps else False
    return found if ends else None
