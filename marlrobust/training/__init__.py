"""Training: who plays, what learns, and the loop. Importing this package imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marlrobust.registry import Registry

if TYPE_CHECKING:
    from marlrobust.training.learner import Algorithm

LEARNERS: Registry[type[Algorithm]] = Registry(
    "learner",
    "marlrobust.learners",
    {
        "mean-field": "marlrobust.training.mean_field:MeanField",
        "ippo": "marlrobust.training.ippo:IPPO",
        "ippo-gru": "marlrobust.training.ippo_gru:RecurrentIPPO",
    },
    base="marlrobust.training.learner:Algorithm",
)
"""Every way to learn, by name; an installed package adds its own by an entry point of this group."""
