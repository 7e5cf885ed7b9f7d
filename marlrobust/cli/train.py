"""`marlrobust train`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from marlrobust import config as configuration
from marlrobust.cli.command import Command, config_option, game_option, given, options, out_option, runs_option, say
from marlrobust.defenses.methods import METHODS
from marlrobust.progress import Progress
from marlrobust.training.settings import AdversarySettings, TrainSettings, train_settings

if TYPE_CHECKING:
    from marlrobust.training.run import Training


@click.command("train", cls=Command)
@options(TrainSettings, learner="--learner", method="--method", scenario="--game --scenario", seed="--seed")
@options(AdversarySettings, against="--against", opponent="--opponent")
@options(TrainSettings, normal_rounds="--normal-rounds", loop_rounds="--loop-rounds")
@game_option
@options(TrainSettings, device="--device")
@click.option("--short", is_flag=True, help="A training of minutes.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@click.option("--overwrite", is_flag=True, help="Start anew where a training is stored.")
@config_option
@runs_option
@out_option("Folder to write.  [default: RUNS/SCENARIO/METHOD]")
def command(
    config: Path | None, runs: Path, out: Path | None, short: bool, resume: bool, overwrite: bool, **flags: Any
) -> None:
    """Train a method by self-play, as the paper does (Algorithm 1) or by another learner; or an adversary against a
    team that is trained.

    \b
    marlrobust train --method romfac
    marlrobust train --method mfac --scenario pursuit --seed 1
    marlrobust train --learner ippo --game pettingzoo:mpe2.simple_spread_v3
    marlrobust train --method romfac --resume          # after an interruption
    marlrobust train --against zoo:battle/mfac         # an adversary, for the attack 'learned'

    Writes the policy (safetensors, with a JSON card), train.csv with a row per batch of rounds, the resolved
    config.yaml, and checkpoints. Ctrl-C saves.
    """
    asked = given(flags)
    if "method" in asked:
        METHODS.check(asked["method"])
    settings = train_settings(configuration.load(config) if config else {}, asked, short=short)

    from marlrobust.training.run import prepare  # only now: it takes seconds to import

    run(prepare(settings, runs=runs, out=out, resume=resume, overwrite=overwrite, say=say))


def run(training: Training) -> None:
    """Train to the end, or until a signal asks to stop, with its progress."""
    trainer, folder = training.trainer, training.folder
    if training.done:
        click.echo(f"{folder} is trained to its end already")
        return
    with Progress(training.name, "rounds", trainer.total_rounds, done=trainer.rounds) as progress:

        def report(row: dict[str, float]) -> None:
            note = "reward {reward:.0f} kills {kills:.0f} entropy {entropy:.2f} mu {mu:.3f} flips {flip_rate:.2f}"
            progress.advance(trainer.settings.parallel_rounds, note.format(**row))

        trainer.run(stop=_stop_on_signal(), report=report)
    if not trainer.finished:
        click.echo(
            f"stopped after {trainer.rounds} of {trainer.total_rounds} rounds, saved; go on with: {training.again}"
        )
        raise SystemExit(130)
    click.echo(f"trained {training.name} for {trainer.rounds} rounds: {folder}")


def _stop_on_signal() -> Callable[[], bool]:
    """The first Ctrl-C, or SIGTERM, asks for an end after this batch of rounds; a second Ctrl-C ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        click.echo("\nfinishing this batch of rounds, then saving (Ctrl-C again to lose the batch)", err=True)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), ask)
    return lambda: bool(asked)
