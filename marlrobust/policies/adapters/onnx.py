"""ONNX networks: they answer, and give no gradient, so that only attacks without gradients can be made on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.policies.actions import Vectors
from marlrobust.policies.adapters.states import Reads, StatePolicy

FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
"""ONNX's names of the float types that a network may read."""


def adapted(session: Any, shape: tuple[int, ...] | None, box: Box | None) -> StatePolicy:
    """A policy of an `onnxruntime.InferenceSession` whose first output is logits, or mean actions in `box`; `shape`: of
    an observation.

    Raises UserError for a network that does not read one array of floats.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in FLOATS:
        found = ", ".join(f"{i.name}: {i.type}" for i in inputs)
        raise UserError(f"an ONNX policy reads one array of floats, this one reads {found}")
    name, kind = inputs[0].name, FLOATS[inputs[0].type]
    batch = inputs[0].shape[0]
    if isinstance(batch, int):
        raise UserError(f"the ONNX network takes {batch} observations at a time: export it with a dynamic first axis")

    def answer(states: Tensor) -> Tensor:
        outputs = session.run(None, {name: states.detach().cpu().numpy().astype(kind)})
        return torch.from_numpy(np.asarray(outputs[0]))

    return StatePolicy(Reads(answer, shape), actions=None if box is None else Vectors(box))


def loaded(path: Path) -> Any:
    """The network in an `.onnx` file, on the CPU; nothing in such a file is run but arithmetic."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds of errors have no common base
        raise UserError(f"{path} is no ONNX network that can be read: {error}") from None
