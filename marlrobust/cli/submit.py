"""`marlrobust submit`."""

from __future__ import annotations

from pathlib import Path

import click

from marlrobust.cli.command import Command, json_option, out_option, print_json, say

RECORDS = Path("records")


@click.command("submit", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--note", default="", help="A sentence about the policies, of up to 500 signs.")
@out_option(f"Folder to write.  [default: {RECORDS}/]")
@json_option
def command(folder: Path, note: str, out: Path | None, as_json: bool) -> None:
    """Write a record of each policy of the evaluation in FOLDER: small files that a leaderboard takes.

    \b
    marlrobust submit results/2026-01-31-battle-romfac-pgd-1a2b3c4d
    marlrobust submit results/mine --out records --note "trained with twice the rounds"

    A record holds what was measured, hashes of the policies and of the rows, and all settings, so that anybody who has
    the policies can repeat it with 'marlrobust leaderboard --check RECORD'. Evaluate without an attack and with all
    agents attacked, by the strongest attacks: --agents 0,64 --attack pgd --attack auto.
    """
    from marlrobust.evaluation.run import stored_evaluation
    from marlrobust.reports.standings import submissions
    from marlrobust.reports.tables import of

    done = stored_evaluation(folder, say)
    tables = of(done.rows, done.record.wholes, done.record.settings.get("until"))
    written = [made.write(out or RECORDS) for made in submissions(tables, done.record, note)]
    if as_json:
        print_json({"records": written})
        return
    for path in written:
        click.echo(path)
