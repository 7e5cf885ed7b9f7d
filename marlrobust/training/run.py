"""A training as the command line asks for it: who takes part, where it is stored, whether it begins or goes on."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from marlrobust.attacks.learned import adversary_name
from marlrobust.config import dump, load, resolve
from marlrobust.defenses.methods import METHODS
from marlrobust.devices import checked_device
from marlrobust.errors import UserError
from marlrobust.files import write_bytes
from marlrobust.games.scenario import roles_of
from marlrobust.policies.library import LOG, RUNS, Library, training_name
from marlrobust.registry import imported
from marlrobust.rows import slug
from marlrobust.training.adversary import AgainstTeam
from marlrobust.training.cast import Cast
from marlrobust.training.distill import Distillation, student_name
from marlrobust.training.distill_settings import DistillSettings
from marlrobust.training.log import Say, to_stderr
from marlrobust.training.settings import AdversarySettings, LearningSettings, TrainSettings
from marlrobust.training.state import STATE, storing
from marlrobust.training.trainer import Trainer

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Training:
    """A training that is ready to run. done: it was trained to its end before; again: the command that goes on with
    it; name: what it trains, in two words."""

    trainer: Trainer
    folder: Path
    name: str
    again: str
    done: bool


def prepare(
    settings: LearningSettings,
    *,
    runs: Path,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    trust: bool = False,
    say: Say = to_stderr,
) -> Training:
    """Make the trainer of `settings`, brought to where an earlier run of it stopped, and store its settings.

    runs: folder of trained policies, and of this one unless `out` names its folder; resume: go on with what is stored
    there; overwrite: remove that, and begin anew; trust: load also policies in files that can run code. Raises
    UserError where a training is stored and neither was asked for, or one of other settings.
    """
    checked_device(settings.device)
    name, cast = _cast(settings, Library(runs, trust))
    settings = cast.settings
    folder = out or runs / slug(settings.scenario) / training_name(name, settings.seed)
    stored = folder / CONFIG
    where = [] if runs == RUNS else ["--runs", str(runs)]
    again = shlex.join(
        ["marlrobust", settings.command, "--config", str(stored), *where, "--out", str(folder), "--resume"]
    )
    if stored.exists() and not overwrite:
        if not resume:
            raise UserError(f"{folder} holds a training already: give --resume to go on, or --overwrite to start anew")
        if not _is_of(load(stored), settings):
            raise UserError(f"{folder} was trained with other settings: resume it with '{again}'")
    torch.set_num_threads(1)  # a process per training is the better use of cores
    trainer = Trainer(cast, folder, say)
    if overwrite:
        policies = (f"{role}{suffix}" for role in cast.students for suffix in (".safetensors", ".json"))
        for file in (STATE, LOG, *policies):
            (folder / file).unlink(missing_ok=True)
    done = resume and trainer.stored_rounds() >= trainer.total_rounds
    if not done:
        with storing(stored):
            write_bytes(stored, dump(settings).encode())
        trainer.resume()
    return Training(trainer, folder, f"{name} {settings.scenario}", again, done)


def _is_of(stored: dict[str, Any], settings: LearningSettings) -> bool:
    """Whether what a training stored are these settings."""
    try:
        return resolve(type(settings), stored) == settings
    except UserError:  # of another kind of training, or another version
        return False


def _cast(settings: LearningSettings, library: Library) -> tuple[str, Cast]:
    """What the training is called, and who takes part in it."""
    if isinstance(settings, TrainSettings):
        cast: Cast = imported(METHODS[settings.method].cast_name)(settings)
        return cast.method, cast
    assert isinstance(settings, AdversarySettings | DistillSettings)
    teams = settings.game.teams
    own, foes = (roles_of(teams, (0,), others=others) for others in (False, True))
    name = settings.opponent or settings.game.opponent
    opponent = library.opponent(name, settings.scenario, foes) if foes else None
    if isinstance(settings, DistillSettings):
        (teacher,) = library.choose([settings.teacher], {settings.scenario: own})
        return student_name(teacher.name), Distillation(settings, teacher, opponent)
    if len(own) > 1:
        raise UserError(f"an adversary is trained for one role, and a team of {settings.scenario} has several")
    victim = library.policy(settings.against, settings.scenario, own[0])
    return adversary_name(victim.path.parent.name), AgainstTeam(settings, victim, opponent)
