"""How mu and epsilon rise over the rounds of a training: eq. 13 of Zhou and Liu, and its two special cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """A share in [0, 1] of a maximum, by round.

    zero: 0 always; constant: 0 for M_norm rounds, then 1; once: one rise over all rounds after M_norm;
    loops: the rise begins again in each of the training's loops.
    """

    kind: Literal["zero", "constant", "once", "loops"]

    def __call__(self, m: int, *, normal_rounds: int, loop_rounds: int, loops: int, ramp: float) -> float:
        """The share at round m (from 0): min(max(m - M_norm, 0) mod M_adv, w M_adv) / (w M_adv), eq. 13.

        M_norm is normal_rounds, w is ramp; M_adv is loop_rounds, or for "once" the whole of all loops.
        """
        if self.kind == "zero" or m < normal_rounds:
            return 0.0
        if self.kind == "constant":
            return 1.0
        adversarial = loop_rounds * (loops if self.kind == "once" else 1)
        risen = ramp * adversarial
        return min((m - normal_rounds) % adversarial, risen) / risen
