"""One line in a loop of one's own: an environment whose victims see what an attack shows them.

env = marlrobust.wrap(env, policy, attack="pgd", epsilon=0.075, victims=8, seed=0)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from marlrobust.attacks import ATTACKS
from marlrobust.attacks.arrays import Plain
from marlrobust.attacks.attack import Attack
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.vectors import refuse_misfit
from marlrobust.attacks.victims import draw_victims
from marlrobust.errors import UserError
from marlrobust.games.game import Bools
from marlrobust.games.spaces import MASK, Kind, stacked
from marlrobust.parameters import build
from marlrobust.policies.actions import is_continuous
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.hidden_memory import refuse_hidden_memory
from marlrobust.policies.masked import Masked
from marlrobust.policies.memory import Memories
from marlrobust.policies.policy import Policy
from marlrobust.streams import stream, torch_stream

Seen = dict[str, Any]
"""An agent's name to what it sees: an array of floats, perhaps in a dict with a mask."""

ALONE = "the agent"
"""The name of an agent of an environment that has one."""


def wrap(
    env: Any,
    policy: Any,
    attack: str | Attack = "pgd",
    epsilon: float = 0.075,
    victims: int | Collection[str] | None = None,
    seed: int = 0,
    *,
    norm: str = "l_inf",
    **parameters: Any,
) -> Any:
    """`env` with observations that an attack on `policy` has moved.

    env: a PettingZoo parallel environment, or a Gymnasium one of a single agent, with observations in a `Box` of
    floats, perhaps beside an "action_mask" (which may be in `infos`, too): no attack aims at actions that are not
    legal. policy: the one that acts in your loop, anything that `as_policy` takes; or a dict from an agent's name
    to its own. attack: a name, with `parameters` of its own, inside a ball of radius `epsilon` in `norm` and the
    range of the observations; or an attack that is made already. victims: how many agents are attacked, drawn anew
    at each reset, or their names; None for all. seed: of the victims and of the attack's chance, together with the
    seed that `reset` is given.

    The policy is asked by the attack alone; one with memory is also shown what its agents are shown. Raises UserError
    for another kind of environment, for observations that are no floats, and for a policy with a hidden memory.
    """

    def made(kind: Kind) -> Attack:
        if isinstance(attack, Attack):
            return attack
        low, high = kind.limits
        threat = Threat(norm=norm, epsilon=epsilon, low=low, high=high)  # type: ignore[arg-type]
        return build("attack", attack, ATTACKS[attack], parameters, threat=threat)

    if isinstance(env, ParallelEnv):
        sights = {
            name: _sight(env.observation_space(name), env.action_space(name), name) for name in env.possible_agents
        }
        chosen = len(sights) if victims is None else victims
        if isinstance(policy, Mapping) and set(policy) <= set(sights):
            policy = {list(sights).index(name): own for name, own in policy.items()}
        return ParallelWrapper(env, _Eyes(sights, policy, made, chosen, seed))
    if isinstance(env, gymnasium.Env):
        sights = {ALONE: _sight(env.observation_space, env.action_space, ALONE)}
        return SingleWrapper(env, _Eyes(sights, policy, made, 1 if victims is None else victims, seed))
    raise UserError(
        f"{type(env).__name__} is no parallel environment of PettingZoo and no environment of Gymnasium: "
        "make one of an AEC environment with pettingzoo.utils.conversions.aec_to_parallel"
    )


def _sight(space: Any, actions: Any, name: str) -> Kind:
    """What an agent sees and does; raises UserError where it sees no `Box` of floats."""
    kind = Kind(name, (name,), space, actions)
    if isinstance(kind.observations, Box) and np.issubdtype(kind.observations.dtype, np.floating):
        return kind
    raise UserError(
        f"{name} sees {space}: an attack moves arrays of floats, so put a wrapper around the environment first that "
        "gives a Box of floats"
    )


class ParallelWrapper(BaseParallelWrapper[str, Any, Any]):  # type: ignore[misc]
    """A parallel environment seen through `_Eyes`."""

    def __init__(self, env: Any, eyes: _Eyes) -> None:
        super().__init__(env)
        self.eyes = eyes

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `ParallelEnv.reset`."""
        seen, infos = super().reset(seed=seed, options=options)
        self.eyes.open(seed)
        return self.eyes.shown(seen, infos), infos

    def step(self, actions: dict[str, Any]) -> Any:
        """See `ParallelEnv.step`."""
        seen, *rest = super().step(actions)
        return self.eyes.shown(seen, rest[-1]), *rest


class SingleWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment of one agent seen through `_Eyes`."""

    def __init__(self, env: Any, eyes: _Eyes) -> None:
        super().__init__(env)
        self.eyes = eyes

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `gymnasium.Env.reset`."""
        seen, info = super().reset(seed=seed, options=options)
        self.eyes.open(seed)
        return self.eyes.shown({ALONE: seen}, {ALONE: info})[ALONE], info

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env.step`."""
        seen, *rest = super().step(action)
        return self.eyes.shown({ALONE: seen}, {ALONE: rest[-1]})[ALONE], *rest


class _Eyes:
    """What the agents of an environment are shown."""

    def __init__(
        self, sights: Mapping[str, Kind], policy: Any, attack: Any, victims: int | Collection[str], seed: int
    ) -> None:
        """sights: what each agent sees and does; attack: from such a kind to the attack on it."""
        self.sights, self.seed, self.victims, self.opened = sights, seed, victims, 0
        self.places = {name: place for place, name in enumerate(sights)}
        if not isinstance(victims, int) and (odd := sorted(set(victims) - set(sights))):
            raise UserError(f"there is no agent '{odd[0]}' to attack: there are {', '.join(sights)}")
        if isinstance(victims, int) and victims < 0:
            raise UserError(f"the number of victims must not be negative: {victims}")
        self.kinds = {_key(kind): kind for kind in sights.values()}
        self.policies: dict[Any, Policy] = {
            key: as_policy(policy, kind.observations.shape, kind.box) for key, kind in self.kinds.items()
        }
        self.asked: set[Any] = set()  # for a hidden memory
        self.attacks: dict[Any, Attack] = {key: attack(kind) for key, kind in self.kinds.items()}
        for key, made in self.attacks.items():
            refuse_misfit(made, is_continuous(self.policies[key]))

    def open(self, seed: int | None) -> None:
        """At a round's start: other victims, other chance, no memory. seed: that the environment was given."""
        index = (0, self.opened) if seed is None else (1, seed)
        self.opened += 1
        self.rng = torch_stream(self.seed, "attack", *index)
        if isinstance(self.victims, int):
            names = list(self.sights)
            drawn = draw_victims(self.victims, len(names), stream(self.seed, "victims", *index))
            self.chosen = {names[place] for place in drawn}
        else:
            self.chosen = set(self.victims)
        self.memories = {key: Memories(policy, 1, len(self.sights)) for key, policy in self.policies.items()}

    def shown(self, seen: Seen, infos: Mapping[str, Any]) -> Seen:
        """`seen` with what victims see moved."""
        found = dict(seen)
        for key, kind in self.kinds.items():
            names = [name for name in seen if _key(self.sights[name]) == key]
            if names:
                masks = [kind.legal(seen[name], infos.get(name) or {}) for name in names]
                moved = self._moved(key, names, np.stack([kind.seen(seen[name]) for name in names]), masks)
                found |= {name: _put(kind, seen[name], moved[i]) for i, name in enumerate(names)}
        return found

    def _moved(self, key: Any, names: list[str], seen: Any, masks: Sequence[Bools | None]) -> Any:
        """What agents of one kind are shown, (n, *shape)."""
        policy, attack, memories = self.policies[key], self.attacks[key], self.memories[key]
        agents = np.array([self.places[name] for name in names])
        plain = Plain.of(seen)
        legal = stacked(masks, self.kinds[key].n_actions)
        policy = policy if legal is None else Masked(policy)
        decisions = replace(plain.decisions(policy), agent=agents, round=np.zeros_like(agents), mask=legal)
        decisions = memories.carried(decisions)
        if key not in self.asked:
            refuse_hidden_memory(policy, decisions)
            self.asked.add(key)
        states = decisions.dense.clone()
        if victims := [i for i, name in enumerate(names) if name in self.chosen]:
            rows = torch.tensor(victims)
            states[rows] = attack.perturb(policy, decisions.take(rows), self.rng)
        memories.advance(decisions.showing(states))
        return plain.back(attack.threat, decisions.dense, states)


def _key(kind: Kind) -> tuple[Any, str]:
    """What agents have in common that one policy can be asked about together."""
    return kind.observations.shape, str(kind.actions)


def _put(kind: Kind, seen: Any, moved: Any) -> Any:
    """What an agent is shown in place of `seen`, with a mask as it was."""
    inside = _inside(kind.observations, kind.seen(seen), moved)
    return {name: part if name == MASK else inside for name, part in seen.items()} if isinstance(seen, dict) else inside


def _inside(space: Any, seen: Any, moved: Any) -> Any:
    """`moved` in the space, each number of which has ends of its own; what was outside goes no farther."""
    return np.clip(moved, np.minimum(space.low, seen), np.maximum(space.high, seen)).astype(seen.dtype, copy=False)
