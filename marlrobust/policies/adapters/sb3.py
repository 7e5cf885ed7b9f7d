"""Policies of Stable-Baselines3: actor-critic ones, and DQN's, SAC's, TD3's and DDPG's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from marlrobust.errors import UserError
from marlrobust.policies.actions import Vectors
from marlrobust.policies.adapters.states import Reads, StateActionCritic, StateCritic, StatePolicy


def adapted(thing: Any, shape: tuple[int, ...] | None, box: Box | None) -> StatePolicy:
    """A policy of a model (`PPO(...)`), or of its `policy`.

    shape: of an observation, None for that of the model's own space; box: its own is taken. Observations are in the
    units of the environment: what the model does to them (images by 255) is part of the policy. Raises UserError for
    actions that are neither discrete nor a Box, and for a recurrent policy.
    """
    policy: Any = getattr(thing, "policy", thing)
    if not isinstance(policy.action_space, Discrete | Box):
        raise UserError(f"the policy's actions are {policy.action_space}: Discrete or Box ones can be tested")
    if hasattr(policy, "lstm_actor"):
        raise UserError(
            "a recurrent policy of Stable-Baselines3 has to be wrapped: write a class with initial_memory(n) and "
            "step(states, memory) around it"
        )
    shape = policy.observation_space.shape if shape is None else shape
    if isinstance(policy.action_space, Box):
        return _continuous(policy, shape)
    if hasattr(policy, "q_net"):
        values = Reads(policy.q_net.q_net if _flat(policy.q_net) else policy.q_net, shape, policy)
        return StateCritic(values, values)
    return StatePolicy(Reads(_layers(policy) or _actor(policy), shape, policy))


def _continuous(policy: Any, shape: tuple[int, ...] | None) -> StatePolicy:
    """A policy whose actions are vectors: Gaussian (PPO, A2C), Gaussian and squashed (SAC), or certain (TD3, DDPG)."""
    box = policy.action_space
    if not hasattr(policy, "actor"):
        return StatePolicy(Reads(_actor(policy), shape, policy), actions=Vectors(box))
    squashed = hasattr(policy.actor, "get_action_dist_params")

    def numbers(states: Tensor) -> Any:
        """What tanh makes actions of, and how wide; or the actions themselves."""
        if squashed:
            mean, log_std, _ = policy.actor.get_action_dist_params(states)
            return mean, log_std
        return low + (high - low) * (policy.actor(states) + 1) / 2

    def values(states: Tensor, actions: Tensor) -> Tensor:
        """Of actions in the box, by the critics' least value; they know actions in [-1, 1]."""
        own: Tensor = torch.cat(policy.critic(states, 2 * (actions - low) / (high - low) - 1), 1)
        return own.amin(1)

    vectors = Vectors(box, squashed)
    low, high = vectors.ends
    return StateActionCritic(Reads(numbers, shape, policy), Reads(values, shape, policy, others=1), actions=vectors)


def _flat(network: Any) -> bool:
    """Whether its layers read the observation itself, as numbers in a row."""
    from stable_baselines3.common.torch_layers import FlattenExtractor

    return type(network.features_extractor) is FlattenExtractor and len(network.observation_space.shape) == 1


def _layers(policy: Any) -> nn.Sequential | None:
    """The actor as one stack of layers, where it is one."""
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.torch_layers import MlpExtractor

    if type(policy) is not ActorCriticPolicy or type(policy.mlp_extractor) is not MlpExtractor or not _flat(policy):
        return None
    return nn.Sequential(*policy.mlp_extractor.policy_net, policy.action_net)


def _actor(policy: Any) -> Any:
    """From observations to the distribution of actions."""

    def distribution(states: Tensor) -> Any:
        return policy.get_distribution(states).distribution

    return distribution


def loaded(path: Path) -> Any:
    """The policy in a file of `model.save(path)`. It holds pickles: see `files.load_file`.

    Raises UserError for a file that holds no policy.
    """
    from stable_baselines3.common.save_util import load_from_zip_file

    try:
        data, weights, _ = load_from_zip_file(path, device="cpu")
        given: dict[str, Any] = data or {}
        kind, options = given["policy_class"], given.get("policy_kwargs") or {}
        policy = kind(given["observation_space"], given["action_space"], lambda _: 0.0, **options)
        policy.load_state_dict(weights["policy"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} holds no policy of Stable-Baselines3 that can be read: {error}") from None
    return policy.eval()
