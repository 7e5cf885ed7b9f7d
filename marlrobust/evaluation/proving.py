"""How many decisions of attacked agents are proven: beside what an attack did, what none inside epsilon can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import Cell
from marlrobust.games.game import Decisions
from marlrobust.policies.bounds import Prover
from marlrobust.policies.layers import TwoHidden
from marlrobust.policies.policy import Policy
from marlrobust.rows import Round


def provers(cell: Cell, policies: Mapping[str, Policy]) -> dict[int, Prover]:
    """One for each group under test; none where the cell is not attacked in l_inf on all numbers of a state, or a
    policy is no network that can be bounded."""
    if cell.threat is None or cell.threat.norm != "l_inf" or cell.features != "all":
        return {}
    own = {i: policies[group.role] for i, group in enumerate(cell.groups) if group.team in cell.team}
    if any(TwoHidden.of(policy) is None for policy in own.values()):
        return {}
    made = {id(policy): Prover(policy, cell.threat.epsilon) for policy in own.values()}
    return {i: made[id(policy)] for i, policy in own.items()}


class Proving(Observer):
    """Counts the proven decisions of R rounds that are played at once."""

    def __init__(self, by_group: Mapping[int, Prover], rounds: int) -> None:
        self.by_group, self.proven = by_group, np.zeros(rounds, np.int64)

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """See `Observer.attacked`."""
        proven = self.by_group[decisions.group](decisions.dense, decisions.mean_actions).cpu().numpy()
        self.proven += np.bincount(decisions.round[proven], minlength=len(self.proven))

    def told(self, rounds: Sequence[Round]) -> list[Round]:
        """The rounds with what was counted."""
        return [one.model_copy(update={"proven": int(n)}) for one, n in zip(rounds, self.proven, strict=True)]
