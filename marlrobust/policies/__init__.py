"""Policies: what plays, how it is stored, and where it is found. Importing this package imports no torch."""

from typing import Any

from marlrobust.registry import Registry

NETWORKS: Registry[Any] = Registry(
    "network",
    "marlrobust.networks",
    {
        "mean_field": "marlrobust.policies.mean_field:MeanFieldPolicy",
        "recurrent": "marlrobust.policies.recurrent:RecurrentPolicy",
    },
    base="torch.nn:Module",
)
"""What a stored policy's weights belong to, by the name in its card: a `torch.nn.Module` that is made from the card's
`shape` (keyword arguments, which it keeps as `shape`), has `logits`, and calls the part that acts `actor`."""
