"""Reports from synthetic rows: nothing here was measured."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from marlrobust.files import write_bytes
from marlrobust.reports import figures, html, paper, tables
from marlrobust.reports.report import write_report
from marlrobust.reports.tables import COLUMNS, DASH, PAPER, ROW, method_order, table, table1

FIVE = ["mfac", "sa-mfac", "sa-mfac3", "romfac1", "romfac"]
COUNTS = [8, 16, 32, 48, 64]


def row(**changes: Any) -> dict[str, Any]:
    """One synthetic round: a clean win in battle, changed as asked."""
    plain = {"scenario": "battle", "policy": "synthetic", "method": "mfac", "opponent": "a2c"}
    plain |= {"attack": "none", "epsilon": 0.0, "attacked_agents": 0, "round": 0, "seed": 7}
    plain |= {"win": True, "draw": False, "kills": 60, "losses": 40, "reward": 300.0, "steps": 400}
    return plain | {"flip_rate": float("nan")} | changes


def synthetic(
    scenarios: tuple[str, ...] = ("battle", "pursuit"),
    attacks: tuple[tuple[str, float], ...] = (("pgd", 0.075),),
    methods: list[str] = FIVE,
    rounds: int = 3,
) -> pd.DataFrame:
    """Clean and attacked rounds of each method, drawn at random."""
    random = np.random.default_rng(0)
    cells = [("none", 0.0, 0), *[(attack, epsilon, n) for attack, epsilon in attacks for n in COUNTS]]
    rows = []
    for scenario in scenarios:
        for method in methods:
            for attack, epsilon, n in cells:
                for index in range(rounds):
                    kills, losses = random.integers(0, 65, 2) if scenario == "battle" else (0, 0)
                    cell = {"attack": attack, "epsilon": epsilon, "attacked_agents": n, "round": index}
                    who = {"scenario": scenario, "method": method, "policy": f"{scenario}-{method}"}
                    end = {"win": kills > losses, "draw": scenario == "battle" and kills == losses}
                    score = {"kills": kills, "losses": losses, "reward": random.normal(300 - n, 20)}
                    flips = {"flip_rate": random.uniform() if n else float("nan")}
                    rows.append(row(**cell, **who, **end, **score, **flips))
    return pd.DataFrame(rows)


def test_mean_and_spread_by_hand() -> None:
    lines = table(pd.DataFrame([row(kills=k, reward=r) for k, r in ((2, 10.0), (4, 20.0), (9, 60.0))]))
    assert lines.columns.tolist() == COLUMNS
    line = lines.iloc[0]
    assert (line.rounds, line.kills_mean, line.reward_mean) == (3, 5.0, 30.0)
    # Sample deviations: sqrt((9 + 1 + 16) / 2) and sqrt((400 + 100 + 900) / 2).
    assert line.kills_std == pytest.approx(13**0.5)
    assert line.reward_std == pytest.approx(700**0.5)
    # t(0.975, 2) = 4.302653
    assert line.reward_high - line.reward_mean == pytest.approx(4.302653 * (700 / 3) ** 0.5, rel=1e-6)
    assert np.isnan(line.flip_rate)


def test_the_table_needs_no_more_than_the_sixteen_columns() -> None:
    rows = synthetic()
    assert sorted(rows.columns) == sorted(ROW)
    assert len(ROW) == 16
    extra = rows.assign(policy_hash="ab", versions="1", greedy=False)
    pd.testing.assert_frame_equal(table(extra), table(rows))
    with pytest.raises(ValueError, match="no column flip_rate"):
        table(rows.drop(columns="flip_rate"))


def test_a_draw_is_no_win() -> None:
    ends = [{"win": True}, {"win": False, "draw": True}, {"win": False, "draw": True}, {"win": False}]
    line = table(pd.DataFrame([row(**end) for end in ends])).iloc[0]
    assert (line.win_rate, line.draw_rate) == (0.25, 0.5)
    both = table(pd.DataFrame([row(win=True, draw=True)])).iloc[0]
    assert (both.win_rate, both.draw_rate) == (0.0, 1.0)


def test_one_round_has_no_spread_and_shows_a_dash() -> None:
    lines = table(pd.DataFrame([row()]))
    assert np.isnan(lines.kills_std[0])
    assert np.isnan(lines.reward_low[0])
    assert table1(lines)["kills"][0] == f"60.00 ± {DASH}"


def test_nobody_wins_where_nobody_can_die() -> None:
    lines = table(synthetic()).set_index("scenario")
    assert lines.loc["pursuit", ["win_rate", "win_low", "draw_rate", "kills_mean"]].isna().all(axis=None)
    assert lines.loc["battle", ["win_rate", "win_low", "draw_rate", "kills_mean"]].notna().all(axis=None)


def test_clean_rounds_are_count_0_of_every_attack_and_epsilon() -> None:
    attacks = (("pgd", 0.075), ("pgd", 0.15), ("fgsm", 0.075))
    rows = synthetic(attacks=attacks)
    lines = table(rows)
    assert set(lines["attack"]) == {"pgd", "fgsm"}
    clean = lines[lines["attacked_agents"] == 0]
    assert len(clean) == 2 * 5 * 3
    assert (clean.groupby(["scenario", "policy"])["reward_mean"].nunique() == 1).all()
    assert clean["rounds"].eq(3).all()
    # A policy attacked in one way alone has one clean line.
    alone = rows[(rows["attack"] != "fgsm") | (rows["method"] == "mfac")]
    counted = table(alone).query("attacked_agents == 0").groupby("policy").size()
    assert counted["battle-mfac"] == 3
    assert counted["battle-romfac"] == 2


def test_clean_rounds_alone_stay_alone() -> None:
    lines = table(synthetic(attacks=()))
    assert set(lines["attack"]) == {"none"}
    assert len(lines) == 10


def test_order() -> None:
    methods = ["a2c", "zeta", "romfac", "alpha", "mfac", "sa-mfac3", "romfac1", "sa-mfac"]
    assert method_order(methods) == [*FIVE, "alpha", "zeta", "a2c"]
    rows = synthetic(attacks=(("pgd", 0.15), ("pgd", 0.075), ("fgsm", 0.1)), methods=methods)
    lines = table(rows.sample(frac=1, random_state=1))
    assert lines["method"].tolist() == [*FIVE, "alpha", "zeta", "a2c"] * (len(lines) // 8)
    keys = ["scenario", "attack", "epsilon", "attacked_agents"]
    places = list(lines[keys].itertuples(index=False, name=None))
    assert places == sorted(places)
    pd.testing.assert_frame_equal(lines, table(rows))


def test_paper_values_stand_where_they_belong_and_nowhere_else() -> None:
    attacks = (("pgd", 0.075), ("pgd", 0.15), ("fgsm", 0.075))
    lines = table(synthetic(attacks=attacks, methods=["mfac", "romfac", "a2c"]))
    key = ["scenario", "attack", "epsilon", "attacked_agents", "method"]
    at = lines.set_index(key)[PAPER].sort_index()
    assert at.loc[("battle", "pgd", 0.075, 64, "mfac")].tolist() == [0.0, 26.42, 3.99, 102.08, 19.29]
    assert at.loc[("battle", "fgsm", 0.075, 0, "mfac")].tolist() == [0.66, 61.80, 3.36, 294.21, 19.13]
    pursuit = at.loc[("pursuit", "pgd", 0.075, 48, "romfac")]
    assert pursuit[["paper_reward_mean", "paper_reward_std"]].tolist() == [3676.54, 464.25]
    assert pursuit[PAPER[:3]].isna().all()
    other = (lines["attack"] == "fgsm") | (lines["epsilon"] == 0.15)
    assert lines.loc[other & (lines["attacked_agents"] > 0), PAPER].isna().all(axis=None)
    assert lines.loc[lines["method"] == "a2c", PAPER].isna().all(axis=None)


def test_an_empty_cell_of_the_paper_stays_empty() -> None:
    theirs = paper.load().set_index(["scenario", "attacked_agents", "method"])
    empty = [("battle", 8, "romfac"), ("battle", 32, "romfac"), ("battle", 64, "romfac")]
    assert theirs.loc[[*empty, ("battle", 64, "romfac1")], "win_rate"].isna().all()
    assert len(theirs) == 60
    lines = table(synthetic()).set_index(["scenario", "attacked_agents", "method"])
    assert np.isnan(lines.loc[empty[0], "paper_win_rate"])
    shown = table1(lines.reset_index())
    cell = shown[(shown["attacked"] == "8") & (shown["method"] == "RoMFAC") & (shown["scenario"] == "battle")]
    assert cell["win rate (paper)"].item() == DASH
    assert cell["kills (paper)"].item() == "63.40 ± 1.99"


def test_a_reader_cannot_spoil_the_paper_for_the_next() -> None:
    mine = paper.load()
    mine.loc[:, "win_rate"] = 1.0
    assert paper.load()["win_rate"].isna().any()


def test_the_text_of_a_line() -> None:
    rounds = [row(win=index < 33, kills=60, reward=300.0) for index in range(50)]
    line = table1(table(pd.DataFrame(rounds))).iloc[0]
    assert line["win rate"] == "0.66 [0.52, 0.78]"
    assert line["kills"] == "60.00 ± 0.00"
    assert line["kills (paper)"] == "61.80 ± 3.36"
    assert line["flips"] == DASH


def runs_of(method: str, rewards: dict[str, list[float]], seeds: list[int]) -> list[dict[str, Any]]:
    """Clean and attacked rounds of several policies of one method."""
    return [
        row(policy=policy, method=method, train_seed=seed, round=i, reward=r, win=i == 0, **cell)
        for (policy, values), seed in zip(rewards.items(), seeds, strict=True)
        for cell in ({}, {"attack": "pgd", "epsilon": 0.075, "attacked_agents": 8, "flip_rate": 0.5})
        for i, r in enumerate(values)
    ]


THREE = {"a": [100.0, 102.0], "b": [120.0, 122.0], "c": [110.0, 112.0, 114.0, 112.0, 112.0, 112.0]}


def test_each_training_run_counts_once_and_rounds_are_not_pooled() -> None:
    rows = pd.DataFrame(runs_of("mfac", THREE, [0, 1, 2]))
    lines = tables.over_trainings(table(rows))
    assert lines["trainings"].tolist() == [3, 3]
    line = lines.iloc[1]
    assert line.reward_mean == pytest.approx((101 + 121 + 112) / 3)  # pooled rounds would give 111.8
    assert line.win_rate == pytest.approx((1 / 2 + 1 / 2 + 1 / 6) / 3)
    # t(0.975, 2) = 4.302653; the sample deviation of 101, 121, 112 is 10.0167
    half = 4.302653 * 10.01665 / 3**0.5
    assert (line.reward_train_low, line.reward_train_high) == pytest.approx(
        (line.reward_mean - half, line.reward_mean + half), rel=1e-5
    )
    assert line.reward_low > line.reward_train_low  # these rounds are alike, the runs are not
    assert 0 <= line.win_train_low <= line.win_train_high <= 1
    alone = tables.over_trainings(table(rows[rows["policy"] == "a"])).iloc[1]
    own = table(rows[rows["policy"] == "a"]).iloc[1]
    assert np.isnan(alone.reward_train_low)
    assert (alone.reward_low, alone.reward_high, alone.win_low) == pytest.approx(
        (own.reward_low, own.reward_high, own.win_low)
    )


@pytest.mark.parametrize("seeds", [[0, 0, 1], [float("nan")] * 3])
def test_policies_of_one_seed_are_no_training_runs(seeds: list[Any]) -> None:
    rows = pd.DataFrame(runs_of("mfac", THREE, seeds) + runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    lines = tables.over_trainings(table(rows))
    assert sorted(lines["method"].unique()) == ["a", "b", "c", "romfac"]
    assert set(lines["trainings"]) == {1}
    assert ours(figures.figure4(rows).axes[0]) == ["RoMFAC", "a", "b", "c"]
    assert "no runs of one training" in html.render(rows, table(rows), {})


def test_the_page_and_the_figure_say_which_interval_is_which(tmp_path: Path) -> None:
    rows = pd.DataFrame(runs_of("mfac", THREE, [0, 1, 2]) + runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    written = write_report(rows, tmp_path, {})
    assert pd.read_csv(written["trainings.csv"])["trainings"].max() == 3
    page = written["report.html"].read_text()
    for words in ("Over training runs", "reward, over runs", "reward, over rounds", "each run counting once"):
        assert words in page
    figure = figures.figure4(rows)
    bands = [drawn for drawn in figure.axes[0].collections if isinstance(drawn, PolyCollection)]
    assert len(bands) == 1
    assert "over training runs" in str([text.get_text() for text in figure.legends[0].texts])
    one = rows[rows["policy"].isin(["a", "r"])]
    assert "Over training runs" not in html.render(one, table(one), {})


def test_the_cost_of_a_search_is_told() -> None:
    cell = {"attack": "pgd", "epsilon": 0.075, "attacked_agents": 8}
    rows = pd.DataFrame([row(victims="random", search_rounds=0), row(victims="worst", search_rounds=240, **cell)])
    assert "Victims &#39;worst&#39; were searched for in 240 rehearsed rounds" in html.render(rows, table(rows), {})


def test_opponents_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="against a2c, mfac"):
        table(pd.DataFrame([row(), row(opponent="mfac")]))


def test_no_rows() -> None:
    nothing = pd.DataFrame(columns=ROW)
    assert table(nothing).empty
    with pytest.raises(ValueError, match="no rows"):
        figures.figure4(nothing)


def ours(panel: Any) -> list[str]:
    return [str(line.get_label()) for line in panel.lines if "paper" not in str(line.get_label())]


def test_a_figure_has_a_line_a_method_and_a_panel_a_scenario() -> None:
    figure = figures.figure4(synthetic())
    assert len(figure.axes) == 2
    for panel in figure.axes:
        assert ours(panel) == ["MFAC", "SA-MFAC", "SA-MFAC³", "RoMFAC¹", "RoMFAC"]
        assert len(panel.lines) == 10
        assert len({line.get_color() for line in panel.lines}) == 5
    assert len(figure.legends) == 1
    assert [len(panel.lines) for panel in figures.figure4(synthetic(), paper=False).axes] == [5, 5]


def test_attacks_and_epsilons_are_panels_beside_each_other() -> None:
    figure = figures.figure4(synthetic(attacks=(("pgd", 0.075), ("pgd", 0.15), ("fgsm", 0.075))))
    assert len(figure.axes) == 6
    titles = [panel.get_title(loc="right") for panel in figure.axes]
    assert titles == ["FGSM, ε = 0.075", "PGD, ε = 0.075", "PGD, ε = 0.15"] * 2
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["Battle"] * 3 + ["Pursuit"] * 3
    assert [len(panel.lines) for panel in figure.axes] == [5, 10, 5, 5, 10, 5]
    assert len({panel.get_ylim() for panel in figure.axes[:3]}) == 1


def test_attacks_are_lines_of_the_attack_figure() -> None:
    rows = synthetic(attacks=(("pgd", 0.075), ("fgsm", 0.075), ("random", 0.075)), methods=["romfac", "mfac"])
    figure = figures.attack_figure(rows)
    assert [panel.get_title(loc="right") for panel in figure.axes] == ["MFAC", "RoMFAC"] * 2
    lines = table(rows)
    for panel in figure.axes[:2]:
        assert ours(panel) == ["FGSM, ε = 0.075", "PGD, ε = 0.075", "random, ε = 0.075"]
    drawn = np.asarray(figure.axes[1].lines[1].get_ydata())
    pgd = lines[(lines["scenario"] == "battle") & (lines["method"] == "romfac") & (lines["attack"] == "pgd")]
    assert drawn == pytest.approx(pgd["reward_mean"].to_numpy())


def test_attacks_of_one_name_are_told_apart_by_their_parameters() -> None:
    cell = {"attack": "pgd", "epsilon": 0.075, "attacked_agents": 8}
    parameters = [
        f'{{"threat": {{"epsilon": {epsilon}}}, "steps": {steps}, "restarts": 1}}'
        for epsilon, steps in ((0.075, 10), (0.15, 50), (0.075, 50))
    ]
    rows = pd.DataFrame([row(**cell, attack_parameters=text, reward=r) for r, text in enumerate(parameters)])
    clean = pd.DataFrame([row(attack_parameters="{}")])
    lines = table(pd.concat([rows, clean], ignore_index=True))
    assert lines["attack"].unique().tolist() == ["pgd steps=10", "pgd steps=50"]
    assert lines.loc[lines["attacked_agents"] > 0, "rounds"].tolist() == [1, 2]
    ours_and_theirs = lines[lines["attacked_agents"] > 0].set_index("attack")["paper_reward_mean"]
    assert ours_and_theirs.notna().to_dict() == {"pgd steps=10": True, "pgd steps=50": False}
    alone = table(rows.iloc[1:])
    assert alone["attack"].unique().tolist() == ["pgd"]
    # what an attack has of its policy is no other attack
    own = pd.DataFrame([row(**cell, policy=p, attack_parameters=f'{{"hash": "{p}"}}') for p in "ab"])
    assert table(own)["attack"].unique().tolist() == ["pgd"]


def test_the_report_tells_an_attacks_parameters_once_and_in_words() -> None:
    text = '{"threat": {"epsilon": 0.075}, "steps": 10, "step_size": null, "start": "state"}'
    rows = synthetic(rounds=2).assign(attack_parameters=text)
    page = html.render(rows, table(rows), {})
    assert page.count("Parameters of pgd") == 1
    assert "steps = 10, start = state<" in page
    assert "Parameters of none" not in page


def test_victims_and_budgets_are_lines_of_their_own() -> None:
    cell = {"attack": "pgd", "epsilon": 0.075, "attacked_agents": 8}
    ways = [{}, {"victims": "worst"}, {"budget": 10}, {"victims": "worst", "budget": 10}]
    rows = pd.DataFrame([row(**{"victims": "random", "budget": 0, **cell, **way}) for way in ways])
    lines = table(pd.concat([rows, pd.DataFrame([row(victims="random", budget=0)])], ignore_index=True))
    assert len(lines) == 8
    assert (lines["rounds"] == 1).all()
    labels = [tables.attack_label(*way) for way in tables.groups(lines)]
    assert labels == [
        "PGD, ε = 0.075",
        "PGD, ε = 0.075, 10 steps at most",
        "PGD, ε = 0.075, worst victims",
        "PGD, ε = 0.075, worst victims, 10 steps at most",
    ]
    assert lines.loc[lines["attacked_agents"] > 0, "paper_reward_mean"].notna().tolist() == [True, False, False, False]


def test_the_strength_table_marks_the_strongest_attack() -> None:
    cell = {"attacked_agents": 64, "epsilon": 0.075}
    told = [
        row(reward=200.0),
        row(attack="pgd", reward=100.0, **cell),
        row(attack="fgsm", reward=190.0, **cell),
    ]
    lines = table(pd.DataFrame(told))
    strength = html.strength_table(lines, "battle")
    assert strength["heads"] == ["FGSM, ε = 0.075", "PGD, ε = 0.075"]
    (line,) = strength["body"]
    assert [(c["text"], c["small"], c["most"]) for c in line["cells"]] == [
        ("190.0", "95 %", False),
        ("100.0", "50 %", True),
    ]
    wide = tables.strength(lines)
    assert wide["PGD, ε = 0.075"].tolist() == [100.0]
    assert "Which attack costs most" in html.render(pd.DataFrame(told), lines, {})
    alone = pd.DataFrame(told[:2])
    assert "Which attack costs most" not in html.render(alone, table(alone), {})


def test_wins_are_drawn_where_somebody_can_win() -> None:
    for metric in ("win", "kills"):
        figure = figures.figure(synthetic(), metric)
        assert [panel.get_title(loc="left") for panel in figure.axes] == ["Battle"]
    with pytest.raises(ValueError, match="unknown metric 'wins'"):
        figures.figure(synthetic(), "wins")


def test_curves_start_at_the_clean_rounds_and_show_the_table() -> None:
    rows = synthetic(scenarios=("battle",))
    lines = table(rows).query("method == 'mfac'")
    drawn = figures.figure4(rows).axes[0].lines
    curve = next(line for line in drawn if line.get_label() == "MFAC")
    assert np.asarray(curve.get_ydata()) == pytest.approx(lines["reward_mean"].to_numpy())
    assert np.asarray(curve.get_xdata(), float) == pytest.approx([0, *COUNTS], abs=64 / 30)


def test_a_method_keeps_its_colour_whoever_is_with_it() -> None:
    alone, together = figures.method_style(["romfac"]), figures.method_style([*FIVE, "mine", "yours", "a2c"])
    assert alone["romfac"] == together["romfac"]
    assert len(set(together.values())) == 8


def test_drawing_leaves_matplotlib_as_it_was_and_repeats_itself() -> None:
    before = dict(matplotlib.rcParams)
    rows = synthetic(scenarios=("battle",))
    first, second = (figures.svg(figures.figure4(rows)) for _ in range(2))
    assert dict(matplotlib.rcParams) == before
    assert first == second
    assert b"dc:date" not in first


def test_the_page_escapes_names_and_loads_nothing() -> None:
    rows = synthetic(scenarios=("battle",), methods=["mfac", "<script>alert(1)</script>"])
    more = rows[rows["method"] == "mfac"].assign(policy="<script>alert(2)</script>")
    rows = pd.concat([rows, more], ignore_index=True)
    about = {"notes": ["<script>alert(3)</script>"], "config": "<script>alert(4)</script>"}
    about |= {"command": "<script>alert(5)</script>", "<script>alert(6)</script>": 1}
    page = html.render(rows, table(rows), about)
    assert "<script>alert" not in page
    for number in range(1, 7):
        assert f"&lt;script&gt;alert({number})" in page.replace("&lt;Script", "&lt;script")
    assert "http://" not in page
    assert "https://" not in page
    for source in re.findall(r'(?:src|srcset|href)="([^"]*)', page):
        assert source.startswith("data:")
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_says_what_was_run() -> None:
    rows = synthetic().assign(team_size=64, victims="random")
    about = {
        "title": "T",
        "date": "2022-05-15",
        "seeds": [1, 2],
        "greedy": False,
        "versions": {"torch": "2.6"},
    }
    about |= {"policies": [{"policy": "p", "hash": "abc"}, {"policy": "q", "training_rounds": 9}]}
    page = html.render(rows, table(rows), about | {"notes": ["48 means the whole team."]})
    for text in ("2022-05-15", "1, 2", "by sampling", "2.6", "abc", "training rounds", "48 means", "random"):
        assert text in page
    assert "over the <strong>rounds</strong>" in page
    assert "all 64 attacked" in page


@pytest.mark.parametrize(
    "rows",
    [
        synthetic(scenarios=("pursuit",), attacks=(("fgsm", 0.05),)),
        synthetic(attacks=(), rounds=1),
        synthetic(scenarios=("battle",), methods=["mine"]),
    ],
    ids=["no winner and no paper", "clean alone, one round", "an unknown method"],
)
def test_a_page_of_little(rows: pd.DataFrame) -> None:
    page = html.render(rows, table(rows), {})
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", page))


def test_the_headline_takes_the_attack_that_costs_most() -> None:
    cell = {"attacked_agents": 64, "epsilon": 0.075}
    rows = [
        row(reward=200.0),
        row(attack="pgd", reward=100.0, **cell),
        row(attack="fgsm", reward=190.0, **cell),
    ]
    frame = pd.DataFrame(rows)
    fate = html.headline(frame, table(frame), "battle")["lines"][0]
    assert (fate["kept"], fate["verdict"], fate["attack"]) == (0.5, "falls", "PGD, ε = 0.075")
    assert fate["paper"] == pytest.approx(102.08 / 294.21)


def test_a_report_is_nine_files_that_read_back(tmp_path: Path) -> None:
    rows = synthetic()
    written = write_report(rows, tmp_path / "new" / "report", {})
    names = [f"{name}.{kind}" for name in ("figure4", "win_rate", "kills") for kind in ("png", "svg")]
    assert sorted(written) == sorted(["rows.csv", "table.csv", "report.html", *names])
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == sorted(written)
    several = write_report(synthetic(attacks=(("pgd", 0.075), ("fgsm", 0.075)), rounds=2), tmp_path / "several", {})
    assert set(several) - set(written) == {"strength.csv", "attacks.png", "attacks.svg"}
    back = pd.read_csv(written["table.csv"], dtype={"checks": str})
    back["checks"] = back["checks"].fillna("")
    pd.testing.assert_frame_equal(back, table(rows), check_dtype=False)
    pd.testing.assert_frame_equal(table(pd.read_csv(written["rows.csv"])), table(rows), check_dtype=False)


def test_a_failed_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bytes(tmp_path / "table.csv", b"old")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
