"""How many decisions an adversary could have turned: an attack from below, a certificate from above."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import make_attack, matched, parameters_json, tested_size
from marlrobust.evaluation.play import BATCH
from marlrobust.evaluation.provenance import class_of, computed_by, instructions
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.run import Say, locked, own_folder
from marlrobust.evaluation.settings import CertifySettings
from marlrobust.evaluation.store import Store
from marlrobust.files import digest
from marlrobust.games import Scenario
from marlrobust.games.game import Decisions, refuse_other_actions
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.bounds import CHUNK, certify
from marlrobust.policies.layers import TwoHidden
from marlrobust.policies.library import Library, StoredPolicy, StoredTeam
from marlrobust.policies.policy import Policy
from marlrobust.policies.proofs import Bounds
from marlrobust.progress import Progress
from marlrobust.rows import Decision, DecisionFacts, Round, slug
from marlrobust.streams import stream, torch_stream

CELLS = "decisions"
"""Folder of the rows, beside an evaluation's cells."""


@dataclass(frozen=True)
class Bracket:
    """One policy under one epsilon. Its rows depend on nothing else."""

    game: Scenario
    scenario: str
    team: tuple[int, ...]
    policy: StoredPolicy
    opponent: StoredTeam | None
    attack: Attack
    attack_name: str
    rounds: int
    decisions: int
    seed: int
    bounds: Bounds
    branches: int

    @property
    def drawn_from(self) -> list[Any]:
        """What the decisions depend on: brackets that agree in it look at the same ones."""
        game = [self.scenario, class_of(self.game), self.game.model_dump(mode="json"), self.game.versions, self.team]
        foe = self.opponent and self.opponent.hash
        return [game, self.policy.card.hash, foe, self.rounds, self.decisions, self.seed]

    @cached_property
    def id(self) -> str:
        """Digest of all that its rows depend on."""
        attack = {"class": class_of(self.attack), **self.attack.parameters()}
        return digest([*self.drawn_from, attack, self.proofs, *self.computed_by])[:16]

    @property
    def proofs(self) -> list[Any]:
        """How they are made."""
        return [self.bounds, self.branches if self.bounds == "complete" else 0]

    @property
    def computed_by(self) -> list[Any]:
        """Instructions and versions."""
        return [instructions(), {k: v for k, v in computed_by().items() if k != "python"}]

    @property
    def name(self) -> str:
        """Of the file: readable, and unique."""
        return slug(f"{self.scenario}-{self.policy.name}-e{self.attack.threat.epsilon:g}") + f"-{self.id}"


def run_certify(settings: CertifySettings, library: Library, out: Path | None, say: Say) -> tuple[pd.DataFrame, Path]:
    """One row per decision and epsilon (`rows.Decision`), stored under `out` or a folder of its own under results/,
    and that folder; what is stored there is not computed again. Raises UserError for what is not there."""
    brackets = plan_brackets(settings, library)
    names = dict.fromkeys(name for b in brackets for name in (b.scenario, b.policy.name))
    folder = out or own_folder(digest([b.id for b in brackets]), ["certify", *names])
    store = Store(folder / CELLS, say, DecisionFacts, Decision)
    frames: list[pd.DataFrame] = []
    decided: tuple[list[Any], Decisions] | None = None
    with locked(folder):
        found = [store.read(b.name, b.decisions) for b in brackets]
        missing = sum(rows is None for rows in found)
        with Progress("certify", "decisions", missing * settings.decisions) as progress:
            for bracket, rows in zip(brackets, found, strict=True):
                if rows is None:
                    if decided is None or decided[0] != bracket.drawn_from:
                        decided = bracket.drawn_from, draw(bracket)
                    store.write(bracket.name, *_bracket(bracket, decided[1], progress.advance))
                    rows = store.read(bracket.name, bracket.decisions)
                assert rows is not None
                frames.append(rows)
    return pd.concat(frames, ignore_index=True), folder


def plan_brackets(settings: CertifySettings, library: Library) -> list[Bracket]:
    """A bracket for each policy and epsilon."""
    brackets = []
    for chosen in library.choose(settings.policies, settings.roles()):
        match = matched(settings, chosen, library)
        (policy, group), *more = match.under_test(chosen)
        if more:
            raise UserError(f"{chosen.full_name} has several roles: certificates are for teams of one")
        refuse_other_actions(group, "certificates are")
        if TwoHidden.of(as_policy(policy.load(), group.shape)) is None:
            raise UserError(
                f"{policy.full_name} has a network of another kind: certificates are for two hidden ReLU layers, our "
                "own or a torch.nn.Sequential"
            )
        for epsilon in settings.epsilons:
            attack = make_attack(settings.attack, "l_inf", epsilon, "all", group).resolved(policy, library)
            shared = settings.model_dump(include={"rounds", "decisions", "seed", "bounds", "branches"})
            who: dict[str, Any] = {"scenario": chosen.scenario, "team": match.team, "policy": policy}
            who |= {"game": match.game, "opponent": match.opponent}
            brackets.append(Bracket(**who, attack=attack, attack_name=settings.attack.name, **shared))
    return brackets


class _Idle(Attack):
    """Changes nothing."""

    def move(self, policy: Policy, decisions: Decisions, rng: torch.Generator) -> Tensor:
        """See `Attack.move`."""
        return decisions.dense


def draw(bracket: Bracket) -> Decisions:
    """Decisions of the policy's agents, drawn evenly, with replacement, from all that they make in the rounds."""
    slots = _Slots(bracket.decisions, stream(bracket.seed, "decisions"))
    for _ in watched(bracket, [slots]):
        pass
    return slots.drawn()


def watched(
    bracket: Bracket, observers: Sequence[Observer], *, greedy: bool = False, batch: int = BATCH
) -> Iterator[list[Round]]:
    """The bracket's rounds, a batch at a time, in which observers are shown every decision of the team as one that
    might be attacked, and nobody attacks."""
    sides = [bracket.policy.load(), *([bracket.opponent.load()] if bracket.opponent else [])]
    for first in range(0, bracket.rounds, batch):
        numbers = range(first, min(first + batch, bracket.rounds))
        game = bracket.game.make(len(numbers))
        everyone = Adversary(_Idle(threat=bracket.attack.threat), tested_size(game.groups, bracket.team))
        how: dict[str, Any] = {"seed": bracket.seed, "numbers": numbers, "tested": bracket.team, "greedy": greedy}
        yield play_rounds(game, *sides, adversary=everyone, observers=observers, **how)


class _Slots(Observer):
    """n slots, each of which holds one of all decisions seen, every one with the same chance (Vitter 1985)."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.slots: list[tuple[Tensor, Tensor] | None] = [None] * n
        self.rng, self.seen = rng, 0

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """See `Observer.attacked`; what is kept is copied."""
        n, states = len(decisions), decisions.dense
        self.seen += n
        takes = np.flatnonzero(self.rng.random(len(self.slots)) < n / self.seen)
        for slot, row in zip(takes, self.rng.integers(n, size=len(takes)), strict=True):
            self.slots[slot] = states[row].clone(), decisions.mean_actions[row].clone()

    def drawn(self) -> Decisions:
        states, mean_actions = zip(*(slot for slot in self.slots if slot is not None), strict=True)
        return Decisions.of(torch.stack(states), torch.stack(mean_actions))


def _bracket(
    bracket: Bracket, decisions: Decisions, wrote: Callable[[int], object]
) -> tuple[DecisionFacts, list[Decision]]:
    """The rows of one policy and epsilon."""
    policy, attack = as_policy(bracket.policy.load()), bracket.attack  # flat: it could be taken apart
    moved = decisions.showing(attack.perturb(policy, decisions, torch_stream(bracket.seed, "attack")))
    with torch.no_grad():
        flipped = policy.logits(moved).argmax(1) != policy.logits(decisions).argmax(1)
    parts = []
    size = CHUNK if bracket.bounds in ("intervals", "crown") else 2  # which take a second per decision
    for first in range(0, len(decisions), size):
        part = decisions.take(slice(first, first + size))
        how: dict[str, Any] = {"by": bracket.bounds, "branches": bracket.branches}
        parts.append(certify(policy, part.dense, part.mean_actions, attack.threat.epsilon, **how))
        wrote(len(part))
    columns = {
        "decision": list(range(len(decisions))),
        "flipped": flipped.tolist(),
        "certified": torch.cat([p.certified for p in parts]).tolist(),
        "by_intervals": torch.cat([p.intervals for p in parts]).tolist(),
        "margin": torch.cat([p.margin for p in parts]).tolist(),
    }
    items = [Decision(**dict(zip(columns, line, strict=True))) for line in zip(*columns.values(), strict=True)]
    return facts_of(bracket), items


def facts_of(bracket: Bracket) -> DecisionFacts:
    """What all rows of the bracket share."""
    own, foe = bracket.policy, bracket.opponent
    return DecisionFacts(
        scenario=bracket.scenario,
        policy=own.name,
        method=own.card.method,
        opponent=foe.name if foe else "",
        epsilon=bracket.attack.threat.epsilon,
        attack=bracket.attack_name,
        attack_parameters=parameters_json({own.card.role: bracket.attack}),
        rounds=bracket.rounds,
        seed=bracket.seed,
        cell=bracket.id,
        game=bracket.game.model_dump_json(),
        policy_hash=own.card.hash,
        opponent_hash=foe.hash if foe else "",
        instructions=instructions(),
        versions=json.dumps(computed_by() | bracket.game.versions, sort_keys=True),
    )
