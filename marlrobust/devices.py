"""Where tensors are computed: the name of a device that is really there."""

from __future__ import annotations

import torch

from marlrobust.errors import UserError


def checked_device(name: str) -> torch.device:
    """The device called `name`, as in "cpu", "cuda" or "cuda:1"; UserError where this machine has none such."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the device '{name}' cannot be used here ({reason}): give --device cpu") from None
    return device
