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
    json_option,
    options,
    out_option,
    print_json,
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
@options(CertifySettings, bounds="--bounds", branches="--branches")
@click.option(
    "--whole-rounds", is_flag=True, default=None, help=CertifySettings.model_fields["whole_rounds"].description
)
@config_option
@runs_option
@trust_option
@out_option("Folder to write; that of an evaluation shows the bracket in its report.  [default: one of its own]")
@json_option
def command(config: Path | None, runs: Path, trust: bool, out: Path | None, as_json: bool, **flags: Any) -> None:
    """Find how many decisions an adversary can turn: at least what an attack turns, at most what is not proven.

    \b
    marlrobust certify --policy romfac --eps 0.001,0.01,0.075 --rounds 20
    marlrobust certify --policy zoo:battle/romfac1 --eps 0.001,0.01 --whole-rounds
    marlrobust certify --policy romfac --eps 0.03 --bounds complete      # a second or more per decision

    A decision is proven if its likeliest action is the same for every state within epsilon. The proofs (intervals and
    CROWN, if no others are asked for) count float32's rounding. With --whole-rounds: a round is proven if every
    decision of the attacked agents is; nothing that an adversary shows them then changes anything in it.
    """
    from marlrobust.attacks import ATTACKS
    from marlrobust.policies.library import Library

    layer = configuration.load(config) if config else {}
    settings = configuration.resolve(CertifySettings, layer, given(flags))
    ATTACKS.check(settings.attack.name)
    library = Library(runs, trust)
    library.choose(settings.policies, settings.roles())  # said at once: a policy that there is not

    from marlrobust.cli import reporting
    from marlrobust.evaluation.certify import run_certify
    from marlrobust.evaluation.run import stored_evaluation
    from marlrobust.evaluation.whole_rounds import run_whole_rounds
    from marlrobust.reports import bracket, whole_rounds

    rows, folder = run_certify(settings, library, out, say)
    table, written = bracket.write_bracket(rows, folder)
    told, content = [bracket.terminal(table)], {"decisions": table.to_dict("records")}
    if settings.whole_rounds:
        table, more = whole_rounds.write_whole_rounds(run_whole_rounds(settings, library, folder, say), folder)
        told, content["whole_rounds"] = [*told, whole_rounds.terminal(table)], table.to_dict("records")
        written += more
    done = stored_evaluation(folder, say) if (folder / RECORD).exists() else None
    if as_json:
        if done:
            reporting.write(done)
        print_json({"folder": folder, "files": written, **content})
        return
    click.echo("\n\n".join(told))
    for path in written:
        click.echo(path)
    if done:
        reporting.print_report(done)
