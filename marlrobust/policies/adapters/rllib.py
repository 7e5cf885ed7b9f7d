"""Policies of RLlib: its new modules (`RLModule`), on torch, with discrete actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from marlrobust.errors import UserError
from marlrobust.policies.adapters.states import Reads, StatePolicy


def adapted(thing: Any, shape: tuple[int, ...] | None, box: Box | None) -> StatePolicy:
    """A policy of an `RLModule` of one kind of agent; shape: of an observation, None for that of its own space.

    Raises UserError for a module with memory, for one of another framework, and for actions that are not discrete.
    """
    if not isinstance(thing, nn.Module) or not hasattr(thing, "forward_train"):
        raise UserError(
            f"{type(thing).__name__} is no RLModule on torch: give algorithm.get_module(), or one of its own"
        )
    module: Any = thing
    if module.is_stateful():
        raise UserError(
            "an RLModule with memory has to be wrapped: write a class with initial_memory(n) and step(states, memory) "
            "around it"
        )
    if not isinstance(module.action_space, Discrete):
        raise UserError(f"the policy's actions are {module.action_space}: only discrete ones can be tested")

    def answer(states: Tensor) -> Tensor:
        logits: Tensor = module._forward({"obs": states})["action_dist_inputs"]  # `forward_inference` has no gradient
        return logits

    return StatePolicy(Reads(answer, module.observation_space.shape if shape is None else shape, module))


def loaded(path: Path) -> Any:
    """The module in a folder of `RLModule.save_to_path`. It holds pickles: see `files.read_file`."""
    from ray.rllib.core.rl_module.rl_module import RLModule

    module = RLModule.from_checkpoint(str(path.resolve()))
    if hasattr(module, "keys") and len(names := list(module.keys())) == 1:
        module = module[names[0]]  # of a group of modules with one of them
    return module.eval()
