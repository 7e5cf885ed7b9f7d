"""All that a training needs to go on as if it had never stopped, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from marlrobust.config import TrainSettings
from marlrobust.errors import UserError
from marlrobust.files import write_atomically

if TYPE_CHECKING:
    from marlrobust.training.trainer import Trainer

STATE = "state.safetensors"


def shared_start(folder: Path, settings: TrainSettings, mean_field: bool) -> Path:
    """Where the rounds before M_norm are stored that all methods of these settings share."""
    shared = json.dumps([settings.normal_phase(), mean_field], sort_keys=True)
    return folder / f".start-{hashlib.sha256(shared.encode()).hexdigest()[:12]}"


def save_state(folder: Path, trainer: Trainer) -> None:
    """Write the trainer's state into `folder`, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, role in trainer.roles.items():
        parts = {
            "learner": role.learner.state(),
            "replay": role.replay.state(),
            "past": role.past.state_dict(),
        }
        tensors |= {f"{name}/{part}/{k}": v.contiguous() for part, of in parts.items() for k, v in of.items()}
    numbers = {
        "iteration": trainer.iteration,
        "seconds": trainer.seconds,
        "owed": {name: role.owed for name, role in trainer.roles.items()},
    }
    write_atomically(folder / STATE, lambda temporary: save_file(tensors, temporary, {"numbers": json.dumps(numbers)}))


def load_state(folder: Path, trainer: Trainer) -> bool:
    """Bring the trainer to the state stored in `folder`; False where there is none, UserError where it is damaged."""
    path = folder / STATE
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            numbers = json.loads(file.metadata()["numbers"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        for name, role in trainer.roles.items():
            parts: dict[str, Callable[[dict[str, Tensor]], object]] = {
                "learner": role.learner.restore,
                "replay": role.replay.restore,
                "past": role.past.load_state_dict,
            }
            for part, restore in parts.items():
                start = f"{name}/{part}/"
                restore({k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)})
            role.owed = numbers["owed"][name]
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it to train from the start") from None
    trainer.iteration, trainer.seconds = numbers["iteration"], numbers["seconds"]
    return True
