"""The report of an evaluation, written and printed."""

from __future__ import annotations

import click

from marlrobust.evaluation.run import Evaluation
from marlrobust.progress import Progress
from marlrobust.reports.folder import write_report
from marlrobust.reports.tables import of
from marlrobust.reports.text import terminal


def print_report(done: Evaluation) -> None:
    """Write the report of `done` into its folder; print its table, and where the files are."""
    with Progress("report", "files") as progress:
        tables = of(done.rows, done.record.wholes, done.record.settings.get("until"))
        written = write_report(tables, done.folder, done.record, progress.at)
    click.echo(terminal(tables.lines))
    click.echo(f"\nin {done.folder}: {', '.join(written)}")
    click.echo(done.folder / "report.html")
