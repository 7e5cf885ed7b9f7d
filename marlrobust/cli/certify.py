"""`marlrobust certify`."""

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
from marlrobust.evaluation.settings import CertifySettings
from marlrobust.rows import RECORD


@click.command("certify", cls=Command)
@options(CertifySettings, policies="--policy", epsilons="--eps", attack="--attack", decisions="--decisions")
@options(CertifySettings, scenario="--game --scenario", team="--team", opponent="--opponent", rounds="--rounds")
@game_options
@options(CertifySettings, seed="--seed")
@config_option
@runs_option
@trust_option
@out_option("Folder to write; that of an evaluation shows the bracket in its report.  [default: one of its own]")
def command(config: Path | None, runs: Path, trust: bool, out: Path | None, **flags: Any) -> None:
    """Find how many decisions an adversary can turn: at least what an attack turns, at most what is not proven.

    \b
    marlrobust certify --policy romfac --eps 0.001,0.01,0.075 --rounds 20

    A decision is proven if its likeliest action is the same for every state within epsilon. The proofs (intervals and
    CROWN) count float32's rounding.
    """
    from marlrobust.attacks import ATTACKS
    from marlrobust.policies.library import Library

    layer = configuration.load(config) if config else {}
    settings = configuration.resolve(CertifySettings, layer, given(flags))
    ATTACKS.check(settings.attack.name)
    library = Library(runs, trust)
    library.choose(settings.policies, settings.roles())  # said at once: a policy that there is not

    from marlrobust.cli.reporting import print_report
    from marlrobust.evaluation.certify import run_certify
    from marlrobust.evaluation.run import stored_evaluation
    from marlrobust.reports.bracket import terminal, write_bracket

    rows, folder = run_certify(settings, library, out, say)
    table, written = write_bracket(rows, folder)
    click.echo(terminal(table))
    for path in written:
        click.echo(path)
    if (folder / RECORD).exists():
        print_report(stored_evaluation(folder, say))
