"""`marlrobust attack`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from marlrobust import config as configuration
from marlrobust.cli.command import (
    Command,
    command_line,
    config_option,
    game_options,
    given,
    json_option,
    options,
    out_option,
    runs_option,
    say,
    trust_option,
)
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.progress import duration

OUT = "Folder to write.  [default: one of its own under results/]"


@click.command("attack", cls=Command)
@options(SweepSettings, policies="--policy", attacks="--attack", epsilons="--eps", agents="--agents")
@options(SweepSettings, victims="--victims", budget="--budget", norm="--norm", features="--features")
@options(SweepSettings, in_range="--in-range/--any-value")
@options(SweepSettings, scenario="--game --scenario", team="--team", opponent="--opponent", rounds="--rounds")
@options(SweepSettings, until="--until", most_rounds="--most-rounds")
@game_options
@options(
    SweepSettings,
    replays="--replays/--no-replays",
    greedy="--greedy/--sample",
    seed="--seed",
    shard="--shard",
    workers="--workers",
    device="--device",
)
@config_option
@runs_option
@trust_option
@out_option(OUT)
@json_option
def command(config: Path | None, runs: Path, trust: bool, out: Path | None, as_json: bool, **flags: Any) -> None:
    """Attack trained policies with growing numbers of victims, and write tables, figures and a report.

    \b
    marlrobust attack                                         # every policy under runs/
    marlrobust attack --eps 0.075 --agents 0,8,16,32,48,64
    marlrobust attack --policy romfac --attack pgd:steps=50,restarts=3 --attack fgsm --attack random
    marlrobust attack --agents 0,8 --victims random --victims critical --victims worst
    marlrobust attack --attack timed --budget 40
    marlrobust attack --policy zoo:battle/romfac --agents 64 --until 0.02     # as many rounds as that takes
    marlrobust attack --game pettingzoo:mpe2.simple_spread_v3 --policy my_policies:network

    An interrupted evaluation goes on where it stopped when the same command is run again. Another command gets
    another folder; 'marlrobust list results' shows them.
    """
    from marlrobust.evaluation.run import evaluate
    from marlrobust.policies.library import Library

    layer = configuration.load(config) if config else {}
    settings = configuration.resolve(SweepSettings, {"workers": os.cpu_count() or 1}, layer, given(flags))
    began = time.monotonic()
    done = evaluate(settings, Library(runs, trust), out, command=command_line(), say=say)

    from marlrobust.cli.reporting import print_report

    print_report(done, as_json)
    if as_json:
        return
    click.echo(
        f"{len(done.rows)} rounds: {done.played} cells played, {done.kept} kept from before, "
        f"in {duration(time.monotonic() - began)}"
    )
