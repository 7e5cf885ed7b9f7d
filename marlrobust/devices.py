"""Where tensors are computed: the name of a device that is really there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marlrobust.errors import UserError

if TYPE_CHECKING:
    import torch


def checked_device(name: str) -> torch.device:
    """The device called `name`, as in "cpu", "cuda" or "cuda:1"; UserError where this machine has none such."""
    import torch  # only now: settings ask for a precision without it, and it takes seconds

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
        import llvmlite.binding  # type: ignore[import-untyped]

        native = llvmlite.binding.get_host_cpu_features().get("avx512bf16", False)
    else:
        import torch

        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if native else "float32"
