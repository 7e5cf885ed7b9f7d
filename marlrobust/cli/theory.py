"""`marlrobust theory`."""

from __future__ import annotations

from pathlib import Path

import click

from marlrobust.cli.command import Command, json_option


@click.command("theory", cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results/theory"),
    show_default=True,
    help="Folder to write into.",
)
@json_option
def command(out: Path, as_json: bool) -> None:
    """Solve small games exactly, run the theorems on them, and measure attacks against the optimal adversary.

    \b
    marlrobust theory --out results/theory

    Prints a table, and writes theory.json and theory.html. It takes about a minute; docs/theory.md explains it.
    """
    from marlrobust.theory.run import results, table, write

    written = write(results(say=lambda section: click.echo(table(section), err=as_json)), out)
    if as_json:
        click.echo(written[0].read_text(), nl=False)
        return
    for path in written:
        click.echo(path)
