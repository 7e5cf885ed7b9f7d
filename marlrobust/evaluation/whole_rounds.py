"""Rounds that no adversary can change: every decision of the attacked agents is proven, so that the outcome is.

Agents take their likeliest action. If every decision of k agents in a round without an attack is proven, then by
induction over its steps no states within epsilon that these agents are shown, chosen in whatever way, change any action
of anybody: the round is the same to its end. Sampled actions are not covered: their proof would have to hold the whole
distribution still.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from marlrobust.evaluation.certify import Bracket, facts_of, plan_brackets, watched
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import tested_size
from marlrobust.evaluation.run import Say, locked
from marlrobust.evaluation.settings import CertifySettings
from marlrobust.evaluation.store import Store
from marlrobust.files import digest
from marlrobust.games.game import Bools, Decisions
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.bounds import Prover, certify
from marlrobust.policies.library import Library
from marlrobust.progress import Progress
from marlrobust.rows import NOT_ATTACKED, DecisionFacts, WholeRound, slug

CELLS = "whole-rounds"
"""Folder of the rows, beside an evaluation's cells."""

BATCH = 4
"""Rounds that are played at once: progress is told after them."""


def run_whole_rounds(settings: CertifySettings, library: Library, folder: Path, say: Say) -> pd.DataFrame:
    """One row per round and epsilon (`rows.WholeRound`), stored under `folder`; what is stored there is not computed
    again. Raises UserError for what is not there."""
    brackets = plan_brackets(settings, library)
    store = Store(folder / CELLS, say, DecisionFacts, WholeRound)
    with locked(folder):
        found = {id_of(b): store.read(name_of(b), b.rounds) for b in brackets}
        missing = [b for b in brackets if found[id_of(b)] is None]
        with Progress("whole rounds", "rounds", len(missing) * settings.rounds) as progress:
            while missing:  # those of one policy are played once
                together = [b for b in missing if b.drawn_from == missing[0].drawn_from]
                missing = [b for b in missing if b not in together]
                for bracket, rows in zip(together, play_whole(together, progress), strict=True):
                    facts = facts_of(bracket).model_copy(
                        update={"attack": NOT_ATTACKED, "attack_parameters": "{}", "cell": id_of(bracket)}
                    )
                    store.write(name_of(bracket), facts, rows)
                    found[id_of(bracket)] = store.read(name_of(bracket), bracket.rounds)
    return pd.concat([rows for rows in found.values() if rows is not None], ignore_index=True)


def id_of(bracket: Bracket) -> str:
    """Digest of all that its whole rounds depend on; the attack is none of it."""
    return digest([CELLS, bracket.drawn_from, bracket.attack.threat.epsilon, bracket.computed_by])[:16]


def name_of(bracket: Bracket) -> str:
    """Of the file: readable, and unique."""
    about = f"{bracket.scenario}-{bracket.policy.name}-e{bracket.attack.threat.epsilon:g}"
    return slug(about) + f"-{id_of(bracket)}"


def play_whole(brackets: Sequence[Bracket], progress: Progress) -> list[list[WholeRound]]:
    """The rows of each of some brackets that differ in their epsilon alone."""
    first = brackets[0]
    policy = as_policy(first.policy.load())  # flat: it could be taken apart
    size = tested_size(first.game.make(1).groups, first.team)
    found: list[list[WholeRound]] = [[] for _ in brackets]
    provings = [_Proving(policy, b.attack.threat.epsilon, size) for b in brackets]
    for rounds in watched(first, provings, greedy=True, batch=BATCH):
        for rows, proving in zip(found, provings, strict=True):
            for one, proven in zip(rounds, proving.proven[: len(rounds)], strict=True):
                about = one.model_dump(include=set(WholeRound.model_fields))
                rows.append(WholeRound(**about, agents=size, proven_agents=int(proven.sum())))
            proving.begin()
        progress.advance(len(rounds) * len(brackets))
    return found


class _Proving(Observer):
    """Which agents' decisions are all proven, in rounds that are played at once: proven (R, size) bool."""

    def __init__(self, policy: Any, epsilon: float, size: int) -> None:
        self.policy, self.epsilon, self.size = policy, epsilon, size
        self.prover = Prover(policy, epsilon)
        self.begin()

    def begin(self) -> None:
        """Forget what was seen: other rounds begin."""
        self.proven: Bools = np.zeros((0, self.size), np.bool_)

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """See `Observer.attacked`. An agent with a decision that is not proven is not looked at again."""
        if not len(self.proven):
            self.proven = np.ones((int(decisions.round.max()) + 1, self.size), np.bool_)
        still = torch.from_numpy(np.flatnonzero(self.proven[decisions.round, decisions.agent]))
        some = decisions.take(still)
        found = self.prover(some.dense, some.mean_actions)
        if open_ := (~found).nonzero()[:, 0].tolist():
            rest = some.take(torch.tensor(open_))
            found[open_] = certify(self.policy, rest.dense, rest.mean_actions, self.epsilon).certified
        lost = ~found.numpy()
        self.proven[some.round[lost], some.agent[lost]] = False
