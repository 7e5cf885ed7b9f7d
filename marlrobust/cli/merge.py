"""`marlrobust merge`."""

from __future__ import annotations

from pathlib import Path

import click

from marlrobust.cli.command import Command, command_line, json_option, say


@click.command("merge", cls=Command)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@json_option
def command(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Put the shards of one evaluation together, and write their report.

    \b
    marlrobust attack --shard 1/16 --out parts/1     # ... up to 16/16, each where and when you like
    marlrobust merge parts/* --out results/whole

    The rows are those that one machine would have made, as long as all have the same processor's instructions.
    """
    from marlrobust.cli.reporting import print_report
    from marlrobust.evaluation.run import stored_evaluation
    from marlrobust.evaluation.shards import merge

    merge(folders, out, command=command_line(), say=say)
    print_report(stored_evaluation(out, say), as_json)
