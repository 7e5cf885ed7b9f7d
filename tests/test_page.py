"""The page of the paper's experiment: what stands in it, and that the one in docs/ is made of the rows beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.errors import UserError
from marlrobust.reports.page import render, rows_of, searched, write_page
from marlrobust.reports.tables import DASH
from tests.test_reports import synthetic

DOCS = Path(__file__).parents[1] / "docs"


def test_both_tables_with_the_papers_numbers(tmp_path: Path) -> None:
    rows = synthetic(rounds=4)
    rows["policy"] = rows["method"]
    again = rows[rows["method"] == "romfac"].assign(policy="romfac-seed1")
    page = render(pd.concat([rows, again]), pd.DataFrame(), "again")
    lines = [line for line in page.splitlines() if line.startswith("| 64 |")]
    assert len(lines) == 12
    battle = next(line for line in lines if "| RoMFAC |" in line)
    assert "(308)" in battle  # the paper's reward
    assert "(63.2)" in battle
    assert any("| RoMFAC, seed 1 |" in line for line in lines)
    assert "again-figure4.png" in page


def test_a_page_has_its_rows_and_figures_beside_it(tmp_path: Path) -> None:
    rows = synthetic(rounds=2)
    tried = {"scenario": "pursuit", "changed": '{"gamma": 0.5}', "minutes": 7.25, "entropy": 0.5}
    tried |= {"train_seed": 90, "seed": 12345, "rounds": 20}
    tried |= {"win_clean": None, "win_attacked": None, "reward_clean": 300.0, "reward_attacked": 9.0}
    pd.DataFrame([{**tried, "flip_rate_attacked": 0.25}]).to_csv(tmp_path / "page-search.csv", index=False)
    written = write_page(rows, tmp_path / "page.md")
    assert {path.name for path in written} == {
        "page.md",
        "page.parquet",
        "page-figure4.png",
        "page-win-rate.png",
        "page-kills.png",
    }
    assert f"| pursuit | gamma 0.5 | 7 | 0.50 | {DASH} | 300 → 9 | 0.25 |" in (tmp_path / "page.md").read_text()
    pd.testing.assert_frame_equal(rows_of(tmp_path / "page.parquet"), rows)
    before = (tmp_path / "page.md").read_bytes()
    call = CliRunner().invoke(main, ["report", str(tmp_path / "page.parquet"), "--page", str(tmp_path / "page.md")])
    assert call.exit_code == 0, call.output
    assert (tmp_path / "page.md").read_bytes() == before


def test_no_rows_is_said(tmp_path: Path) -> None:
    (tmp_path / "odd.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot read rows"):
        rows_of(tmp_path / "odd.parquet")


def test_the_page_in_docs_is_made_of_the_rows_beside_it() -> None:
    page = DOCS / "reproduction.md"
    assert page.read_text() == render(rows_of(page.with_suffix(".parquet")), searched(page), page.stem)
