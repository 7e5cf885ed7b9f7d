"""Which cells an evaluation is made of: policy x attack x epsilon x victims x count, each named by what is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from marlrobust.attacks import ATTACKS, VICTIMS
from marlrobust.attacks.attack import Attack, Threat
from marlrobust.attacks.victims import RandomVictims, Victims
from marlrobust.evaluation.provenance import class_of, computed_by, instructions
from marlrobust.evaluation.settings import Named, SweepSettings
from marlrobust.files import digest
from marlrobust.games import Scenario
from marlrobust.games.game import Team
from marlrobust.parameters import build
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.rows import NOT_ATTACKED, Whole, slug


@dataclass(frozen=True)
class Cell:
    """One policy under one attack with one count of attacked agents. Its rows depend on nothing else."""

    game: Scenario
    teams: tuple[Team, Team]
    policy: StoredPolicy
    opponent: StoredPolicy
    attack: Attack | None  # None: clean
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

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that its rows depend on, resolved: never what was typed."""
        attack = self.attack and {"class": class_of(self.attack), **self.attack.parameters()}
        return {
            "game": [self.policy.card.scenario, class_of(self.game), self.game.model_dump(mode="json")],
            "policy": self.policy.card.hash,
            "opponent": self.opponent.card.hash,
            "attack": attack,
            "agents": self.agents,
            "victims": attack and {"class": class_of(self.victims), **self.victims.parameters()},
            "budget": self.budget,
            "rounds": self.rounds,
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
        what = [self.policy.card.scenario, self.policy.name, self.attack_name]
        if self.attack is not None:
            what += [f"e{self.attack.threat.epsilon:g}", f"k{self.agents}", self.victims_name]
        return f"{slug('-'.join(what))}-{self.id}"

    @cached_property
    def rehearsals(self) -> int:
        """Rounds that a search for its victims plays beside its own."""
        return self.victims.rehearsals(self.agents, self.teams[0].size) if self.attack else 0

    @property
    def work(self) -> int:
        """Rounds to be played for it, rehearsals included."""
        return self.rounds + self.rehearsals

    @property
    def cost(self) -> float:
        """What its work costs, in clean rounds, roughly: an attacked decision is worth five."""
        return self.work * (1 + 4 * self.agents / self.teams[0].size)


@dataclass(frozen=True)
class Plan:
    """cells: to be played, each once; wholes: counts above a team's size; notes: what the reader must know."""

    cells: tuple[Cell, ...]
    wholes: tuple[Whole, ...]
    notes: tuple[str, ...]

    @property
    def id(self) -> str:
        """Digest of all cells and counts: the same evaluation has the same one, whenever it is asked for."""
        return digest([sorted(cell.id for cell in self.cells), [w.model_dump() for w in self.wholes]])[:16]


def plan(settings: SweepSettings, policies: Sequence[StoredPolicy], library: Library) -> Plan:
    """The evaluation of `policies`. Raises UserError, before anything is played, for what is not there or cannot be.

    A clean cell serves every attack; a count above the team's size is the whole team's, played once.
    """
    cells: dict[str, Cell] = {}
    wholes: dict[Whole, None] = {}
    notes: dict[str, None] = {}
    victims = [build("victims", v.name, VICTIMS[v.name], v.parameters) for v in settings.victims]
    first: dict[tuple[str, str], StoredPolicy] = {}
    for policy in policies:
        scenario = policy.card.scenario
        if (same := first.setdefault((scenario, policy.card.hash), policy)) is not policy:
            notes[f"{policy.full_name} has the same weights as {same.full_name}: it is played once, as that."] = None
            continue
        game, opponent = settings.game_of(scenario), library.opponent(settings.opponent, scenario)
        teams = game.make(1).teams
        shared: dict[str, Any] = {
            **{"game": game, "teams": teams, "policy": policy, "opponent": opponent, "features": settings.features},
            **settings.model_dump(include={"rounds", "seed", "greedy", "device"}),
        }
        attacks = [
            (asked.name, make_attack(asked, settings.norm, epsilon, settings.features, teams[0]))
            for asked, epsilon in product(settings.attacks, settings.epsilons)
        ]
        for note in _notes(settings, game, (policy, opponent)):
            notes[note] = None
        for count in settings.agents:
            if count == 0:
                add(cells, Cell(attack=None, attack_name=NOT_ATTACKED, **NOBODY, **shared))
                continue
            size = min(count, teams[0].size)
            if count > size:
                wholes[Whole(scenario=scenario, asked=count, team_size=size)] = None
            for (name, attack), (asked, how) in product(attacks, zip(settings.victims, victims, strict=True)):
                resolved = attack.resolved(policy, library)
                who: dict[str, Any] = {"agents": size, "victims": how, "victims_name": asked.name}
                cell = Cell(attack=resolved, attack_name=name, **who, budget=settings.budget, **shared)
                assert cell.work >= cell.rounds  # asked now: it raises where a search has too few rounds
                add(cells, cell)
    bundled = dict.fromkeys(p.name for c in cells.values() for p in (c.policy, c.opponent) if p.bundled)
    said = [
        *(
            f"{w.scenario} has {w.team_size} agents under test: a count of {w.asked} means the whole team."
            for w in wholes
        ),
        *notes,
        *([f"Policies that come with marlrobust: {', '.join(bundled)}."] if bundled else []),
    ]
    return Plan(tuple(cells.values()), tuple(wholes), tuple(said))


NOBODY: dict[str, Any] = {"agents": 0, "victims": RandomVictims(), "victims_name": "random", "budget": None}


def add(cells: dict[str, Cell], cell: Cell) -> None:
    cells.setdefault(cell.id, cell)


def make_attack(asked: Named, norm: str, epsilon: float, features: str, team: Team) -> Attack:
    """The attack that was asked for, on states of `team`; raises UserError for parameters that it has not."""
    mask = None
    if features != "all":
        mask = (np.arange(team.state_size) < team.view_size) == (features == "view")
    threat = Threat(norm=norm, epsilon=epsilon, features=mask)  # type: ignore[arg-type]
    return build("attack", asked.name, ATTACKS[asked.name], asked.parameters, threat=threat)


def _notes(settings: SweepSettings, game: Scenario, policies: tuple[StoredPolicy, ...]) -> list[str]:
    """Doubts that are known before a round is played."""
    notes = [
        f"Epsilon {epsilon:g} is larger than the range in which nearly all numbers of a state lie ({game.span:g}): "
        "is it meant so?"
        for epsilon in settings.epsilons
        if epsilon > game.span
    ]
    for p in policies:
        if p.card.interrupted:
            notes.append(
                f"The training of {p.full_name} was interrupted after {p.card.rounds} of "
                f"{p.card.planned_rounds} rounds."
            )
    return notes


def parameters_json(thing: Attack | Victims | None) -> str:
    """A thing's parameters as a row has them; what a mask leaves free, the column `features` says."""
    if thing is None:
        return "{}"
    parameters = thing.parameters()
    if "threat" in parameters:
        parameters["threat"] = {k: v for k, v in parameters["threat"].items() if k != "features"}
    return json.dumps(parameters, sort_keys=True)
