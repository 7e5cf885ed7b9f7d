"""Where tensors are computed: the name of a device that is really there."""

from __future__ import annotations

import llvmlite.binding  # type: ignore[import-untyped]
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


def fast_precision(device: str) -> str:
    """ "bfloat16" where the device multiplies matrices of it faster, else "float32"."""
    if device == "cpu":
        native = llvmlite.binding.get_host_cpu_features().get("avx512bf16", False)
    else:
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if native else "float32"
