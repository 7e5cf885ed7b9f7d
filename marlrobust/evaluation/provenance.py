"""What a number depends on beside its settings: packages, our own source, the processor's instructions."""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from pathlib import Path

import torch

from marlrobust.attacks.fast import kernels
from marlrobust.policies.card import versions

COMPUTES = ("games", "theory", "policies", "attacks", "evaluation", "sparse.py", "streams.py", "parameters.py")
"""Of our own source, what rounds are computed by."""


@cache
def computed_by() -> dict[str, str]:
    """Versions of the packages, and a digest of our own source: a change of code is another version of it."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for place in COMPUTES:
        path = folder / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return {**versions(), "source": digest.hexdigest()[:12]}


def instructions() -> str:
    """The instruction sets that sums in float32, and attacks in integers, are computed with."""
    return f"{torch.backends.cpu.get_cpu_capability()} {kernels.available() or 'float32'}"


def class_of(thing: object) -> str:
    """Names what `thing` is: its class, and for one that is not ours its source too."""
    kind = type(thing)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.startswith("marlrobust."):
        return name
    file = inspect.getsourcefile(kind)
    return name if file is None else f"{name} {hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]}"
