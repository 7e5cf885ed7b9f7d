"""An adversary that has learned where to drive each agent, trained against the very policy that it attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from marlrobust.attacks.attack import ATTACKS
from marlrobust.attacks.oracle import logits_of
from marlrobust.attacks.values import Aimed
from marlrobust.errors import UserError
from marlrobust.policies.checkpoint import ADVERSARY, load_card, load_policy
from marlrobust.policies.networks import Policy
from marlrobust.policies.runs import RUNS, StoredPolicy


def adversary_name(victim: str) -> str:
    """The folder of the adversary of the policy called `victim`."""
    return f"{ADVERSARY}-{victim}"


@ATTACKS.register("learned")
@dataclass(frozen=True, kw_only=True)
class Learned(Aimed):
    """For each agent a trained policy names the action that harms the team most; the gradient gets it there.

    adversary: its folder or file, and from Python the policy itself; in a sweep, None is the one trained against the
    policy under attack (`marlrobust train --method adversary --against NAME`), under `adversary-NAME` beside it or
    under runs. digest: SHA-256 that its file must have; empty is any.
    """

    summary: ClassVar[str] = "a trained adversary names each agent's action, the gradient reaches it (Sun et al. 2022)"

    adversary: Any = None
    digest: str = ""

    @classmethod
    def resolved(cls, parameters: Mapping[str, Any], victim: StoredPolicy) -> dict[str, Any]:
        """See `Attack.resolved`; raises UserError where the adversary was trained against another policy."""
        given = parameters.get("adversary")
        name = adversary_name(victim.path.parent.name)
        scenario = victim.card.scenario
        places = [victim.path.parent.parent / name, RUNS / scenario / name] if given is None else [Path(given)]
        files = [place if place.suffix == ".safetensors" else place / f"{ADVERSARY}.safetensors" for place in places]
        train = f"marlrobust train --method adversary --scenario {scenario} --against {victim.full_name}"
        for file in files:
            if file.is_file():
                card = load_card(file)
                if card.against != victim.card.hash:
                    raise UserError(f"{file} was trained against another policy than {victim.full_name}: '{train}'")
                return {**parameters, "adversary": str(file), "digest": card.hash}
        raise UserError(f"there is no adversary for {victim.full_name} in {files[-1].parent}: train one with '{train}'")

    def reference(self, policy: Policy, states: Tensor, mean_actions: Tensor, logits: Tensor) -> Tensor:
        """The target actions (n,), the adversary's likeliest."""
        adversary = self.adversary
        if adversary is None:
            raise UserError("the attack 'learned' needs an adversary: give a file, or a policy from Python")
        if isinstance(adversary, str):
            adversary = _loaded(adversary, self.digest).to(states.device)
        targets: Tensor = logits_of(adversary, states, mean_actions).argmax(1)
        return targets

    def parameters(self) -> dict[str, Any]:
        """See `Attack.parameters`; a policy given from Python is named by its class alone."""
        own = self.adversary
        return {**super().parameters(), "adversary": own if isinstance(own, str | None) else type(own).__name__}


@lru_cache(4)
def _loaded(file: str, digest: str) -> Any:
    path = Path(file)
    adversary, card = load_policy(path, scenario=load_card(path).scenario, role=ADVERSARY)
    if digest and card.hash != digest:
        raise UserError(f"{path} has changed since this evaluation began: run it again")
    return adversary
