"""How far a proof goes: names that settings and bounds share."""

from __future__ import annotations

from typing import Literal

Bounds = Literal["intervals", "crown", "alpha", "complete"]
"""Each goes beyond those before it."""

BRANCHES = 2048
"""Parts into which a decision's box is split, at most, for each action that it could become."""
