"""Several policies as one: each agent has its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors, actions_of
from marlrobust.policies.policy import Policy


@dataclass(frozen=True)
class EachAgent:
    """policies: by an agent's index; agents may share one. All have the same actions; `actions` where those are
    continuous."""

    policies: Mapping[int, Policy]
    actions: Vectors | None = None

    @classmethod
    def of(cls, parts: Mapping[int, Any] | Sequence[Any], policy: Callable[[Any], Policy]) -> EachAgent:
        """From things that `policy` makes policies of, each once."""
        given = dict(parts) if isinstance(parts, Mapping) else dict(enumerate(parts))
        if not given or not all(isinstance(agent, int) for agent in given):
            raise UserError("policies for each agent are a list, or a dict from an agent's index to its policy")
        made = {id(part): policy(part) for part in given.values()}
        vectors = [kind for policy in made.values() if isinstance(kind := actions_of(policy), Vectors)]
        if len(vectors) not in (0, len(made)) or len({kind.squashed for kind in vectors}) > 1:
            raise UserError("the agents' policies have actions of different kinds: give equal ones")
        policies = {agent: made[id(part)] for agent, part in given.items()}
        return cls(policies, vectors[0] if vectors else None)

    def logits(self, decisions: Decisions) -> Tensor:
        """See `Policy.logits`; raises UserError for an agent without a policy."""
        agents = decisions.agent
        if odd := set(np.unique(agents).tolist()) - set(self.policies):
            raise UserError(f"there are policies for {len(self.policies)} agents, and none for agent {min(odd)}")
        shared: dict[int, list[int]] = {}
        for agent, policy in self.policies.items():
            shared.setdefault(id(policy), []).append(agent)
        rows, parts = [], []
        for own in shared.values():
            at = torch.from_numpy(np.flatnonzero(np.isin(agents, own)))
            if len(at) or not len(agents):
                rows.append(at)
                parts.append(self.policies[own[0]].logits(decisions.take(at)))
        if len(sizes := {part.shape[1] for part in parts}) > 1:
            raise UserError(
                f"the agents' policies answer with {' or '.join(map(str, sorted(sizes)))} logits: give equal ones"
            )
        order = torch.cat(rows).argsort()
        return torch.cat(parts)[order.to(parts[0].device)]
