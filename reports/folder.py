"""Everything one reads after an evaluation, written into a folder from its rows alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from marlrobust.files import write_bytes
from marlrobust.metrics import METRICS
from marlrobust.recorded import Replays
from marlrobust.reports import drawing, html_report, learning, replay
from marlrobust.reports.bracket import stored_bracket
from marlrobust.reports.figures import pictures
from marlrobust.reports.latex import latex
from marlrobust.reports.learning import stored_curves
from marlrobust.reports.tables import Tables
from marlrobust.reports.trainings import over_runs
from marlrobust.rows import Record, dictionary

NOT_ALWAYS = {
    *("trainings.csv", "strength.csv", "training.svg"),
    *(f"{name}.{kind}" for name in (*(m.file for m in METRICS), "attacks", "epsilon") for kind in ("png", "svg")),
}
"""Files that a report has or has not, by its rows."""


def write_report(
    tables: Tables,
    folder: Path,
    record: Record,
    wrote: Callable[[int, int], object] = lambda files, total: None,
) -> dict[str, Path]:
    """Write rows.csv, rows.parquet (the same), columns.csv (what its columns mean), table.csv, table.tex, figures (.png
    and .svg) and report.html.

    With several attacks also strength.csv, one column per attack, and the figure `attacks`; with several training runs
    of a method trainings.csv, `trainings.over_runs`; with several epsilons the figure `epsilon`; with the logs of
    trainings, which `evaluation.run` leaves in `folder`, the figure `training`. What an earlier report left in
    `folder`, and this one has not, is removed.

    tables: of one evaluation's rows; record: of the same. A bracket that `bracket.write_bracket` left in `folder`
    is shown on the page, and so are the rounds that were recorded.
    wrote: called after each step with the number of files written, and of all to be written. Each file is whole or
    not written. Returns file name -> path. Raises UserError for a bracket that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = {"rows.csv": tables.rows, "columns.csv": dictionary(), "table.csv": tables.lines}
    if tables.strength is not None:
        frames["strength.csv"] = tables.strength
    if (tables.trained["trainings"] > 1).any():
        frames["trainings.csv"] = over_runs(tables)
    drawn = pictures(tables)
    curves = stored_curves(folder, record)
    total = len(frames) + 2 * len(drawn) + 3 + (not curves.empty)
    found: dict[str, Path] = {}

    def write(name: str, content: bytes) -> None:
        found[name] = write_bytes(folder / name, content)
        wrote(len(found), total)

    for name, frame in frames.items():
        write(name, frame.to_csv(index=False).encode())
    write("rows.parquet", tables.rows.to_parquet(index=False))
    write("table.tex", latex(tables).encode())
    shown = [picture.shown() for picture in drawn]
    for picture, one in zip(drawn, shown, strict=True):
        write(f"{one.file}.svg", one.wide)
        write(f"{one.file}.png", drawing.png(picture.figure))
    if not curves.empty:
        shown.append(learning.shown(curves))
        write("training.svg", shown[-1].wide)
    bracket, note = stored_bracket(folder)
    notes = [note] if note else []
    recorded, left = replay.fitting(Replays(folder, notes.append).of(set(tables.rows["cell"])))
    notes += [left] if left else []
    files = {name: found[name].read_bytes() for name in ("rows.csv", "table.csv", "table.tex")}
    page = html_report.render(tables, record, shown, bracket, notes, replay.part(recorded), files)
    write("report.html", page.encode())
    for name in NOT_ALWAYS - set(found):
        (folder / name).unlink(missing_ok=True)
    return found
