"""The page of the paper's experiment: what stands in it, and that the one in docs/ is made of the rows beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.errors import UserError
from marlrobust.reports.page import render, rows_of, write_page
from tests.test_reports import synthetic

DOCS = Path(__file__).parents[1] / "docs"


def test_both_tables_with_the_papers_numbers(tmp_path: Path) -> None:
    rows = synthetic(rounds=4)
    rows["policy"] = rows["method"]
    again = rows[rows["method"] == "romfac"].assign(policy="romfac-seed1")
    page = render(pd.concat([rows, again]), pd.DataFrame({"settings": ["{}"]}), "again")
    lines = [line for line in page.splitlines() if line.startswith("| 64 |")]
    assert len(lines) == 12
    battle = next(line for line in lines if "| RoMFAC |" in line)
    assert "(308)" in battle  # the paper's reward
    assert "(63.2)" in battle
    assert any("| RoMFAC, seed 1 |" in line for line in lines)
    assert "again-figure4.png" in page


def test_a_page_has_its_rows_and_figures_beside_it(tmp_path: Path) -> None:
    rows = synthetic(rounds=2)
    pd.DataFrame({"settings": ["gamma 0.98"]}).to_csv(tmp_path / "page-search.csv", index=False)
    written = write_page(rows, tmp_path / "page.md")
    assert {path.name for path in written} == {
        "page.md",
        "page.parquet",
        "page-figure4.png",
        "page-win-rate.png",
        "page-kills.png",
    }
    assert "gamma 0.98" in (tmp_path / "page.md").read_text()
    pd.testing.assert_frame_equal(rows_of(tmp_path / "page.parquet"), rows)
    before = (tmp_path / "page.md").read_bytes()
    call = CliRunner().invoke(main, ["report", str(tmp_path / "page.parquet"), "--page", str(tmp_path / "page.md")])
    assert call.exit_code == 0, call.output
    assert (tmp_path / "page.md").read_bytes() == before


def test_no_rows_is_said(tmp_path: Path) -> None:
    (tmp_path / "odd.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot read rows"):
        rows_of(tmp_path / "odd.parquet")
