"""Measurements side by side with what others use: `python -m benchmarks` runs them all."""

from pathlib import Path

PLACES = [Path(runs, "battle", "mfac", "soldier.safetensors") for runs in ("runs", "runs/demo")]
TRAINED = next((path for path in PLACES if path.is_file()), PLACES[0])
"""A trained policy to measure with, the demo's if there is no other; synthetic states stand in where there is none."""
