"""Measurements side by side with what others use: `python -m benchmarks` runs them all."""

from pathlib import Path

from marlrobust.policies.library import ZOO

PLACES = [Path("runs/battle/mfac/soldier.safetensors"), ZOO / "battle" / "mfac" / "soldier.safetensors"]


def trained() -> Path:
    """A trained policy to measure with: one's own, or the bundled one."""
    return next(path for path in PLACES if path.is_file())
