"""The bracket's table, and what becomes of a file of it that somebody changed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from marlrobust.reports.bracket import (
    bracket_figure,
    bracket_table,
    bracket_text,
    stored_bracket,
    terminal,
    write_bracket,
)
from marlrobust.reports.folder import write_report
from marlrobust.reports.tables import of
from tests.synthetic import RECORD, synthetic


def decisions(policies: tuple[str, ...] = ("mfac",), epsilons: tuple[float, ...] = (0.01, 0.1)) -> pd.DataFrame:
    """20 decisions per policy and epsilon: the larger epsilon changes more."""
    lines = []
    for policy in policies:
        for epsilon in epsilons:
            for i in range(20):
                about = {"scenario": "battle", "policy": policy, "method": "mfac", "opponent": "a2c", "attack": "pgd"}
                found = {"flipped": i < 100 * epsilon, "certified": i >= 12, "by_intervals": i >= 15, "margin": 0.1}
                lines.append(about | found | {"epsilon": epsilon, "cell": f"{policy}{epsilon}", "decision": i})
    return pd.DataFrame(lines)


def test_shares_by_hand() -> None:
    table = bracket_table(decisions())
    assert table["flipped"].tolist() == [0.05, 0.5]
    assert table["open"].tolist() == [0.6, 0.6]
    assert table["by_intervals"].tolist() == [0.25, 0.25]
    assert ((table["flipped_low"] < table["flipped"]) & (table["flipped"] < table["flipped_high"])).all()
    assert bracket_text(table)["epsilon"].tolist() == ["0.01", "0.1"]
    assert len(bracket_figure(table).axes) == 1


def test_cells_of_one_name_are_not_merged() -> None:
    rows = decisions()
    again = rows.assign(cell="other " + rows["cell"], flipped=False)
    assert sorted(bracket_table(pd.concat([rows, again]))["flipped"]) == [0.0, 0.0, 0.05, 0.5]


def test_the_terminals_text_fits_80_columns() -> None:
    text = terminal(bracket_table(decisions(("a-long-policy-name-1", "a-long-policy-name-2"), (0.0784314, 0.1))))
    assert max(map(len, text.splitlines())) <= 80
    assert "not certified" in text


def test_a_table_reads_back_and_stands_on_the_page(tmp_path: Path) -> None:
    assert stored_bracket(tmp_path) == (None, "")
    table, written = write_bracket(decisions(), tmp_path)
    assert {path.name for path in written} == {"bracket.csv", "bracket.png", "bracket.svg"}
    back, note = stored_bracket(tmp_path)
    assert note == ""
    assert back is not None
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    told = write_report(of(synthetic(rounds=1)), tmp_path, RECORD)["report.html"].read_text()
    assert "The bracket" in told


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2\n",
        b"\xff\xfe\x00\x01",
        b'"',
        b"flipped,0.1",
        b"certain,flipped\n" * 3,
    ],
)
def test_a_damaged_table_is_set_aside_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bracket.csv").write_bytes(content)
    told = write_report(of(synthetic(rounds=1)), tmp_path, RECORD)["report.html"].read_text()
    assert "bracket.csv is damaged" in told
    assert "marlrobust certify" in told
    assert (tmp_path / "bracket.csv.damaged").read_bytes() == content


@pytest.mark.parametrize(("old", "new"), [("0.05,", "five,"), ("0.05,", "5.0,"), ("0.05,", ","), ("0.01", "nan")])
def test_odd_numbers_are_no_bracket(tmp_path: Path, old: str, new: str) -> None:
    path = write_bracket(decisions(), tmp_path)[1][0]
    path.write_text(path.read_text().replace(old, new))
    assert stored_bracket(tmp_path)[0] is None
    assert not path.exists()
