"""One function that makes a policy of anything, and what it knows of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gymnasium.spaces import Box
from torch import Tensor, nn

from marlrobust.errors import UserError
from marlrobust.games.game import Group
from marlrobust.policies.actions import Vectors, is_continuous
from marlrobust.policies.adapters.each_agent import EachAgent
from marlrobust.policies.adapters.recurrent import RecurrentPolicy
from marlrobust.policies.adapters.states import Reads, StateActionCritic, StateCritic, StatePolicy, Takes
from marlrobust.policies.masked import Masked
from marlrobust.policies.policy import Policy
from marlrobust.registry import imported

Shape = tuple[int, ...] | None

LIBRARIES = {
    "stable_baselines3": ("marlrobust.policies.adapters.sb3:adapted", ""),
    "torchrl": ("marlrobust.policies.adapters.torchrl:adapted", "out_keys"),
    "tensordict": ("marlrobust.policies.adapters.torchrl:adapted", "out_keys"),
    "onnxruntime": ("marlrobust.policies.adapters.onnx:adapted", ""),
    "ray": ("marlrobust.policies.adapters.rllib:adapted", ""),
}
"""Package that a policy's class, or a base of it, comes from, to the function (thing, observation shape, box) ->
Policy, and to what a thing must have for it, if anything: a plain module of that package is read as any module."""


def as_policy(thing: Any, observation_shape: Shape = None, box: Box | None = None) -> Policy:
    """The policy that `thing` is, for observations of `observation_shape`; None where they are flat. box: where its
    actions lie, if they are continuous (a Box of Gymnasium); models of other libraries may know their own.

    thing: one of

    - an object with `logits(...)`: of `decisions`, of `states`, or of `states, mean_actions`, as its signature says;
      with `q_values(...)` as well it has a critic;
    - an object with `initial_memory(n)` and `step(...)`: see `marlrobust.policies.memory`;
    - a model of Stable-Baselines3, TorchRL, RLlib or an ONNX session;
    - a `torch.nn.Module`, or any callable, of `states`, or of `states, mean_actions`; a module without `forward` acts
      by its part `actor`, or by `actor_mean` and `actor_logstd`, as CleanRL's do;
    - a list, one of these for each agent by its index; or a dict from an agent's index to one.

    Its states are (n, *observation_shape), in the type and on the device of a module's weights. What it returns is
    logits (n, a), a distribution with `logits`, a dict with "logits", or a tuple that starts with one of these.
    With a `box`, the method is called `actions` in place of `logits`, a critic is `q_values(states, actions)`, and
    what is returned is mean actions (n, k), a pair of these and the logarithms of the standard deviations, or a
    Gaussian of torch.distributions. Raises UserError for anything else.
    """
    if isinstance(thing, StatePolicy | RecurrentPolicy | EachAgent | Masked):
        return thing
    vectors = None if box is None else Vectors(box)
    if isinstance(thing, Mapping | Sequence) and not isinstance(thing, str):
        return EachAgent.of(thing, lambda part: as_policy(part, observation_shape, box))
    if hasattr(thing, "initial_memory") and hasattr(thing, "step"):
        step = Reads(thing.step, observation_shape, _weights(thing), others=1)
        return RecurrentPolicy(thing.initial_memory, step, vectors)
    if vectors is not None and callable(getattr(thing, "actions", None)):
        return _with_actions(thing, observation_shape, vectors)
    if callable(getattr(thing, "logits", None)):
        return _with_logits(thing, observation_shape)
    for base in type(thing).__mro__:
        adapter, mark = LIBRARIES.get(base.__module__.partition(".")[0], ("", ""))
        if adapter and (not mark or hasattr(thing, mark)):
            adapted: Policy = imported(adapter)(thing, observation_shape, box)
            return adapted
    if isinstance(thing, nn.Module) and not hasattr(thing, "memoryless"):
        for part in thing.modules():
            if isinstance(part, nn.RNNBase | nn.RNNCellBase):
                raise UserError(
                    f"{type(thing).__name__} has a {type(part).__name__}, whose memory would be lost: give it "
                    "initial_memory(n) and step(states, memory), or the attribute memoryless if it keeps none"
                )
    function = _acting_part(thing)
    if not callable(function):
        raise UserError(
            f"{type(thing).__name__} is no policy: give a torch module, a function from observations to logits, "
            "or an object with logits(states)"
        )
    return StatePolicy(Reads(function, observation_shape, _weights(thing)), actions=vectors)


def policy_for(thing: Any, group: Group) -> Policy:
    """The policy that `thing` is for the agents of a group. Raises UserError where its actions are of another kind."""
    policy = as_policy(thing, group.shape, group.box)
    if is_continuous(policy) != (group.box is not None):
        kinds = ("a choice between actions (logits)", "vectors of numbers (Box)")
        has, needs = kinds if group.box is not None else kinds[::-1]
        raise UserError(f"the policy's actions are {has}, and a {group.role} of this game has {needs}")
    return Masked(policy) if group.masked and not isinstance(policy, Masked) else policy


def _with_actions(thing: Any, shape: Shape, vectors: Vectors) -> Policy:
    """An object whose methods take states, and give continuous actions."""
    actions = Reads(thing.actions, shape, _weights(thing))
    if not callable(getattr(thing, "q_values", None)):
        return StatePolicy(actions, actions=vectors)
    return StateActionCritic(actions, Reads(thing.q_values, shape, _weights(thing), others=1), actions=vectors)


def _with_logits(thing: Any, shape: Shape) -> Policy:
    """A policy already, or an object whose methods take states."""
    logits = Reads(thing.logits, shape, _weights(thing))
    if logits.takes is Takes.DECISIONS:
        policy: Policy = thing
        return policy
    if not callable(getattr(thing, "q_values", None)):
        return StatePolicy(logits)
    return StateCritic(logits, Reads(thing.q_values, shape, _weights(thing)))


def _weights(thing: Any) -> nn.Module | None:
    """The module whose weights say which type and device observations are to have."""
    return thing if isinstance(thing, nn.Module) else None


def _acting_part(thing: Any) -> Callable[..., Any] | None:
    """What is called with observations; raises UserError for a module that does not say which part of it acts."""
    if not isinstance(thing, nn.Module) or getattr(thing.forward, "__func__", None) is not nn.Module.forward:
        return thing if callable(thing) else None
    parts = dict(thing.named_children())
    if "actor_mean" in parts and isinstance(spread := getattr(thing, "actor_logstd", None), Tensor):
        return lambda states: (parts["actor_mean"](states), spread)
    if "actor" not in parts or "network" in parts:
        raise UserError(
            f"{type(thing).__name__} has no forward: give the part of it that returns logits, "
            "or a function from observations to logits"
        )
    return parts["actor"]
