"""The page, the files around it, and the text for the terminal, from rows that nobody measured."""

from __future__ import annotations

import base64
import gzip
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marlrobust.files import write_bytes
from marlrobust.metrics import METRICS
from marlrobust.reports import downloads, drawing, figures, html_report, sections, tables, verdict
from marlrobust.reports.cells import cells_of
from marlrobust.reports.folder import write_report
from marlrobust.reports.tables import of, table
from marlrobust.reports.text import WIDTH, terminal
from marlrobust.reports.verdict import UNSURE
from marlrobust.rows import PolicyFacts, Record, dictionary, read_rows
from tests.synthetic import ATTACKED, RECORD, WHOLES, frame, rounds, row, synthetic
from tests.test_tables import THREE, runs_of

WHOLE = ATTACKED | {"attacked_agents": 64}


def page(rows: pd.DataFrame, **changes: Any) -> str:
    made = tables.of(rows, WHOLES)
    drawn = [picture.shown() for picture in figures.pictures(made)]
    return html_report.render(made, RECORD.model_copy(update=changes), drawn)


def words(text: str) -> str:
    """A page without its pictures."""
    return re.sub(r"base64,[^\"]*", "", text)


def test_the_page_and_the_files_say_which_interval_is_which(tmp_path: Path) -> None:
    rows = frame(*runs_of("mfac", THREE, [0, 1, 2]), *runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    written = write_report(of(rows), tmp_path, RECORD)
    assert pd.read_csv(written["trainings.csv"])["trainings"].max() == 3
    told = written["report.html"].read_text()
    for text in ("Over training runs", ">mean over runs<", ">mean over rounds<", "each run\ncounts once"):
        assert text in told
    assert "Over training runs" not in page(rows[rows["policy"].isin(["a", "r"])])
    apart = frame(*runs_of("mfac", THREE, [0, 0, 1]))
    assert "no runs of one training" in page(apart)


def test_the_cost_of_a_search_is_told() -> None:
    rows = frame(row(), row(victims="worst", search_rounds=240, **ATTACKED))
    assert "find the victims &#39;worst&#39;, 240 other rounds per line" in page(rows)


def test_the_report_tells_an_attacks_parameters_once_and_in_words() -> None:
    told = page(synthetic(rounds=2))
    assert told.count("Parameters of pgd") == 1
    assert "steps = 10, restarts = 1, start = state<" in told
    assert "Parameters of none" not in told


def test_the_strength_table_marks_the_strongest_attack() -> None:
    fgsm: dict[str, Any] = WHOLE | {"attack": "fgsm"}
    rows = frame(row(reward=200.0), row(reward=100.0, **WHOLE), row(**fgsm, reward=190.0))
    made = tables.of(rows)
    strength = sections.strength_table(made.lines, {cell["cell"]: cell for cell in cells_of(rows)})
    assert strength["heads"] == ["FGSM, ε = 0.075", "PGD, ε = 0.075"]
    (line,) = strength["body"]
    assert [(c["text"], c["small"], c["mark"]) for c in line["cells"]] == [
        ("190.0", "95 %", "same"),  # one round tells nothing apart
        ("100.0", "50 %", "best"),
    ]
    more = frame(*(line for at in ({}, WHOLE, fgsm) for line in rounds([200.0, 201.0], **at)))
    more.loc[more["attack"] == "pgd", "reward"] -= [100.0, 101.0]
    strength = sections.strength_table(tables.of(more).lines, {cell["cell"]: cell for cell in cells_of(more)})
    assert [c["mark"] for c in strength["body"][0]["cells"]] == ["", "best"]
    below = frame(*rounds([-20.0, -21.0]), *rounds([-25.0, -26.0], **WHOLE), *rounds([-21.0, -20.0], **fgsm))
    strength = sections.strength_table(tables.of(below).lines, {cell["cell"]: cell for cell in cells_of(below)})
    assert [c["small"] for c in strength["body"][0]["cells"]] == ["+0.0", "-5.0"]
    assert made.strength is not None
    assert made.strength["PGD, ε = 0.075"].tolist() == [100.0]
    assert "Which attack costs most" in page(rows)
    assert "Which attack costs most" not in page(rows[rows["attack"] != "fgsm"])


def test_the_page_escapes_names_and_loads_nothing() -> None:
    rows = synthetic(scenarios=("battle",), methods=["mfac", "<script>alert(1)</script>"])
    more = synthetic(scenarios=("battle",), methods=["mfac"])
    more = more.assign(policy="<script>alert(2)</script>", policy_hash="2" * 64, cell="2" + more["cell"])
    told = page(
        pd.concat([rows, more], ignore_index=True),
        notes=("<script>alert(3)</script>",),
        settings={"note": "<script>alert(4)</script>"},
        command="<script>alert(5)</script>",
        versions={"<script>alert(6)</script>": "1"},
    )
    assert "<script>alert" not in told
    for number in range(1, 7):
        assert f"&lt;script&gt;alert({number})" in told
    assert "http://" not in told
    assert "https://" not in told
    for source in re.findall(r'(?:src|srcset|href)="([^"]*)', told):
        assert source.startswith(("data:", "#"))
    assert "url(" not in told
    assert "@import" not in told


def test_the_page_says_what_was_run() -> None:
    facts = PolicyFacts(
        scenario="battle", name="p", role="soldier", method="mfac", rounds=9, planned_rounds=10, seed=1, hash="abc"
    )
    told = page(synthetic(), policies=(facts,), versions={"torch": "2.6"}, notes=("48 means the whole team.",))
    for text in ("2022-05-15", "draw their action", "2.6", "abc", "planned rounds", "48 means", "random", "AVX2"):
        assert text in told
    assert "over the <strong>rounds</strong>" in told
    assert "all 64 attacked" in told
    assert "all 32 attacked" in told


def test_of_a_brought_policy_no_training_is_told() -> None:
    facts: dict[str, Any] = {"scenario": "battle", "role": "soldier", "method": "mine", "hash": "abc"}
    brought = PolicyFacts(**facts, name="mine:network", rounds=0, planned_rounds=0, seed=0)
    stored = PolicyFacts(**facts, name="p", rounds=9, planned_rounds=10, seed=0)
    told = html_report._policy(brought), html_report._policy(stored)
    assert [(line["rounds"], line["planned_rounds"], line["seed"]) for line in told] == [("", "", ""), (9, 10, 0)]


def test_of_several_teams_together_the_page_says_why_nobody_wins() -> None:
    rows = frame(*(row(team="red+blue", round=i, win=None, draw=None, kills=None, losses=None) for i in range(3)))
    told = page(rows)
    assert "the teams red and blue are tested together: the reward is the sum of all" in told
    assert "--team red" in told
    assert "nobody can win" not in told


def test_the_page_says_what_epsilon_a_win_and_kept_mean_after_the_verdict_and_before_all_else() -> None:
    told = page(synthetic(rounds=2))
    assert told.index(">Who stands, who falls</h2>") < told.index(">How to read this page</h2>")
    start = told[: told.index(">Doubts</h2>")]
    for text in ("nearly all of them lie between 0 and 1", "A draw is no win", "as a share of the result without"):
        assert text in start
    assert "A win" not in page(synthetic(scenarios=("pursuit",), rounds=2))


@pytest.mark.parametrize(
    "rows",
    [
        synthetic(scenarios=("pursuit",), attacks=(("fgsm", 0.05),)),
        synthetic(attacks=(), rounds=1),
        synthetic(scenarios=("battle",), methods=["mine"]),
        synthetic(scenarios=("battle",), methods=["mfac"], rounds=2).query("attacked_agents > 0"),
    ],
    ids=["no winner and no paper", "clean alone, one round", "an unknown method", "no clean rounds"],
)
def test_a_page_of_little(rows: pd.DataFrame) -> None:
    assert not re.search(r"\b(nan|None|inf|NA)\b", words(page(rows)).replace("None of the checks", ""))


def test_no_path_of_the_machine_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = page(
        frame(row(), row(**ATTACKED, attack_parameters='{"adversary": "/home/me/runs/adversary.safetensors"}')),
        command=f"marlrobust attack --out {tmp_path}/results/a --runs=/home/me/runs --eps 8/255 --policy zoo:battle/x",
        settings={"policies": [f"{tmp_path}/mine/p.safetensors", "/home/me/my runs/q"]},
        notes=("The training of /home/me/runs/p was interrupted.",),
    )
    assert "/home/me" not in told
    assert str(tmp_path) not in told
    for text in ("--out results/a", "--runs=…/runs", "8/255", "zoo:battle/x", "mine/p.safetensors", "…/q", "…/p was"):
        assert text in told
    assert html_report.without_paths("no 'command /a/b", tmp_path) == "no 'command …/b"


def files(*more: str) -> list[str]:
    names = [f"{name}.{kind}" for name in ("figure4", "win_rate", "kills") for kind in ("png", "svg")]
    always = ["rows.csv", "rows.parquet", "columns.csv", "table.csv", "table.tex", "report.html"]
    return sorted([*always, *names, *more])


def test_a_reports_files_read_back(tmp_path: Path) -> None:
    rows, counted = synthetic(), []
    record = RECORD.model_copy(update={"wholes": WHOLES})
    written = write_report(of(rows, WHOLES), tmp_path / "new" / "report", record, lambda *done: counted.append(done))
    assert sorted(written) == files()
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == sorted(written)
    assert counted[-1] == (len(written), len(written))
    texts = ["setting", "checks", "unclear", "passed", *(f"{m.short}_mark" for m in METRICS)]
    back = pd.read_csv(written["table.csv"], dtype=dict.fromkeys(texts, str))
    back = back.fillna(dict.fromkeys(set(texts) & set(back.columns), ""))
    assert terminal(pd.read_csv(written["table.csv"])) == terminal(table(rows, WHOLES))
    pd.testing.assert_frame_equal(back, table(rows, WHOLES), check_dtype=False)
    pd.testing.assert_frame_equal(table(read_rows(written["rows.csv"])), table(rows), check_dtype=False)
    columns = pd.read_csv(written["columns.csv"], dtype=str, keep_default_na=False)
    kills = columns[columns["column"] == "kills"].iloc[0]
    assert (kills["better"], kills["least"], kills["most"]) == ("higher", "0", "opponents")
    pd.testing.assert_frame_equal(columns, dictionary(), check_dtype=False)
    assert set(columns["column"]) == set(rows.columns)


def test_the_page_begins_with_the_verdict_and_its_contents() -> None:
    rows = synthetic(rounds=12, methods=["mfac", "romfac"])
    rows.loc[rows["attacked_agents"] > 0, "reward"] -= 280.0
    told = words(page(rows))
    start = told[: told.index("<h2")]
    assert '<strong>Battle</strong>, all 64 attacked:\nMFAC, RoMFAC <b class="falls">fall</b>.' in start
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', start)
    assert [title for _, title in links][:3] == ["Who stands, who falls", "How to read this page", "Doubts"]
    for anchor, title in links:
        assert told.count(f'<h2 id="{anchor}">{title}</h2>') == 1
    assert len(links) == told.count("<h2")


def test_a_games_name_is_a_title_and_a_modules_is_itself() -> None:
    assert '<h3 class="game">Battle</h3>' in page(synthetic(("battle",), rounds=2))
    other = synthetic(("battle",), rounds=2).assign(scenario="pettingzoo:mpe2.simple_spread_v3")
    assert '<h3 class="game">pettingzoo:mpe2.simple_spread_v3</h3>' in page(other)


def test_the_page_says_which_intervals_hold_at_any_time() -> None:
    rows = synthetic(rounds=2)
    assert "confidence sequences" in page(rows, settings={"until": 0.1})
    assert "confidence sequences" not in page(rows)


def test_the_verdict_in_words() -> None:
    lines = [("a", "falls", ""), ("b", "stands", ""), ("c", UNSURE, "falls or bends or stands"), ("d", "falls", "")]
    lines += [("e", UNSURE, "bends or stands"), ("f", UNSURE, "bends or stands")]
    card: dict[str, Any] = {"scenario": "battle", "heading": "8 attacked"}
    card |= {"lines": [{"policy": "", "method": m, "verdict": v, "possible": p} for m, v, p in lines]}
    (one,) = verdict.in_words([card])
    said = [f"{part['who']} {part['what']}{part['more']}" for part in one["parts"]]
    assert said == ["b stands", "a, d fall", "e, f bend or stand, too few rounds to tell which", f"c: {UNSURE}"]


def test_the_page_holds_its_files(tmp_path: Path) -> None:
    rows = synthetic(rounds=2)
    written = write_report(of(rows), tmp_path, RECORD)
    told = written["report.html"].read_text()
    inside = dict(re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]*)"', told))
    assert sorted(inside) == ["rows.csv.gz", "table.csv", "table.tex"]
    assert gzip.decompress(base64.b64decode(inside["rows.csv.gz"])) == written["rows.csv"].read_bytes()
    for name in ("table.csv", "table.tex"):
        assert base64.b64decode(inside[name]) == written[name].read_bytes()
    assert 'data-file="figure4.svg"' in told
    pd.testing.assert_frame_equal(read_rows(written["rows.parquet"]), rows)
    (large,) = downloads.downloads({"table.csv": b"x" * (downloads.MOST_BYTES + 1)})[1:2]
    assert large.data == ""


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb, as WCAG 2 has it."""
    digits = colour if len(colour) == 7 else "#" + "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_text_is_readable_on_light_and_on_dark_paper() -> None:
    """A contrast of 4.5 to 1 for every colour of letters on every colour below them."""
    schemes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]+);", block))
        for block in re.findall(r":root \{([^}]*)\}", page(synthetic(rounds=2)))
    ]
    assert len(schemes) == 3  # light, dark, print
    schemes = [{**schemes[0], **scheme} for scheme in schemes]
    for scheme in (*schemes, drawing.LIGHT, drawing.DARK):
        papers = [name for name in ("page", "card", "shade", "face") if name in scheme]
        for letters in {"ink", "faint", "good", "fair", "bad", "link"} & set(scheme):
            for paper in papers:
                light, dark = sorted((luminance(scheme[letters]), luminance(scheme[paper])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (letters, paper, scheme)


def test_no_row_is_counted_twice(tmp_path: Path) -> None:
    rows = synthetic()
    written = write_report(of(rows, WHOLES), tmp_path, RECORD)
    assert len(pd.read_csv(written["rows.csv"])) == len(rows)


def test_files_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    attacks = (("pgd", 0.075), ("pgd", 0.1), ("fgsm", 0.075))
    trained = frame(*runs_of("mfac", THREE, [0, 1, 2]))
    more = [*(f"{name}.{kind}" for name in ("attacks", "epsilon") for kind in ("png", "svg")), "strength.csv"]
    assert sorted(write_report(of(synthetic(attacks=attacks, rounds=2)), tmp_path, RECORD)) == files(*more)
    (tmp_path / "bracket.png").write_text("certify's")
    assert sorted(write_report(of(trained), tmp_path, RECORD)) == files("trainings.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == files("trainings.csv", "bracket.png")
    write_report(of(synthetic(scenarios=("pursuit",), methods=["mfac"])), tmp_path, RECORD)
    assert not [*tmp_path.glob("win_rate.*"), *tmp_path.glob("kills.*"), *tmp_path.glob("trainings.csv")]


def test_a_failed_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bytes(tmp_path / "table.csv", b"old")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_many_epsilons_and_attacks_make_no_large_report(tmp_path: Path) -> None:
    """602 cells of 100 epsilons: one epsilon per attack is shown, the others are a curve and a file."""
    epsilons = np.linspace(0.003, 0.3, 100).round(4).tolist()
    attacks = tuple((attack, e) for attack in ("pgd", "mim", "random") for e in epsilons)
    rows = synthetic(("battle",), attacks, ["mfac", "romfac"], rounds=2, counts=[64])
    written = write_report(of(rows), tmp_path, RECORD)
    assert rows["cell"].nunique() == 602
    assert sum(path.stat().st_size for name, path in written.items() if name != "rows.csv") < 5e6
    told = written["report.html"].read_text()
    assert "300 of 1200 lines are shown here; all of them are in table.csv." in told
    assert "Several values of epsilon were played" in told
    assert len(pd.read_csv(written["table.csv"])) == 1200
    assert {"epsilon.png", "epsilon.svg"} <= set(written)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_terminals_text_fits_80_columns(scale: float) -> None:
    attacks = (("pgd", 0.075), ("apgd-ce", 0.0784314), ("random", 0.1))
    rows = synthetic(attacks=attacks, counts=[8, 64])
    long = rows.assign(policy="a-long-policy-name-" + rows["policy"].str[:1], reward=rows["reward"] * scale)
    long["method"] = "another-long-method" + rows["method"].str[-2:]
    long["policy_hash"] = rows["policy_hash"]
    unlike = rows.assign(opponent="somebody-quite-different", opponent_hash="9" * 64, cell="9" + rows["cell"])
    for shown in (rows, long, pd.concat([long, unlike], ignore_index=True)):
        text = terminal(table(shown, WHOLES))
        assert max(map(len, text.splitlines())) <= WIDTH == 80
        assert "attacked" in text
        assert "reward" in text


def test_the_terminal_says_once_what_all_lines_share() -> None:
    text = terminal(table(frame(*rounds([10.0, 12.0]), *rounds([5.0, 6.0], **ATTACKED))))
    first, heads, *lines = text.splitlines()
    assert first == "battle, PGD, epsilon 0.075, 2 rounds per line"
    assert heads.split() == ["attacked", "method", "reward", "win", "rate", "flips", "kills"]
    assert lines[0].split()[:3] == ["0", "MFAC", "11.0"]
    several = terminal(table(synthetic(attacks=(("pgd", 0.075), ("mim", 0.1)))))
    assert several.splitlines()[1].split()[:3] == ["attack", "epsilon", "attacked"]


def test_headings_say_how_many_are_attacked() -> None:
    cards = verdict.headlines(tables.of(synthetic(), WHOLES))
    assert [(card["scenario"], card["heading"]) for card in cards] == [
        ("battle", "all 64 attacked"),
        ("pursuit", "all 32 attacked"),
    ]


def test_a_record_without_anything_makes_a_page() -> None:
    nothing = Record(id="", created="", command="", settings={}, cells={})
    assert "What was run" in html_report.render(tables.of(synthetic(rounds=1)), nothing, [])


def test_a_page_without_the_papers_numbers_does_not_speak_of_them() -> None:
    ours, others = synthetic(rounds=2), synthetic(methods=["my_module:policy"], rounds=2)
    for sentence in ("what the paper&#39;s policy kept", "Table 1 of Zhou"):
        assert sentence.replace("&#39;", "'") in page(ours)
        assert sentence.replace("&#39;", "'") not in page(others)
