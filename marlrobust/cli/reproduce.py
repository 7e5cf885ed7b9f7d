"""`marlrobust reproduce`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from marlrobust import config as configuration
from marlrobust.cli.command import (
    Command,
    command_line,
    config_option,
    given,
    json_option,
    options,
    out_option,
    runs_option,
    say,
)
from marlrobust.evaluation.settings import SweepSettings


@click.command("reproduce", cls=Command)
@options(SweepSettings, scenario="--game --scenario", rounds="--rounds", agents="--agents", seed="--evaluation-seed")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    metavar="N",
    help="Trainings of each method: seeds 0, 1, ...  [default: 1 with --train, else all that are bundled]",
)
@click.option("--train", "training", is_flag=True, help="Train the five methods and the opponent first.")
@click.option("--short", is_flag=True, help="With --train: trainings of minutes.")
@options(SweepSettings, workers="--workers")
@config_option
@runs_option
@out_option("Folder to write.  [default: results/reproduction]")
@json_option
def command(
    config: Path | None,
    runs: Path,
    out: Path | None,
    training: bool,
    short: bool,
    seeds: int | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Repeat the paper's experiment: five methods, six counts, PGD with 10 steps and epsilon 0.075, 50 rounds.

    Attacks the policies that come with marlrobust; with --train, those that it trains first, under --runs. A --config
    file has two tables: train and sweep.

    \b
    marlrobust reproduce
    marlrobust reproduce --train --seeds 3        # interrupted, it goes on
    marlrobust reproduce --train --short --scenario battle --rounds 10
    """
    from marlrobust.evaluation.run import RESULTS, evaluate
    from marlrobust.policies.library import Library
    from marlrobust.reports.paper import GAMES
    from marlrobust.training.experiment import fighters, tables, train_everything

    table, sweep = tables(configuration.load(config) if config else {}, config)
    cores, folder = {"workers": os.cpu_count() or 1}, out or RESULTS / "reproduction"
    settings = configuration.resolve(SweepSettings, cores, fighters(training, seeds), sweep, given(flags))
    if training:
        scenarios = [settings.scenario] if settings.scenario else list(GAMES)
        how: dict[str, Any] = {"short": short, "seeds": seeds or 1, "workers": settings.workers, "say": say}
        train_everything(scenarios, runs, folder, table, **how)
    done = evaluate(settings, Library(runs), folder, command=command_line(), say=say)

    from marlrobust.cli.reporting import print_report

    print_report(done, as_json)
