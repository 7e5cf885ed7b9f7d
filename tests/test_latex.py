"""Tables for a paper: as wide as its lines say, escaped, the best in bold."""

from __future__ import annotations

import re

import pytest

from marlrobust.reports.latex import COLUMNS, escaped, latex
from marlrobust.reports.tables import of, table
from tests.synthetic import ATTACKED, WHOLES, frame, rounds, synthetic


def tabulars(text: str) -> list[str]:
    return re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL)


@pytest.mark.parametrize("counts", [[8, 64], list(range(1, 30))])
def test_each_line_has_the_columns_that_the_table_says(counts: list[int]) -> None:
    text = latex(of(synthetic(methods=["mfac", "a_b&c"], counts=counts), WHOLES))
    found = tabulars(text)
    assert len(found) == 4  # reward, wins and kills of battle, reward of pursuit
    for one in found:
        (columns,) = re.findall(r"\\begin\{tabular\}\{(l+r+)\}", one)
        assert len(columns) <= COLUMNS + 1
        for line in re.findall(r"^(?!\\).*\\\\$", one, re.MULTILINE):
            assert len(re.split(r"(?<!\\)&", line)) == len(columns), line
        assert (one.count(r"\toprule"), one.count(r"\bottomrule")) == (1, 1)
        assert not re.search(r"\|l|\\hline", one)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"a\_b\&c" in text
    assert "nan" not in text


def test_the_best_is_bold_and_numbers_are_those_of_the_table() -> None:
    rows = frame(
        *rounds([300.0, 302.0, 304.0], policy="a", method="mfac"),
        *rounds([100.0, 102.5, 104.0], policy="b", method="romfac"),
        *rounds([-5.0, -6.0, -7.0], policy="a", method="mfac", **ATTACKED),
    )
    lines = table(rows)
    text = latex(of(rows))
    half = (lines["reward_high"] - lines["reward_low"]).iloc[0] / 2
    assert rf"MFAC & \textbf{{302.0}} {{\scriptsize$\pm${half:.1f}}} & $-$6.0" in text
    assert re.search(r"RoMFAC & 102\.2 ", text)
    assert "reward per round, summed over the team" in text
    assert r"\emph{PGD, $\varepsilon$ = 0.075}" in text


def test_nothing_of_a_name_is_a_command() -> None:
    assert escaped(r"a_b & 50% \input{x} ~^ε³") == (
        r"a\_b \& 50\% \textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{}$\varepsilon$$^3$"
    )
