"""`marlrobust compare`."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from marlrobust.cli.command import Command, json_option, print_json, say
from marlrobust.errors import UserError
from marlrobust.rows import RECORD


@click.command("compare", cls=Command)
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option(
    "--in",
    "folder",
    type=click.Path(path_type=Path),
    help="Evaluation in which both policies were played.  [default: the newest under results/ that has both]",
)
@json_option
def command(one: str, other: str, folder: Path | None, as_json: bool) -> None:
    """Compare two policies of one evaluation, or two evaluations, round by round, and say in a sentence what differs.

    \b
    marlrobust compare mfac romfac
    marlrobust compare mfac romfac --in results/demo
    marlrobust compare results/before results/after          # the same evaluation of two versions
    marlrobust compare mfac romfac --json

    Rounds of the same game, opponent, seed and number are pairs: they share their start and their chance. Differences
    are B - A, with 95 % intervals; a star stands where they are told apart, corrected for all comparisons (Holm).
    """
    from marlrobust.evaluation.run import stored_evaluation
    from marlrobust.reports.compare import compare, policy_rows, terminal, verdict

    if (Path(one) / RECORD).exists() and (Path(other) / RECORD).exists():
        if folder is not None:
            raise UserError("--in is for two policies of one evaluation: leave it out, or give two policies' names")
        names = [Path(one).name, Path(other).name]
        sides = [stored_evaluation(Path(path), say).rows for path in (one, other)]
    else:
        rows = stored_evaluation(folder, say).rows if folder else _newest(one, other)
        names = [one, other]
        sides = [policy_rows(rows, name) for name in names]
    lines = compare(*sides)
    sentence = verdict(lines, names)
    if as_json:
        print_json({"a": names[0], "b": names[1], "verdict": sentence, "lines": lines.to_dict("records")})
        return
    click.echo(f"{terminal(lines, names)}\n\n{sentence}")


def _newest(one: str, other: str) -> pd.DataFrame:
    """The rows of the newest evaluation that has both policies; raises UserError where none has."""
    from marlrobust.evaluation.run import RESULTS, stored_evaluation
    from marlrobust.rows import Record

    created = []
    for path in RESULTS.glob(f"*/{RECORD}"):
        try:
            created.append((Record.read(path.parent).created, path.parent))
        except UserError:
            continue  # 'list results' tells of it
    for _, folder in sorted(created, reverse=True):
        rows = stored_evaluation(folder, lambda sentence: None).rows
        if {one, other} <= set(rows["policy"]):
            say(f"in {folder}")
            return rows
    raise UserError(
        f"no evaluation under {RESULTS} has both '{one}' and '{other}': give --in FOLDER, or two folders; "
        "'marlrobust list results' shows them"
    )
