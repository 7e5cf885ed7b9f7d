"""`marlrobust report`."""

from __future__ import annotations

from pathlib import Path

import click

from marlrobust.cli.command import Command, json_option, say


@click.command("report", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--page", type=click.Path(path_type=Path), help="Write the numbers into this Markdown page instead.")
@json_option
def command(folder: Path, page: Path | None, as_json: bool) -> None:
    """Write the tables, figures and report of FOLDER again, from its stored rows.

    \b
    marlrobust report results/2026-01-31-battle-romfac-pgd-1a2b3c4d
    marlrobust report results/reproduction --page docs/reproduction.md

    With --page, FOLDER may also be a parquet file of rows, as the page itself has one beside it.
    """
    from marlrobust.cli.reporting import print_report
    from marlrobust.evaluation.run import stored_evaluation

    if page is None:
        print_report(stored_evaluation(folder, say), as_json)
        return

    from marlrobust.reports.reproduction import write_page
    from marlrobust.rows import read_rows

    rows = read_rows(folder) if folder.suffix == ".parquet" else stored_evaluation(folder, say).rows
    for path in write_page(rows, page):
        click.echo(path)
