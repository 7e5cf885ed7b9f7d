"""Every setting and its default, typed and checked. A YAML file may give any of them; unknown names are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from marlrobust.errors import UserError

Scenario = Literal["battle", "pursuit"]


class Settings(BaseModel):
    """Base of all settings: no unknown fields, no change after the check, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GameSettings(Settings):
    """A game and its rewards (per agent). None: the scenario's own default, see `marlrobust.games.magent`."""

    scenario: Scenario = "battle"
    map_size: int | None = Field(None, ge=7, le=400)
    max_steps: int = Field(400, ge=1)
    rewards: dict[str, float] = Field(default_factory=dict)
    predators: int | None = Field(None, ge=1)
    prey: int | None = Field(None, ge=1)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the game's constructor: those that were set."""
        named = self.model_dump(exclude={"scenario", "rewards"}, exclude_none=True)
        return {**named, **self.rewards}


class TrainSettings(Settings):
    """Algorithm 1 with replay and target networks; the schedule of eq. 13 counts rounds."""

    game: GameSettings = GameSettings()
    method: str = "romfac"
    seed: int = Field(0, ge=0)
    device: str = "cpu"

    against: str | None = None  # of an adversary: the policy that it attacks, a name or a file
    opponent: str = "a2c"  # of an adversary: whom that policy plays

    normal_rounds: int = Field(1600, ge=0)  # M_norm: rounds with mu = 0, the same for all methods
    opponent_rounds: int = Field(400, ge=0)  # of a2c: trained as long as the methods it is their equal, and hides them
    loop_rounds: int = Field(200, ge=1)  # M_adv, of each of the loops
    loops: int = Field(3, ge=1)  # c; a method with one loop gets one of loops * loop_rounds
    ramp: float = Field(0.8, gt=0, le=1)  # omega: share of a loop after which mu stays at mu_max
    mu_max: float = Field(0.1, ge=0)  # 0.3 defends more, and costs clean wins: entropy goes to 0
    epsilon: float = Field(0.075, ge=0)  # l_inf radius of the training attack, in state units
    attack_steps: int = Field(5, ge=1)  # of the inner PGD

    past_share: float = Field(0.5, ge=0, le=1)  # of the rounds after M_norm: played against the policy of M_norm
    parallel_rounds: int = Field(8, ge=1)
    hidden: int = Field(256, ge=1)
    embedding: int = Field(64, ge=1)  # of the mean action
    gamma: float = Field(0.98, ge=0, lt=1)  # with 0.95 the winners stand about: the last opponents are far away
    learning_rate: float = Field(3e-4, gt=0)
    robust_learning_rate: float = Field(2e-4, gt=0)  # after M_norm, for all methods
    first_entropy: float = Field(0.08, ge=0)  # weight of the bonus at round 0: with 0.02 nobody dares to attack
    entropy: float = Field(0.02, ge=0)  # reached, geometrically, after half of M_norm
    robust_entropy: float = Field(0.01, ge=0)  # after M_norm, for all methods: 0.03 makes for long rounds
    gradient_norm: float = Field(5.0, gt=0)
    tau: float = Field(0.01, gt=0, le=1)
    batch_size: int = Field(1024, ge=1)
    replay_size: int = Field(200_000, ge=1)
    replay_ratio: float = Field(0.5, gt=0)  # transitions learned from for each one played
    robust_replay_ratio: float = Field(4.0, gt=0)  # after M_norm, for all methods: robustness comes with updates

    @model_validator(mode="after")
    def _adversary(self) -> TrainSettings:
        if self.against is None and self.method == ADVERSARY:
            raise ValueError("an adversary is trained against a policy: give --against NAME")
        if self.against is not None and self.method != ADVERSARY:
            raise ValueError(f"only an adversary is trained against a policy: give --method {ADVERSARY}")
        return self

    def normal_phase(self) -> dict[str, Any]:
        """What the rounds before M_norm depend on: methods that agree in it share those rounds."""
        later = {
            "method", "against", "opponent", "loop_rounds", "loops", "ramp", "mu_max", "epsilon", "attack_steps",
            "opponent_rounds", "past_share", "robust_learning_rate", "robust_entropy", "robust_replay_ratio",
        }  # fmt: skip
        return self.model_dump(exclude=later)


ADVERSARY = "adversary"
# An adversary begins with what the team's critic says of its actions, and is trained for minutes.
AGAINST: dict[str, Any] = {
    "normal_rounds": 240,
    "replay_ratio": 12.0,  # rounds of a team under attack are short
    "first_entropy": 0.05,
    "entropy": 0.01,
}

# Battle is trained on shorter rounds: a trained team has won or lost by then, an untrained one stands about.
# Pursuit needs more entropy (with 0.02 both sides learn to do nothing) and fewer rounds: each has 400 full steps.
# After M_norm its prey is that of M_norm: nobody attacks it in the test, and it leaves the time to the predators.
PRESETS: dict[str, dict[str, Any]] = {
    "battle": {"game": {"max_steps": 200}},
    "pursuit": {
        "normal_rounds": 160,
        "opponent_rounds": 80,
        "loop_rounds": 40,
        "parallel_rounds": 4,
        "gamma": 0.95,
        "first_entropy": 0.1,
        "entropy": 0.1,
        "past_share": 1.0,
        "mu_max": 0.3,  # with 0.15 an attack turns every third decision
        "attack_steps": 10,  # a team made robust against 5 is turned by 10
        "robust_entropy": 0.1,  # with 0.05 and this mu_max the policy can fall into one action, for good
    },
}


# A training of minutes: enough to see the plain method fall, not enough for the paper's figures.
FEW_UPDATES: dict[str, Any] = {
    "past_share": 0.0,
    "robust_learning_rate": 1e-4,
    "robust_replay_ratio": 1.0,
}
SHORT: dict[str, dict[str, Any]] = {
    "battle": {**FEW_UPDATES, "normal_rounds": 400, "loop_rounds": 48, "robust_entropy": 0.05},
    "pursuit": {
        **FEW_UPDATES,
        "normal_rounds": 40,
        "opponent_rounds": 40,
        "loop_rounds": 12,
        "mu_max": 0.1,
        "attack_steps": 5,
        "robust_entropy": 0.1,
    },
}


def radii(values: tuple[float, ...]) -> tuple[float, ...]:
    """The epsilons as they are; ValueError where one is no radius."""
    if any(not 0 <= v < float("inf") for v in values):
        raise ValueError("epsilon is a radius: a finite number, zero or more")
    return values


class AttackSettings(Settings):
    """One attack as it is run: its name, its own parameters, and the threat it stays inside."""

    name: str = "pgd"
    parameters: dict[str, Any] = Field(default_factory=dict)


class CertifySettings(Settings):
    """Decisions of policies that nobody attacks, of which is asked how many an attack could have turned."""

    policies: tuple[str, ...] = ()  # none: every policy under the runs folder
    scenario: Scenario | None = None
    map_size: int | None = Field(None, ge=7, le=400)
    opponent: str = "a2c"
    attack: AttackSettings = AttackSettings(name="auto")  # what bounds the truth from below
    epsilons: tuple[float, ...] = (0.001, 0.01, 0.03, 0.075)
    rounds: int = Field(20, ge=1)
    decisions: int = Field(320, ge=1)  # drawn from all that the team makes in those rounds
    max_steps: int = Field(400, ge=1)
    seed: int = Field(0, ge=0)

    _epsilons = field_validator("epsilons")(radii)

    def game(self, scenario: str) -> GameSettings:
        """The game that is played in `scenario`."""
        values = {"scenario": scenario, "map_size": self.map_size, "max_steps": self.max_steps}
        return GameSettings.model_validate(values)


class VictimsSettings(Settings):
    """How the attacked agents are chosen: a strategy's name and its own parameters."""

    name: str = "random"
    parameters: dict[str, Any] = Field(default_factory=dict)


class SweepSettings(Settings):
    """The grid of an evaluation: policies x attacks x epsilons x counts, each cell a batch of rounds."""

    policies: tuple[str, ...] = ()  # none: every policy under the runs folder
    scenario: Scenario | None = None  # None: every one that the policies are for
    map_size: int | None = Field(None, ge=7, le=400)
    opponent: str = "a2c"
    attacks: tuple[AttackSettings, ...] = (AttackSettings(),)
    norm: Literal["l_inf", "l_2"] = "l_inf"
    epsilons: tuple[float, ...] = (0.075,)
    agents: tuple[int, ...] = (0, 8, 16, 32, 48, 64)
    victims: tuple[VictimsSettings, ...] = (VictimsSettings(),)
    budget: int | None = Field(None, ge=1)  # attacked steps of a round, at most; None: no limit
    features: Literal["all", "view", "features"] = "all"
    greedy: bool = False
    rounds: int = Field(50, ge=1)
    max_steps: int = Field(400, ge=1)
    seed: int = Field(0, ge=0)
    workers: int = Field(1, ge=1)
    device: str = "cpu"

    _epsilons = field_validator("epsilons")(radii)

    @field_validator("agents")
    @classmethod
    def _agents(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(v < 0 for v in values):
            raise ValueError("a count of attacked agents is zero or more")
        return tuple(sorted(set(values)))

    def game(self, scenario: str) -> GameSettings:
        """The game that is played in `scenario`."""
        values = {"scenario": scenario, "map_size": self.map_size, "max_steps": self.max_steps}
        return GameSettings.model_validate(values)


S = TypeVar("S", bound=Settings)


def resolve(kind: type[S], *layers: dict[str, Any]) -> S:
    """Settings of `kind` from layers of values, the later ones winning; raises UserError that names the field."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merge(merged, layer)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise UserError("; ".join(map(_reason, error.errors()))) from None


def _reason(error: Any) -> str:
    """What is wrong with a field, or with several that do not go together."""
    message: str = error["msg"].removeprefix("Value error, ")
    field = ".".join(map(str, error["loc"]))
    return f"{field}: {message}, not {error['input']!r}" if field else message


def merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    """Put the values of `layer` into `into`, nested tables by their fields."""
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, dict) else value


def load(path: Path) -> dict[str, Any]:
    """The table in a YAML file; raises UserError where it is none."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the configuration {path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"the configuration {path} is no table of names and values")
    return values


def dump(settings: Settings) -> str:
    """The settings as YAML, which `load` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
