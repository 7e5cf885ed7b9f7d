"""What a distillation can be told."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from marlrobust.config import resolve
from marlrobust.games import kind_of
from marlrobust.policies.library import BUNDLED
from marlrobust.training.settings import BATTLE, MOST_ROUNDS, LearningSettings


class DistillSettings(LearningSettings):
    """A certified student of a team: it does what its teacher does, and no state within epsilon changes it."""

    noun: ClassVar[str] = "a distillation"
    command: ClassVar[str] = "distill"

    teacher: str = Field(description="The team to learn from: any policy that can be attacked can be a teacher.")
    teacher_hash: str = Field("", description="Of the teacher's file: another one of that name is refused.")
    opponent: str | None = Field(None, description="Whom the team plays; if not given, the scenario's opponent.")
    hidden: int = Field(256, ge=1, le=16_384, description="Width of the student's hidden layers.")
    embedding: int = Field(64, ge=1, le=16_384, description="Width of the layer that reads the mean action.")
    rounds: int = Field(112, ge=1, le=MOST_ROUNDS, description="Rounds of the whole training.")
    teacher_share: float = Field(
        0.3, ge=0, le=1, description="Share of the training in which the teacher plays too, less and less."
    )
    sharpness: float = Field(3.0, gt=0, description="The teacher's logits are multiplied by it before they are taught.")
    # which of two opponents to hit is all the same to a teacher: a student that may choose proves more
    leeway: float = Field(
        1.0, gt=0, le=1, description="Share of the teacher's likeliest action that an action must have to be as good."
    )
    # certificates are the same with any; where chance is no help, less of it wins more
    certainty: float = Field(1.0, gt=0, description="The student's logits end up that many times as large.")
    # what is learned by intervals holds a little less far in exact proofs
    epsilon: float = Field(0.08, ge=0, description="l_inf radius of the interval loss; take more than is to be proven.")
    weight: float = Field(0.6, ge=0, le=1, description="Largest weight of the interval loss; the rest is imitation.")
    ramp: float = Field(0.6, gt=0, le=1, description="Share of the training in which weight and epsilon rise.")
    cooling: float = Field(
        0.4, gt=0, le=1, description="Share of the training in which the step size falls, at its end."
    )
    learning_rate: float = Field(5e-4, gt=0, description="Step size of the optimiser.")
    batch_size: int = Field(256, ge=1, le=1_000_000, description="Decisions per update.")
    replay_ratio: float = Field(8.0, gt=0, description="Decisions learned from per decision played.")
    # a team trained by self-play can be at home on one side, and stall on the other
    side: Literal["both", "first", "second"] = Field(
        "both", description="Side that is played; of one alone, the other is learned in its mirror."
    )
    mirrors: Literal[False] = Field(False, description="Of other trainings: a distillation has a side.")


def distill_settings(given: dict[str, Any], asked: dict[str, Any]) -> DistillSettings:
    """Settings of a distillation from what a file gives and what flags ask for; the second wins. Raises UserError that
    names what does not fit.

    Above the game's own settings for it (`Scenario.distilled`), not above its presets for learning from rewards: rounds
    are as long as tests play them. A bundled teacher's name says its game: `zoo:pursuit/mfac`.
    """
    teacher = str({**given, **asked}.get("teacher", ""))
    of, slash, _ = teacher.removeprefix(BUNDLED).partition("/")
    bundled = {"scenario": of} if teacher.startswith(BUNDLED) and slash else {}
    game = {**bundled, **given, **asked}.get("scenario", BATTLE)
    distilled = kind_of(game)[0].distilled if isinstance(game, str) else {}
    return resolve(DistillSettings, distilled, bundled, given, asked)
