"""What a training can be told, and how its settings come together: presets, a file, flags."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from marlrobust.config import FieldError, Settings, resolve
from marlrobust.devices import fast_precision
from marlrobust.errors import UserError
from marlrobust.evaluation.settings import Named
from marlrobust.games import Scenario, kind_of, make_scenario
from marlrobust.training import LEARNERS

BATTLE = "battle"
MOST_ROUNDS = 100_000

# What makes a training one of minutes, beside what each scenario says: enough to see the plain method fall, not
# enough for the paper's figures.
SHORT: dict[str, Any] = {"past_share": 0.0, "robust_learning_rate": 1e-4, "robust_replay_ratio": 1.0}


class LearningSettings(Settings):
    """What every training has, whoever learns. Lengths are in rounds, played `parallel_rounds` at once."""

    noun: ClassVar[str] = "a training"
    command: ClassVar[str] = "train"

    scenario: str = Field(BATTLE, description="Name of the game, or what makes it: pettingzoo:MODULE, MODULE:FUNCTION.")
    game: SerializeAsAny[Scenario] = Field(
        cast(Any, {}), validate_default=True, description="Settings of the game, as a table."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything random in the training.")
    device: str = Field("cpu", description="Where to compute: cpu or cuda.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", validate_default=True, description="Of the layers' products; auto: bfloat16 where that is faster."
    )
    parallel_rounds: int = Field(8, ge=1, le=1024, description="Rounds that are played at once.")
    epsilon: float = Field(0.075, ge=0, description="l_inf radius of the attack in training, in state units.")
    attack_steps: int = Field(5, ge=1, le=10_000, description="Gradient steps of the attack in training.")
    defended_share: float = Field(
        0.25, gt=0, le=1, description="Share of each batch for which the defence's loss is computed."
    )
    # with 0.95 the winners of battle stand about: the last opponents are far away
    gamma: float = Field(0.98, ge=0, lt=1, description="Discount of later rewards, per step.")
    learning_rate: float = Field(3e-4, gt=0, description="Step size of the optimiser (before M_norm).")
    gradient_norm: float = Field(5.0, gt=0, description="Gradients longer than this are shortened to it.")
    tau: float = Field(0.01, gt=0, le=1, description="How far the target networks move per update.")
    batch_size: int = Field(1024, ge=1, le=1_000_000, description="Transitions per update.")
    mirrors: bool = Field(True, description="Learn from replay in the game's mirrors too, where it has some.")
    replay_size: int = Field(
        200_000, ge=1, le=10_000_000, description="Transitions that are kept to learn from, per policy."
    )

    @field_validator("precision")
    @classmethod
    def _of_device(cls, value: str, info: ValidationInfo) -> str:
        """What is stored is what is computed with, so that a training goes on as it began."""
        return fast_precision(info.data.get("device", "cpu")) if value == "auto" else value

    @field_validator("game", mode="before")
    @classmethod
    def _of_scenario(cls, value: Any, info: ValidationInfo) -> Any:
        """The scenario's own settings, from the table of those that were set."""
        if isinstance(value, Scenario):
            return value
        if "scenario" not in info.data:
            raise ValueError("it belongs to no scenario")
        if not isinstance(value, dict):
            raise ValueError("the game's settings are a table, as in {max_steps: 400}")
        try:
            return make_scenario(info.data["scenario"], value)
        except FieldError as error:
            raise error.inside("game") from None


class TrainSettings(LearningSettings):
    """A team trained by self-play: Algorithm 1 with replay and target networks; eq. 13 counts rounds."""

    noun: ClassVar[str] = "a training by self-play"

    learner: Named = Field(
        Named(name="mean-field"),
        description="What learns, as NAME or NAME:PARAMETER=VALUE  [default: mean-field]: "
        "see 'marlrobust list learners'.",
    )
    method: str = Field("romfac", description="How it is trained: see 'marlrobust list methods'.")
    hidden: int = Field(256, ge=1, le=16_384, description="Width of the networks' hidden layers.")
    embedding: int = Field(64, ge=1, le=16_384, description="Width of the layer that reads the mean action.")

    normal_rounds: int = Field(
        1600, ge=0, le=MOST_ROUNDS, description="Rounds before the action loss (M_norm), the same for all methods."
    )
    # trained as long as the methods it is their equal, and hides what sets them apart
    opponent_rounds: int = Field(
        400, ge=0, le=MOST_ROUNDS, description="Rounds of a method that is trained as an opponent (a2c)."
    )
    loop_rounds: int = Field(
        200,
        ge=1,
        le=MOST_ROUNDS,
        description="Rounds per loop after M_norm (M_adv); a method with one loop gets one that long as all.",
    )
    loops: int = Field(3, ge=1, le=1000, description="Loops after M_norm.")
    ramp: float = Field(0.8, gt=0, le=1, description="Share of a loop in which mu or epsilon rises (omega).")
    # 0.3 defends more in battle, and costs clean wins: entropy goes to 0
    mu_max: float = Field(0.1, ge=0, description="Largest weight of the action loss.")
    past_share: float = Field(
        0.5, ge=0, le=1, description="Share of the rounds after M_norm played against the policy of M_norm."
    )
    # a team that only meets strong opponents forgets how to find those that hide
    young_share: float = Field(
        0.5, ge=0, le=1, description="Share of those rounds in which the opponent is the policy of M_norm / 4."
    )
    robust_learning_rate: float = Field(2e-4, gt=0, description="Step size after M_norm, for all methods.")
    # with 0.02 nobody dares to attack in battle
    first_entropy: float = Field(0.08, ge=0, description="Weight of the entropy bonus at round 0.")
    entropy: float = Field(0.02, ge=0, description="Its weight from half of M_norm on; it falls geometrically.")
    # 0.03 makes for long rounds
    robust_entropy: float = Field(0.01, ge=0, description="Its weight after M_norm, for all methods.")
    replay_ratio: float = Field(0.5, gt=0, description="Transitions learned from per transition played.")
    # robustness comes with updates
    robust_replay_ratio: float = Field(4.0, gt=0, description="The same after M_norm, for all methods.")

    @field_validator("learner")
    @classmethod
    def _known(cls, value: Named) -> Named:
        LEARNERS.check(value.name)
        return value

    def normal_phase(self) -> dict[str, Any]:
        """What the rounds before M_norm depend on: methods that agree in it share those rounds."""
        later = {
            "method", "loop_rounds", "loops", "ramp", "mu_max", "epsilon", "attack_steps", "defended_share",
            "opponent_rounds", "past_share", "young_share", "robust_learning_rate", "robust_entropy",
            "robust_replay_ratio",
        }  # fmt: skip
        return self.model_dump(exclude=later)


class AdversarySettings(LearningSettings):
    """An adversary for the attack `learned`: it begins with what the team's critic says, and is trained for minutes."""

    noun: ClassVar[str] = "the training of an adversary"

    against: str = Field(description="The policy that it learns to attack: a name, a folder or a file.")
    opponent: str | None = Field(None, description="Whom that policy plays; if not given, the scenario's opponent.")
    rounds: int = Field(240, ge=1, le=MOST_ROUNDS, description="Rounds of the whole training.")
    first_entropy: float = Field(0.05, ge=0, description="Weight of the entropy bonus at round 0.")
    entropy: float = Field(0.01, ge=0, description="Its weight from half of the rounds on; it falls geometrically.")
    # rounds of a team under attack are short
    replay_ratio: float = Field(12.0, gt=0, description="Transitions learned from per transition played.")


def train_settings(
    given: dict[str, Any], asked: dict[str, Any], *, short: bool = False
) -> TrainSettings | AdversarySettings:
    """Settings of a training from what a file gives and what flags ask for, above the scenario's presets.

    given, asked: tables of settings, the second wins; short: take the presets of a training of minutes. What names a
    policy to train `against` makes it an adversary's. Raises UserError that names what does not fit.
    """
    named = {**given, **asked}
    adversary = named.get("against") is not None
    kind = AdversarySettings if adversary else TrainSettings
    if odd := [name for name in asked if name not in kind.model_fields]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in odd)
        against = "" if adversary else " (--against NAME trains an adversary)"
        raise UserError(f"{kind.noun} takes no {flags}: leave it out{against}")
    scenario = named.get("scenario", BATTLE)
    presets: list[dict[str, Any]] = []
    if isinstance(scenario, str):
        of, _ = kind_of(scenario)
        presets = [of.preset, *([SHORT, of.short] if short else [])]
    if adversary:  # presets are made for teams: an adversary takes what every training has
        presets = [{k: v for k, v in preset.items() if k in LearningSettings.model_fields} for preset in presets]
        return resolve(AdversarySettings, *presets, given, asked)
    return resolve(TrainSettings, *presets, given, asked)
