"""Attacks made of others: one made on another policy, and one that strikes only where it pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import ATTACKS, Attack
from marlrobust.attacks.oracle import logits_of
from marlrobust.errors import UserError
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.networks import Policy
from marlrobust.policies.runs import RUNS, TESTED, StoredPolicy, find


@dataclass(frozen=True, kw_only=True)
class Wrapper(Attack):
    """An attack that uses another, with its defaults and inside the same threat. inner: that attack's name."""

    inner: str = "pgd"

    def __post_init__(self) -> None:
        if issubclass(ATTACKS[self.inner], Wrapper):
            raise UserError(f"inner must be an attack of its own, not '{self.inner}'")
        self.attack()

    def attack(self) -> Attack:
        """The inner attack."""
        return ATTACKS[self.inner](threat=self.threat)


@ATTACKS.register("timed")
@dataclass(frozen=True, kw_only=True)
class Timed(Wrapper):
    """Attacks a state only where the clean policy cares: max pi - min pi >= beta, in [0, 1]."""

    summary: ClassVar[str] = "another attack, only where the policy prefers an action clearly (Lin et al. 2017)"

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta <= 1:
            raise UserError(f"beta is a difference of probabilities, 0 to 1, not {self.beta}")

    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Attack.perturb`."""
        with torch.no_grad():
            pi = F.softmax(logits_of(policy, states, mean_actions), 1)
        cares = pi.amax(1) - pi.amin(1) >= self.beta
        perturbed = states.clone()
        perturbed[cares] = self.attack().perturb(policy, states[cares], mean_actions[cares], rng)
        return perturbed


@ATTACKS.register("transfer")
@dataclass(frozen=True, kw_only=True)
class Transfer(Wrapper):
    """Perturbations made on another policy: what an adversary can do who does not know the team's.

    source: that policy, by a name under runs, a bundled name, a folder or a file; from Python, also any policy.
    """

    summary: ClassVar[str] = "another attack's perturbations, made on another policy (Papernot et al. 2016)"

    source: Any = "zoo:a2c"

    digest: str = ""

    @classmethod
    def resolved(cls, parameters: Mapping[str, Any], victim: StoredPolicy) -> dict[str, Any]:
        """See `Attack.resolved`: with the hash of the source's file, which it must still have when it is loaded."""
        source = parameters.get("source", cls.source)
        return {**parameters, "digest": _stored(source, victim.card.state_size).card.hash}

    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Attack.perturb`; `policy` itself is not asked."""
        source = self.source
        if isinstance(source, str):
            stored = _stored(source, states.shape[1])
            if self.digest and stored.card.hash != self.digest:
                raise UserError(f"{stored.path} has changed since this evaluation began: run it again")
            source = _loaded(stored.path, stored.card.hash).to(states.device)
        return self.attack().perturb(source, states, mean_actions, rng)

    def parameters(self) -> dict[str, Any]:
        """See `Attack.parameters`; a policy given from Python is named by its class alone."""
        source = self.source if isinstance(self.source, str) else type(self.source).__name__
        return {**super().parameters(), "source": source}


def _stored(source: str, state_size: int) -> StoredPolicy:
    """The stored policy called `source` for states of this size."""
    for scenario in TESTED:
        for opponent in (False, True):
            stored = find(source, RUNS, scenario, opponent=opponent)
            if stored is not None and stored.card.state_size == state_size:
                return stored
    raise UserError(f"there is no policy '{source}' for states of {state_size} numbers: see 'marlrobust list policies'")


@lru_cache(4)
def _loaded(path: Path, digest: str) -> Any:
    return load_policy(path, scenario=path.parent.parent.name)[0]
