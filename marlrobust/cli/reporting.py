"""The report of an evaluation, written and printed."""

from __future__ import annotations

from pathlib import Path

import click

from marlrobust.cli.command import print_json
from marlrobust.evaluation.run import Evaluation
from marlrobust.progress import Progress
from marlrobust.reports.folder import write_report
from marlrobust.reports.tables import Tables, of
from marlrobust.reports.text import terminal


def write(done: Evaluation) -> tuple[Tables, dict[str, Path]]:
    """Write the report of `done` into its folder; its tables, and the files by name."""
    with Progress("report", "files") as progress:
        tables = of(done.rows, done.record.wholes, done.record.settings.get("until"))
        return tables, write_report(tables, done.folder, done.record, progress.at)


def print_report(done: Evaluation, as_json: bool = False) -> None:
    """Write the report of `done`; print its table, and where the files are."""
    tables, written = write(done)
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
