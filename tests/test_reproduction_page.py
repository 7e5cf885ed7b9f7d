"""The generated parts of a page: what stands in them, and that the one in docs/ is made of the rows beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from marlrobust.errors import UserError
from marlrobust.reports import reproduction, tables
from marlrobust.reports.labels import DASH
from marlrobust.reports.reproduction import render, wholes_of, write_page
from marlrobust.rows import read_rows
from tests.synthetic import synthetic

DOCS = Path(__file__).parents[1] / "docs"


def named(rounds: int = 4) -> pd.DataFrame:
    """Both games, policies by their methods' names, and a second training of romfac."""
    rows = synthetic(rounds=rounds)
    rows["policy"] = rows["method"]
    again = rows[rows["method"] == "romfac"]
    twin = again.assign(policy="romfac-seed1", train_seed=1, cell="1" + again["cell"])
    twin["policy_hash"] = "1" + again["policy_hash"].str[1:]
    return pd.concat([rows, twin], ignore_index=True)


def test_both_tables_with_the_papers_numbers(tmp_path: Path) -> None:
    rows = named()
    page = render(tables.of(rows, wholes_of(rows)), tmp_path / "again.md")
    lines = [line for line in page.splitlines() if line.startswith("| 64 |")]
    assert len(lines) == 12
    battle = next(line for line in lines if "| RoMFAC |" in line)
    assert "(308)" in battle  # the paper's reward
    assert "(63.2)" in battle
    assert any("| RoMFAC, seed 1 |" in line for line in lines)
    assert "again-figure4.png" in page


def test_counts_above_a_team_repeat_its_line(tmp_path: Path) -> None:
    rows = named()
    page = render(tables.of(rows, wholes_of(rows)), tmp_path / "page.md")
    pursuit = page[page.index("### pursuit") :]
    shown = [line.split(" | ", 2)[2].split("(")[0] for line in pursuit.splitlines() if "| MFAC |" in line]
    assert shown[-3] == shown[-2] == shown[-1] != shown[-4]


def test_a_page_has_its_rows_and_figures_beside_it(tmp_path: Path) -> None:
    rows = named(rounds=2)
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
    pd.testing.assert_frame_equal(read_rows(tmp_path / "page.parquet"), rows)
    before = (tmp_path / "page.md").read_bytes()
    write_page(read_rows(tmp_path / "page.parquet"), tmp_path / "page.md")
    assert (tmp_path / "page.md").read_bytes() == before


def test_an_authors_words_stay_and_results_come_from_rows(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text("Mine, with a \\1 in it.\n\n<!-- rows:protocol -->\nold\n<!-- /rows:protocol -->\n\nMine again.\n")
    write_page(named(rounds=2), path)
    text = path.read_text()
    assert text.startswith("Mine, with a \\1 in it.\n\n<!-- rows:protocol -->\n2 rounds per line, under PGD, ε = 0.075")
    assert text.endswith("<!-- /rows:protocol -->\n\nMine again.\n")
    assert "old" not in text


def test_no_sentence_about_our_results_is_in_the_package(tmp_path: Path) -> None:
    write_page(named(rounds=2), tmp_path / "new.md")
    text = (tmp_path / "new.md").read_text()
    prose = [line for line in text.splitlines() if line and line[0] not in "#|<!*"]
    assert prose == ["2 rounds per line, under PGD, ε = 0.075, evaluation seed 7."]
    made = "\n".join(path.read_text() for path in (Path(reproduction.__file__).parent / "templates").iterdir())
    assert "M_norm" not in made


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("No place.", "no place for results"),
        ("<!-- rows:kepd -->\n<!-- /rows:kepd -->", "a block 'kepd'"),
        ("<!-- rows:kept -->\n", "a block that does not end"),
        ("<!-- rows:kept -->\n<!-- rows:table -->\n<!-- /rows:kept -->", "a block that does not end"),
    ],
)
def test_a_page_that_cannot_be_filled_stays_as_it_is(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        write_page(named(rounds=1), path)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_in_docs_is_made_of_the_rows_beside_it(tmp_path: Path) -> None:
    page = DOCS / "reproduction.md"
    shutil.copy(DOCS / "reproduction-search.csv", tmp_path)
    shutil.copy(page, tmp_path)
    rows = read_rows(page.with_suffix(".parquet"))
    assert page.read_text() == render(tables.of(rows, wholes_of(rows)), tmp_path / page.name)
