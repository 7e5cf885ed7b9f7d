"""The report of an evaluation, written and printed."""

from __future__ import annotations

import click

from marlrobust.cli.command import print_json
from marlrobust.evaluation.run import Evaluation
from marlrobust.progress import Progress
from marlrobust.reports.folder import write_report
from marlrobust.reports.tables import of
from marlrobust.reports.text import terminal


def print_report(done: Evaluation, as_json: bool = False) -> None:
    """Write the report of `done` into its folder; print its table, and where the files are."""
    with Progress("report", "files") as progress:
        tables = of(done.rows, done.record.wholes, done.record.settings.get("until"))
        written = write_report(tables, done.folder, done.record, progress.at)
    if as_json:
        print_json(
            {
                "folder": done.folder,
                "report": written["report.html"],
                "files": written,
                "rounds": len(done.rows),
                "cells": {"played": done.played, "kept": done.kept},
                "notes": done.record.notes,
                "lines": tables.lines.to_dict("records"),
            }
        )
        return
    click.echo(terminal(tables.lines))
    click.echo(f"\nin {done.folder}: {', '.join(written)}")
    click.echo(done.folder / "report.html")
