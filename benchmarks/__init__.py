"""Measurements side by side with what others use: `python -m benchmarks` runs them all."""
