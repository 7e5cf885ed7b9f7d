"""Which cells an evaluation is made of: policy x attack x epsilon x victims x count, each named by what is run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from marlrobust.attacks import ATTACKS, VICTIMS
from marlrobust.attacks.attack import Attack, Threat
from marlrobust.attacks.vectors import refuse_misfit
from marlrobust.attacks.victims import RandomVictims, Victims
from marlrobust.errors import UserError
from marlrobust.evaluation.provenance import class_of, computed_by, instructions
from marlrobust.evaluation.settings import Named, Played, SweepSettings
from marlrobust.files import digest
from marlrobust.games import Scenario
from marlrobust.games.game import Group
from marlrobust.games.scenario import roles_of, team_numbers
from marlrobust.parameters import build
from marlrobust.policies.adapters import policy_for
from marlrobust.policies.library import Library, StoredPolicy, StoredTeam
from marlrobust.policies.policy import Policy
from marlrobust.rows import NOT_ATTACKED, Whole, slug


@dataclass(frozen=True)
class Cell:
    """One policy under one attack with one count of attacked agents. Its rows depend on nothing else."""

    game: Scenario
    groups: tuple[Group, ...]
    team: tuple[int, ...]  # numbers of the teams under test
    policy: StoredTeam
    opponent: StoredTeam | None  # None where all teams are under test
    attacks: Mapping[str, Attack]  # by role; none: clean
    attack_name: str
    features: str  # the part of a state that the attack's mask leaves free
    agents: int
    victims: Victims
    victims_name: str
    budget: int | None
    rounds: int
    seed: int
    greedy: bool
    device: str
    first: int = 0  # number of its first round: a cell that goes on where another ends

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that its rows depend on, resolved: never what was typed."""
        attacks: dict[str, Any] = {role: {"class": class_of(a), **a.parameters()} for role, a in self.attacks.items()}
        return {
            "game": [self.policy.scenario, class_of(self.game), self.game.model_dump(mode="json"), self.game.versions],
            "team": self.team,
            "policy": self.policy.hash,
            "opponent": self.opponent and self.opponent.hash,
            "attack": attacks,
            "agents": self.agents,
            "victims": attacks and {"class": class_of(self.victims), **self.victims.parameters()},
            "budget": self.budget,
            "rounds": [self.first, self.rounds] if self.first else self.rounds,
            "seed": self.seed,
            "greedy": self.greedy,
            "device": self.device,
            "instructions": instructions(),
            "versions": {k: v for k, v in computed_by().items() if k != "python"},
        }

    @cached_property
    def id(self) -> str:
        """Digest of the identity."""
        return digest(self.identity)[:16]

    @cached_property
    def name(self) -> str:
        """Of the cell's file: readable, and unique by the identity."""
        what = [self.policy.scenario, self.policy.name, self.attack_name]
        if self.threat is not None:
            what += [f"e{self.threat.epsilon:g}", f"k{self.agents}", self.victims_name]
        return f"{slug('-'.join(what))}-{self.id}"

    @property
    def numbers(self) -> range:
        """The numbers of its rounds."""
        return range(self.first, self.first + self.rounds)

    @property
    def sides(self) -> tuple[StoredTeam, ...]:
        """All who play."""
        return (self.policy,) if self.opponent is None else (self.policy, self.opponent)

    def load(self) -> list[dict[str, Policy]]:
        """The policies of all who play, by role."""
        groups = {group.role: group for group in self.groups}
        loaded = [side.load(self.device) for side in self.sides]
        return [{role: policy_for(p, groups[role]) for role, p in side.items()} for side in loaded]

    @property
    def threat(self) -> Threat | None:
        """How far the attack may go: norm and radius are the same for all roles; None where there is no attack."""
        return next((attack.threat for attack in self.attacks.values()), None)

    @property
    def size(self) -> int:
        """Agents under test."""
        return tested_size(self.groups, self.team)

    @cached_property
    def rehearsals(self) -> int:
        """Rounds that a search for its victims plays beside its own."""
        return self.victims.rehearsals(self.agents, self.size) if self.attacks else 0

    @property
    def work(self) -> int:
        """Rounds to be played for it, rehearsals included."""
        return self.rounds + self.rehearsals

    @property
    def cost(self) -> float:
        """What its work costs, in clean rounds, roughly: an attacked decision is worth five."""
        return self.work * (1 + 4 * self.agents / self.size)


@dataclass(frozen=True)
class Plan:
    """cells: to be played, each once; wholes: counts above a team's size; notes: what the reader must know; until: how
    well a mean is to be known, and the most rounds for that."""

    cells: tuple[Cell, ...]
    wholes: tuple[Whole, ...]
    notes: tuple[str, ...]
    until: tuple[float, int] | None = None

    @property
    def id(self) -> str:
        """Digest of all cells and counts: the same evaluation has the same one, whenever it is asked for."""
        asked = [sorted(cell.id for cell in self.cells), [w.model_dump() for w in self.wholes]]
        return digest([*asked, *(self.until or ())])[:16]


def plan(settings: SweepSettings, policies: Sequence[StoredTeam], library: Library) -> Plan:
    """The evaluation of `policies`. Raises UserError, before anything is played, for what is not there or cannot be.

    A clean cell serves every attack; a count above the team's size is the whole team's, played once.
    """
    cells: dict[str, Cell] = {}
    wholes: dict[Whole, None] = {}
    notes: dict[str, None] = {}
    victims = [build("victims", v.name, VICTIMS[v.name], v.parameters) for v in settings.victims]
    first: dict[tuple[str, str], StoredTeam] = {}
    for policy in policies:
        scenario = policy.scenario
        if (same := first.setdefault((scenario, policy.hash), policy)) is not policy:
            notes[f"{policy.full_name} has the same weights as {same.full_name}: it is played once, as that."] = None
            continue
        match = matched(settings, policy, library)
        team_size = tested_size(match.groups, match.team)
        shared: dict[str, Any] = {
            **{field.name: getattr(match, field.name) for field in fields(match)},
            **{"policy": policy, "features": settings.features},
            **settings.model_dump(include={"rounds", "seed", "greedy", "device"}),
        }
        attacks = [
            (asked.name, match.attacks(policy, asked, settings.norm, epsilon, settings.features, settings.in_range))
            for asked, epsilon in product(settings.attacks, settings.epsilons)
        ]
        for note in _notes(settings, match.game, (policy, match.opponent)):
            notes[note] = None
        for count in settings.agents:
            if count == 0:
                add(cells, Cell(attacks={}, attack_name=NOT_ATTACKED, **NOBODY, **shared))
                continue
            size = min(count, team_size)
            if count > size:
                own = size in settings.agents
                wholes[Whole(scenario=scenario, asked=count, team_size=size, own=own)] = None
            for (name, by_role), (asked, how) in product(attacks, zip(settings.victims, victims, strict=True)):
                resolved = {p.card.role: by_role[p.card.role].resolved(p, library) for p in policy.policies}
                who: dict[str, Any] = {"agents": size, "victims": how, "victims_name": asked.name}
                cell = Cell(attacks=resolved, attack_name=name, **who, budget=settings.budget, **shared)
                assert cell.work >= cell.rounds  # asked now: it raises where a search has too few rounds
                add(cells, cell)
    bundled = dict.fromkeys(p.name for c in cells.values() for p in c.sides if p.bundled)
    said = [
        *(
            f"{w.scenario} has {w.team_size} agents under test: a count of {w.asked} means the whole team."
            for w in wholes
        ),
        *notes,
        *([f"Policies that come with marlrobust: {', '.join(bundled)}."] if bundled else []),
    ]
    until = settings.until and (settings.until, settings.most_rounds)
    return Plan(tuple(cells.values()), tuple(wholes), tuple(said), until or None)


NOBODY: dict[str, Any] = {"agents": 0, "victims": RandomVictims(), "victims_name": "random", "budget": None}


def add(cells: dict[str, Cell], cell: Cell) -> None:
    cells.setdefault(cell.id, cell)


@dataclass(frozen=True)
class Match:
    """The game that a policy is tested in, and who plays it there: see `Cell`."""

    game: Scenario
    groups: tuple[Group, ...]
    team: tuple[int, ...]
    opponent: StoredTeam | None

    def under_test(self, policy: StoredTeam) -> list[tuple[StoredPolicy, Group]]:
        """Each policy of the teams under test, with a group that it plays."""
        groups = {group.role: group for group in reversed(self.groups) if group.team in self.team}
        return [(p, groups[p.card.role]) for p in policy.policies]

    def attacks(
        self, policy: StoredTeam, asked: Named, norm: str, epsilon: float, features: str, in_range: bool
    ) -> dict[str, Attack]:
        """The attack that was asked for, on each role of the policy; see `make_attack`."""
        how = (asked, norm, epsilon, features)
        return {p.card.role: make_attack(*how, group, in_range=in_range) for p, group in self.under_test(policy)}


def matched(settings: Played, policy: StoredTeam, library: Library) -> Match:
    """The match of a policy; raises UserError for a team or an opponent that is not there, and for a policy that takes
    other states than its agents see."""
    game = settings.game_of(policy.scenario)
    numbers = team_numbers(game.teams, settings.team)
    foes = roles_of(game.teams, numbers, others=True)
    if settings.opponent and not foes:
        raise UserError(f"nobody plays against the policies here: leave out the opponent '{settings.opponent}'")
    opponent = library.opponent(settings.opponent or game.opponent, policy.scenario, foes) if foes else None
    groups = game.make(1).groups
    by_role = {group.role: group for group in groups}
    for p in (*policy.policies, *(opponent.policies if opponent else ())):
        seen, takes = by_role[p.card.role].state_size, p.card.state_size
        if takes not in (0, seen):
            raise UserError(f"{p.full_name} takes states of {takes} numbers, a {p.card.role} here sees {seen}")
    return Match(game, groups, numbers, opponent)


def tested_size(groups: Sequence[Group], team: Sequence[int]) -> int:
    """Agents of the teams under test, at a round's start."""
    return sum(group.size for group in groups if group.team in team)


def make_attack(
    asked: Named, norm: str, epsilon: float, features: str, group: Group, *, in_range: bool = False
) -> Attack:
    """The attack that was asked for, on states of `group`, which it keeps inside the limits that those have, if
    `in_range`; raises UserError for parameters that it has not, and where the states have no such part."""
    mask = None
    if features != "all":
        mask = (np.arange(group.state_size) < group.view_size) == (features == "view")
        if not mask.any():
            raise UserError(f"the states of a {group.role} have no part '{features}': leave out --features")
    low, high = (group.low, group.high) if in_range else (None, None)
    threat = Threat(norm=norm, epsilon=epsilon, low=low, high=high, features=mask)  # type: ignore[arg-type]
    made = build("attack", asked.name, ATTACKS[asked.name], asked.parameters, threat=threat)
    refuse_misfit(made, group.box is not None)
    return made


def _notes(settings: SweepSettings, game: Scenario, teams: tuple[StoredTeam | None, ...]) -> list[str]:
    """Doubts that are known before a round is played."""
    notes = [
        f"Epsilon {epsilon:g} is larger than the range in which nearly all numbers of a state lie ({game.span:g}): "
        "is it meant so?"
        for epsilon in settings.epsilons
        if epsilon > game.span
    ]
    notes += [
        f"Epsilon {epsilon:g} is only {100 * epsilon / game.span:.2g} % of the range of the observations "
        f"({game.span:g}): is it meant so?"
        for epsilon in settings.epsilons
        if 0 < epsilon < game.span / 1000 < math.inf
    ]
    for p in filter(None, teams):
        if p.card.interrupted:
            notes.append(
                f"The training of {p.full_name} was interrupted after {p.card.rounds} of "
                f"{p.card.planned_rounds} rounds."
            )
    return notes


def parameters_json(attacks: Mapping[str, Attack]) -> str:
    """The attack's parameters as a row has them, those in which roles differ by role; what a mask leaves free, the
    column `features` says; limits of which each number has its own are those of the game."""
    by_role = {role: attack.parameters() for role, attack in attacks.items()}
    for parameters in by_role.values():
        threat = {k: v for k, v in parameters["threat"].items() if k != "features"}
        parameters["threat"] = {k: "the game's" if isinstance(v, list) else v for k, v in threat.items()}
    first: dict[str, Any] = next(iter(by_role.values()), {})
    shared = {
        name: value if all(p[name] == value for p in by_role.values()) else {r: p[name] for r, p in by_role.items()}
        for name, value in first.items()
    }
    return json.dumps(shared, sort_keys=True)
