"""Everything one reads after a sweep, written from its rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from marlrobust.files import write_bytes
from marlrobust.reports import figures, html, tables
from marlrobust.reports.bracket import stored_bracket

FIGURES = {"figure4": "reward", "win_rate": "win", "kills": "kills"}
"""File name to metric."""


def file_count(rows: pd.DataFrame) -> int:
    """Files that a report of `rows` is made of."""
    return 3 + 2 * len(FIGURES) + (3 if several_attacks(rows) else 0) + several_trainings(rows)


def several_trainings(rows: pd.DataFrame) -> bool:
    return bool((tables.over_trainings(tables.table(rows))["trainings"] > 1).any())


def several_attacks(rows: pd.DataFrame) -> bool:
    return len(tables.groups(tables.complete(rows[rows["attacked_agents"] > 0]))) > 1


def write_report(
    rows: pd.DataFrame, out: Path, about: Mapping[str, Any], wrote: Callable[[int], object] = lambda files: None
) -> dict[str, Path]:
    """Write rows.csv, table.csv, the three figures (.png and .svg) and report.html into `out`.

    With several attacks: also strength.csv, a column an attack, and the figure `attacks`. With several training runs
    of a method: also trainings.csv, `tables.over_trainings`.

    rows: one a round (`tables.ROW`, and what else is known); about: what was run, see `html.render`.
    A bracket that `bracket.write_bracket` left in `out` is shown on the page.

    wrote: called with the number of files written since it was called last, `file_count` in all. Each file is whole or
    not written. Returns file name -> path. Raises ValueError for no rows.
    """
    if rows.empty:
        raise ValueError("no rows to report: run an evaluation first")
    lines = tables.table(rows)
    out.mkdir(parents=True, exist_ok=True)
    written = [
        write_bytes(out / "rows.csv", rows.to_csv(index=False).encode()),
        write_bytes(out / "table.csv", lines.to_csv(index=False).encode()),
    ]
    if several := several_attacks(rows):
        written.append(write_bytes(out / "strength.csv", tables.strength(lines).to_csv(index=False).encode()))
    trained = tables.over_trainings(lines)
    if (trained["trainings"] > 1).any():
        written.append(write_bytes(out / "trainings.csv", trained.to_csv(index=False).encode()))
    wrote(len(written))
    for name, metric in FIGURES.items():
        written += figures.save(figures.figure(rows, metric, lines), out / name)
        wrote(2)
    if several:
        written += figures.save(figures.attack_figure(rows, lines), out / "attacks")
        wrote(2)
    page = html.render(rows, lines, about, stored_bracket(out))
    written.append(write_bytes(out / "report.html", page.encode()))
    wrote(1)
    return {path.name: path for path in written}
