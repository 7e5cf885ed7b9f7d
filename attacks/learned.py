"""An adversary that has learned where to drive each agent, trained against the very policy that it attacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from marlrobust.attacks.oracle import ready
from marlrobust.attacks.values import Aimed
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.policies.policy import Policy

ADVERSARY = "adversary"
"""The role of an adversary's file: `adversary.safetensors`, whose card says `against` which policy it was trained."""


def adversary_name(victim: str) -> str:
    """The folder of the adversary of the policy whose folder is called `victim`."""
    return f"{ADVERSARY}-{victim}"


@dataclass(frozen=True, kw_only=True)
class Learned(Aimed):
    """For each agent a trained policy names the action that harms the team most; the gradient gets it there.

    adversary: that policy, by a name under runs, a bundled name, a folder or a file; from Python, also any policy.
    None is the one trained against the policy under attack (`marlrobust train --against NAME`): `adversary-NAME`
    beside that policy or under runs.
    """

    summary: ClassVar[str] = "a trained adversary names each agent's action, the gradient reaches it (Sun et al. 2022)"

    adversary: Annotated[Any, Field(description="A stored adversary; none is the one of the policy attacked.")] = None

    def resolved(self, victim: StoredPolicy, library: Library) -> Learned:
        """See `Attack.resolved`; raises UserError where the adversary was trained against another policy."""
        found = self._found(victim, library)
        if found is None:
            return self
        own = [adversary for adversary in found if adversary.card.against == victim.card.hash]
        if own:
            return replace(self, adversary=own[0])
        train = (
            f"train one with 'marlrobust train --against {_name(victim, library)} --scenario {victim.card.scenario}'"
        )
        if found:
            raise UserError(f"{found[0].full_name} was trained against another policy than {victim.full_name}: {train}")
        named = "" if self.adversary is None else f" '{self.adversary}'"
        raise UserError(f"there is no adversary{named} for {victim.full_name}: {train}")

    def _found(self, victim: StoredPolicy, library: Library) -> list[StoredPolicy] | None:
        """The stored adversaries that `adversary` may mean; None where it is a policy given from Python."""
        given = self.adversary
        if isinstance(given, StoredPolicy):
            return [given]
        if not isinstance(given, str | None):
            return None
        folder = victim.path.parent
        own = adversary_name(folder.name)
        names = [str(folder.with_name(own)), own] if given is None else [given]
        stored = [p for name in names if (p := library.find(name, victim.card.scenario, ADVERSARY))]
        # one's own `mfac` has the name of a bundled policy, whose adversary is not its own
        return [p for p in stored if given is not None or victim.bundled or not p.bundled]

    def reference(self, policy: Policy, decisions: Decisions, logits: Tensor) -> Tensor:
        """The target actions (n,), the adversary's likeliest."""
        adversary = ready(self.adversary, "adversary", logits.device)
        targets: Tensor = adversary.logits(decisions).argmax(1)
        return targets


def _name(victim: StoredPolicy, library: Library) -> str:
    """What a training finds the victim by."""
    folder = victim.path.parent
    if victim.bundled:
        return victim.full_name
    return folder.name if folder.parent == library.runs / victim.card.scenario else str(folder)
