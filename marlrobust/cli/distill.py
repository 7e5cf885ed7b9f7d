"""`marlrobust distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marlrobust import config as configuration
from marlrobust.cli.command import (
    Command,
    config_option,
    game_options,
    given,
    options,
    out_option,
    runs_option,
    say,
    trust_option,
)
from marlrobust.cli.train import run
from marlrobust.training.distill_settings import DistillSettings, distill_settings


@click.command("distill", cls=Command)
@options(DistillSettings, teacher="--from", scenario="--game --scenario", opponent="--opponent", seed="--seed")
@options(DistillSettings, epsilon="--eps", weight="--weight", sharpness="--sharpness", side="--side")
@options(DistillSettings, rounds="--rounds")
@game_options
@options(DistillSettings, device="--device")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@click.option("--overwrite", is_flag=True, help="Start anew where a training is stored.")
@config_option
@runs_option
@trust_option
@out_option("Folder to write.  [default: RUNS/SCENARIO/certified-TEACHER]")
def command(
    config: Path | None, runs: Path, out: Path | None, resume: bool, overwrite: bool, trust: bool, **flags: Any
) -> None:
    """Make a certified student of a team: it does what its teacher does, and most of its decisions are proven.

    \b
    marlrobust distill --from zoo:battle/romfac1 --side second    # as zoo:battle/certified was made
    marlrobust distill --from zoo:pursuit/mfac                    # and zoo:pursuit/certified
    marlrobust distill --from my_module:network --game pettingzoo:mpe2.simple_spread_v3
    marlrobust distill --from zoo:pursuit/mfac --resume           # after an interruption
    marlrobust certify --policy zoo:battle/certified --eps 0.075  # how much of it is proven

    A decision is proven if its likeliest action is the same for every state within epsilon. The teacher may be any
    policy that can be attacked. Writes the student (safetensors, with a JSON card), train.csv with a row per batch of
    rounds, the resolved config.yaml, and checkpoints. Ctrl-C saves.
    """
    settings = distill_settings(configuration.load(config) if config else {}, given(flags))

    from marlrobust.training.run import prepare  # only now: it takes seconds to import

    run(prepare(settings, runs=runs, out=out, resume=resume, overwrite=overwrite, trust=trust, say=say))
