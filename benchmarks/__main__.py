"""All benchmarks, as Markdown tables below the machine they ran on.

    python -m benchmarks

A trained policy under runs/ is used where there is one, else the bundled one.
"""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from benchmarks import memory, pgd, rollout, small, strength, trained, training


def main() -> None:
    began = time.monotonic()
    print(f"# Benchmarks\n\n{machine()}\n", flush=True)
    show("Memory of a training", memory.measure())
    show("Playing battle: processor time, one thread", rollout.measure())
    show("Robust training: processor time, one thread", training.measure())
    print(f"The policy below is {trained().parent.name}'s.\n")
    show("PGD: processor time, one thread, states of real battles", pgd.measure(*pgd.battle()))
    show("PGD on small observations, networks of others: processor time, one thread", small.measure())
    show("Strength of attacks, the same states for all", strength.measure())
    print(f"{time.monotonic() - began:.0f} seconds in all.")


def machine() -> str:
    """The processor, and the versions that matter."""
    name = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        models = [
            line.split(":")[1].strip() for line in facts.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    features = torch.backends.cpu.get_cpu_capability()
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "magent2", "numpy", "numba"))
    return f"{name} ({features}), Python {platform.python_version()}, {versions}"


def show(title: str, table: pd.DataFrame) -> None:
    """Print `table` as Markdown."""
    cells = table.map(lambda x: f"{x:.4g}" if isinstance(x, float) else str(x))
    rows = [list(cells.columns), ["---"] * len(cells.columns), *cells.to_numpy().tolist()]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    print(f"## {title}\n\n" + "\n".join(lines) + "\n", flush=True)


if __name__ == "__main__":
    main()
