"""What an evaluation, and a certification, can be asked: each field's description is its help on the command line."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from marlrobust.config import Settings
from marlrobust.errors import UserError
from marlrobust.games import SCENARIOS, Scenario, check_name, make_scenario
from marlrobust.games.scenario import Teams, roles_of, team_numbers
from marlrobust.policies.proofs import BRANCHES, Bounds


class Named(Settings):
    """Something from a registry: its name, and the parameters that differ from its defaults.

    May be given as text, `pgd:steps=20,start=uniform`; its parameters then stay text, which their own types read.
    """

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name, _, tail = value.partition(":")
        parts = [part.partition("=") for part in tail.split(",") if part]
        if not all(equals for _, equals, _ in parts):
            raise ValueError("it takes NAME or NAME:PARAMETER=VALUE,...")
        return {"name": name, "parameters": {key.strip(): text.strip() for key, _, text in parts}}


def several(value: Any) -> Any:
    """`0,8,16` as its parts."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def number(value: Any) -> Any:
    """Text as a number: 0.075, or 8/255. ValueError where a comma was probably meant as a point."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if len(text) > 1 and text[0] == "0" and text.isdigit():
        raise ValueError(f"it begins with 0 and is no fraction: is a comma meant as a point? Write 0.{text}")
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError("it takes numbers, as in 0.075, 8/255 or 0.05,0.1") from None


Radii = Annotated[tuple[Annotated[float, BeforeValidator(number)], ...], BeforeValidator(several)]


def part(value: Any) -> Any:
    """`3/16` as (3, 16)."""
    if isinstance(value, str):
        i, slash, n = value.partition("/")
        if not (slash and i.strip().isdigit() and n.strip().isdigit()):
            raise ValueError("a shard is its number, and how many there are, as in 3/16")
        value = (int(i), int(n))
    if isinstance(value, tuple | list) and len(value) == 2 and not 1 <= value[0] <= value[1]:
        raise ValueError(f"shards are numbered from 1: there is no {value[0]}/{value[1]}")
    return value


Shard = Annotated[tuple[int, int], BeforeValidator(part)]
Counts = Annotated[tuple[int, ...], BeforeValidator(several)]


class Played(Settings):
    """What all that is played has in common: who, in which game, from which seed."""

    policies: tuple[str, ...] = Field(
        (), description="A policy's name, folder or file. May be repeated.  [default: all under --runs]"
    )
    scenario: str | None = Field(
        None,
        description="The game: one of 'marlrobust list scenarios', pettingzoo:MODULE, or MODULE:FUNCTION that makes a "
        "PettingZoo environment.  [default: all for which there are policies]",
    )
    game: dict[str, Any] = Field(default_factory=dict)  # settings of the game, where they are not the usual ones
    team: tuple[str, ...] = Field(
        (),
        description="A team of the game that is tested, and may be attacked. May be repeated.  [default: its first]",
    )
    opponent: str | None = Field(
        None, description="Whom the policies play. It is never attacked.  [default: the game's own, a2c]"
    )
    rounds: int = Field(50, ge=1, le=1_000_000, description="Rounds per cell.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything random.")

    @field_validator("scenario")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            check_name(name)
        return name

    def game_of(self, scenario: str) -> Scenario:
        """The game that is played in `scenario`; raises UserError for settings that it has not."""
        return make_scenario(scenario, self.game)

    def roles(self) -> dict[str, tuple[str, ...]]:
        """The roles of the policies under test, in the game that was named or in each that there is. Raises UserError
        for a team that no such game has."""
        games: dict[str, Teams] = (
            {self.scenario: self.game_of(self.scenario).teams}
            if self.scenario
            else {name: kind.teams for name, kind in SCENARIOS.items() if set(self.team) <= set(kind.teams)}
        )
        if not games:
            raise UserError(f"no game has the teams {' and '.join(self.team)}: leave out --team, or give --scenario")
        return {name: roles_of(teams, team_numbers(teams, self.team)) for name, teams in games.items()}


def radii(values: tuple[float, ...]) -> tuple[float, ...]:
    """The epsilons, each once; ValueError where one is no radius."""
    if not values or any(not 0 <= v < math.inf for v in values):
        raise ValueError("epsilon is a radius: one or more finite numbers, zero or larger")
    return tuple(dict.fromkeys(values))


class SweepSettings(Played):
    """The grid of an evaluation: policies x attacks x epsilons x victims x counts, each cell a batch of rounds."""

    attacks: tuple[Named, ...] = Field(
        (Named(name="pgd"),),
        min_length=1,
        description="NAME or NAME:steps=20,restarts=2. May be repeated.  [default: pgd]",
    )
    norm: Literal["l_inf", "l_2"] = Field("l_inf", description="How a perturbation is measured.")
    epsilons: Radii = Field(
        (0.075,),
        description="Largest perturbation, in the units of a state's numbers: 0.075, 8/255, or several: 0.05,0.1.",
    )
    agents: Counts = Field(
        (0, 8, 16, 32, 48, 64), min_length=1, description="How many agents are attacked: one count, or several."
    )
    victims: tuple[Named, ...] = Field(
        (Named(name="random"),),
        min_length=1,
        description="How attacked agents are chosen: NAME or NAME:PARAMETER=VALUE. May be repeated.  [default: random]",
    )
    until: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="Add rounds until the interval of the win rate reaches no further than this to either side: 0.02. "
        "It begins with --rounds.  [default: play --rounds]",
    )
    most_rounds: int = Field(5000, ge=1, le=1_000_000, description="With --until: rounds per cell, at most.")
    budget: int | None = Field(None, ge=1, description="Attacked steps per round, at most.  [default: no limit]")
    features: Literal["all", "view", "features"] = Field("all", description="Which part of a state may be perturbed.")
    in_range: bool = Field(
        True, description="Moved states stay inside the limits of the game's observations, where it gives any."
    )
    greedy: bool = Field(False, description="Agents take their likeliest action, or sample one.  [default: sample]")
    replays: bool = Field(
        True, description="Record a round of each policy, clean and attacked, to be watched in the report."
    )
    shard: Shard | None = Field(
        None, description="Play one part of the evaluation, as in 3/16; 'marlrobust merge' puts the parts together."
    )
    workers: int = Field(1, ge=1, le=1024, description="Processes side by side.  [default: one per core]")
    device: str = Field("cpu", description="cpu or cuda.")

    _epsilons = field_validator("epsilons")(radii)

    @model_validator(mode="after")
    def _parts(self) -> SweepSettings:
        if self.shard and self.until is not None:
            raise ValueError("--until and --shard do not go together: what one part needs, another does not know")
        return self

    @field_validator("agents")
    @classmethod
    def _agents(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= v <= 1_000_000 for v in values):
            raise ValueError("a count of attacked agents is a whole number from 0 to 1000000")
        return tuple(sorted(set(values)))


class CertifySettings(Played):
    """Decisions of policies that nobody attacks, of which is asked how many an attack could have turned."""

    attack: Named = Field(Named(name="auto"), description="The attack that tries to turn decisions.  [default: auto]")
    epsilons: Radii = Field((0.001, 0.01, 0.03, 0.075), description="l_inf radii.")
    rounds: int = Field(20, ge=1, le=1_000_000, description="Rounds that are played.")
    decisions: int = Field(
        320, ge=1, le=1_000_000, description="Decisions that are looked at, drawn from all that the team makes."
    )
    bounds: Bounds = Field("crown", description="How far a proof goes, each beyond those before it.")
    branches: int = Field(
        BRANCHES, ge=2, le=10**6, description="Parts per action, at most, into which 'complete' splits what is open."
    )
    whole_rounds: bool = Field(
        False,
        description="Play the rounds greedily too, and tell in how many of them no adversary can change anything.",
    )

    _epsilons = field_validator("epsilons")(radii)
