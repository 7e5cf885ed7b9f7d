"""`marlrobust leaderboard`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from marlrobust.cli.command import Command, command_line, json_option, out_option, print_json, runs_option, say
from marlrobust.cli.submit import RECORDS
from marlrobust.errors import UserError


@click.command("leaderboard", cls=Command)
@click.argument("records", nargs=-1, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Play the evaluation of each record again, and say whether it holds.")
@runs_option
@out_option(f"Folder to write.  [default: {RECORDS}/]")
@json_option
def command(records: tuple[Path, ...], check: bool, runs: Path, out: Path | None, as_json: bool) -> None:
    """Put the records of many policies beside each other, in one page and one CSV file.

    \b
    marlrobust leaderboard                        # all records in records/
    marlrobust leaderboard docs/records theirs/battle-romfac.record.json --out board
    marlrobust leaderboard --check records/battle-romfac.record.json

    RECORDS are files that 'marlrobust submit' wrote, or folders of them. With --check, a record's policies are looked
    for as 'attack' does it, under --runs or zoo:.
    """
    from marlrobust.reports.standings import SUFFIX, Submission

    files: list[Path] = []
    for place in records or (RECORDS,):
        files += sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
    if not files:
        raise UserError(f"no records are there: write some with 'marlrobust submit FOLDER' (they end in {SUFFIX})")
    read = [Submission.read(file) for file in files]
    if check:
        told = {str(file): _check(one, runs) for file, one in zip(files, read, strict=True)}
        if as_json:
            print_json({name: {"holds": not wrong, "differences": wrong} for name, wrong in told.items()})
        else:
            for name, wrong in told.items():
                click.echo(f"{name}: {'holds' if not wrong else 'does not hold: ' + '; '.join(wrong)}")
        if any(told.values()):
            raise SystemExit(1)
        return

    from marlrobust.reports import board

    written = board.write_board(read, out or RECORDS)
    if as_json:
        print_json({"files": written, "lines": board.as_json(read)})
        return
    click.echo(board.terminal(read))
    click.echo("\n" + "\n".join(map(str, written)))


def _check(record, runs: Path) -> list[str]:  # type: ignore[no-untyped-def]
    """What of a `Submission` does not come out again."""
    from marlrobust.config import resolve
    from marlrobust.evaluation.run import evaluate
    from marlrobust.evaluation.settings import SweepSettings
    from marlrobust.policies.library import Library
    from marlrobust.reports.standings import differences, submissions
    from marlrobust.reports.tables import of

    settings = resolve(SweepSettings, record.settings, {"replays": False})
    with tempfile.TemporaryDirectory() as folder:
        done = evaluate(settings, Library(runs), Path(folder), command=command_line(), say=say)
        tables = of(done.rows, done.record.wholes, settings.until)
        place = ("scenario", "setting")
        found = [
            made.standing
            for made in submissions(tables, done.record)
            if made.standing.name == record.standing.name
            and all(made.standing.protocol[name] == record.standing.protocol[name] for name in place)
        ]
    return differences(record.standing, found[0]) if found else ["its policy was not played"]
