"""Rows to lines: what is counted, what is kept apart, and where the paper's numbers stand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marlrobust.metrics import KILLS, REWARD, WIN
from marlrobust.reports import paper, tables
from marlrobust.reports.labels import DASH, attack_label, method_order
from marlrobust.reports.tables import columns, over_trainings, table
from marlrobust.reports.text import table1
from tests.synthetic import ATTACKED, FIVE, PGD, WHOLES, attacked, frame, rounds, row, synthetic


def test_mean_and_spread_by_hand() -> None:
    lines = table(frame(*(row(kills=k, reward=r, round=k) for k, r in ((2, 10.0), (4, 20.0), (9, 60.0)))))
    assert lines.columns.tolist() == columns((REWARD, WIN, KILLS))
    line = lines.iloc[0]
    assert (line.rounds, line.kills_mean, line.reward_mean) == (3, 5.0, 30.0)
    # Sample deviations: sqrt((9 + 1 + 16) / 2) and sqrt((400 + 100 + 900) / 2).
    assert line.kills_std == pytest.approx(13**0.5)
    assert line.reward_std == pytest.approx(700**0.5)
    # t(0.975, 2) = 4.302653
    assert line.reward_high - line.reward_mean == pytest.approx(4.302653 * (700 / 3) ** 0.5, rel=1e-6)
    assert np.isnan(line.flip_rate)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="no column cell"):
        table(synthetic(rounds=1).drop(columns="cell"))


def test_a_draw_is_no_win() -> None:
    ends = [{"win": True}, {"win": False, "draw": True}, {"win": False, "draw": True}, {"win": False}]
    line = table(frame(*(row(**end, round=i) for i, end in enumerate(ends)))).iloc[0]
    assert (line.win_rate, line.draw_rate) == (0.25, 0.5)


def test_one_round_has_no_spread_and_shows_a_dash() -> None:
    lines = table(frame(row()))
    assert np.isnan(lines.kills_std[0])
    assert np.isnan(lines.reward_low[0])
    assert table1(lines)["kills"][0] == f"60.00 ± {DASH}"


def test_nobody_wins_where_nobody_can_die() -> None:
    lines = table(synthetic()).set_index("scenario")
    assert lines.loc[["pursuit"], ["win_rate", "win_low", "draw_rate", "kills_mean"]].isna().all(axis=None)
    assert lines.loc[["battle"], ["win_rate", "win_low", "draw_rate", "kills_mean"]].notna().all(axis=None)


def test_a_metric_that_no_row_has_is_no_column() -> None:
    lines = table(synthetic(scenarios=("pursuit",)))
    assert not [name for name in lines.columns if "win" in name or "kills" in name or "draw" in name]
    assert not {"win rate", "kills", "draws"} & set(table1(lines).columns)


def test_the_share_of_flips_weighs_decisions_not_rounds() -> None:
    one, other = row(**ATTACKED, decisions=900, flips=9, round=0), row(**ATTACKED, decisions=100, flips=100, round=1)
    line = table(frame(one, other)).iloc[0]
    assert line.flip_rate == 109 / 1000  # the mean of both rounds' shares is 0.505
    assert line.decisions == 1000
    assert table1(table(frame(one, other)))["decisions"][0] == "1000"


def test_intervals_hold_only_what_is_possible() -> None:
    lines = table(frame(row(kills=64), row(kills=0, round=1)))
    assert lines[["kills_low", "kills_high"]].iloc[0].tolist() == [0.0, 64.0]  # Student's t alone: -375 to 439
    runs = [row(policy=p, train_seed=s, kills=64 * s, round=r, win=bool(s)) for s, p in enumerate("ab") for r in (0, 1)]
    over = over_trainings(table(frame(*runs))).iloc[0]
    assert (over.kills_train_low, over.kills_train_high) == (0.0, 64.0)
    assert (over.win_train_low, over.win_train_high) == (0.0, 1.0)


def test_clean_rounds_are_count_0_of_every_attack_and_epsilon() -> None:
    attacks = (("pgd", 0.075), ("pgd", 0.15), ("fgsm", 0.075))
    rows = synthetic(attacks=attacks)
    lines = table(rows)
    assert set(lines["attack"]) == {"pgd", "fgsm"}
    clean = lines[lines["attacked_agents"] == 0]
    assert len(clean) == 2 * 5 * 3
    assert (clean.groupby(["scenario", "policy"])["cell"].nunique() == 1).all()
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


def test_a_count_above_the_team_repeats_a_line_and_no_round() -> None:
    rows = synthetic(methods=["mfac"])
    lines = table(rows, WHOLES)
    pursuit = lines[lines["scenario"] == "pursuit"].set_index("attacked_agents")
    assert pursuit.index.tolist() == [0, 8, 16, 32, 48, 64]
    assert pursuit.loc[[32, 48, 64], "cell"].nunique() == 1
    assert pursuit.loc[[32, 48, 64], "paper_reward_mean"].tolist() == [1088.57, 979.07, 1000.10]
    assert rows.loc[rows["scenario"] == "pursuit", "attacked_agents"].max() == 32
    pd.testing.assert_frame_equal(table(rows), lines[~lines["attacked_agents"].isin([48, 64]) | (
        lines["scenario"] == "battle")].reset_index(drop=True))  # fmt: skip


def test_a_size_that_nobody_asked_for_is_no_line() -> None:
    """`--agents 0,64` where the team has 32."""
    rows = synthetic(("pursuit",), methods=["mfac"], counts=[32])
    asked = tuple(whole.model_copy(update={"own": False}) for whole in WHOLES[:1])
    assert table(rows, asked)["attacked_agents"].tolist() == [0, 48]
    assert table(rows, WHOLES[:1])["attacked_agents"].tolist() == [0, 32, 48]
    assert table(rows)["attacked_agents"].tolist() == [0, 32]


def test_order() -> None:
    methods = ["a2c", "zeta", "romfac", "alpha", "mfac", "sa-mfac3", "romfac1", "sa-mfac"]
    assert method_order(methods) == [*FIVE, "alpha", "zeta", "a2c"]
    rows = synthetic(attacks=(("pgd", 0.15), ("pgd", 0.075), ("fgsm", 0.1)), methods=methods)
    lines = table(rows.sample(frac=1, random_state=1))
    assert lines["method"].tolist() == [*FIVE, "alpha", "zeta", "a2c"] * (len(lines) // 8)
    keys = ["scenario", "attack", "epsilon", "attacked_agents"]
    places = list(lines[keys].itertuples(index=False, name=None))
    assert places == sorted(places)
    pd.testing.assert_frame_equal(lines, table(rows), rtol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"attack_parameters": json.dumps(PGD | {"steps": 11})},
        {"victims_parameters": '{"k": 1}'},
        {"opponent": "mfac", "opponent_hash": "1" * 64},
        {"opponent_hash": "1" * 64},
        {"policy_hash": "2" * 64},
        {"game": json.dumps(paper.GAMES["battle"] | {"map_size": 20})},
        {"greedy": True},
        {"features": "view"},
        {"norm": "l_2"},
        {"seed": 8},
        {"budget": 5},
        {"instructions": "AVX512"},
        {"versions": '{"source": "2"}'},
        {"cell": "what nothing else tells apart"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_cells_are_never_merged_and_lines_are_told_apart(change: dict[str, Any]) -> None:
    """Whatever two cells differ in, each is a line, with a text, a curve and a column of its own."""
    rows = frame(*attacked([100.0, 102.0]), *attacked([200.0, 202.0], **change))
    lines = table(rows)
    assert sorted(lines["reward_mean"]) == [101.0, 201.0]
    assert lines["cell"].nunique() == 2
    text = table1(lines).drop(columns=["reward", "rounds", "reward (paper)", "win rate (paper)", "kills (paper)"])
    assert len(text.drop_duplicates()) == 2
    assert (over_trainings(lines)["trainings"] == 1).all()
    assert sorted(over_trainings(lines)["reward_mean"]) == [101.0, 201.0]
    assert sorted(tables.strength(lines).filter(like="PGD").stack()) == [101.0, 201.0]


def test_partners_are_found_by_what_was_run() -> None:
    """Each policy of one name keeps a share of its own clean rounds, not of the other's."""
    rows = frame(
        *(r for h, level in (("1" * 64, 100.0), ("2" * 64, 400.0)) for r in (
            *rounds([level - 1, level + 1], policy_hash=h), *attacked([49.0, 51.0], policy_hash=h)))
    )  # fmt: skip
    lines = table(rows)
    assert sorted(lines.loc[lines["attacked_agents"] > 0, "reward_kept"]) == [0.125, 0.5]
    assert lines["policy"].nunique() == 2


def test_one_file_under_two_names_has_both() -> None:
    rows = frame(*(row(policy=policy, policy_hash="1" * 64) for policy in ("one", "other")))
    assert sorted(table(rows)["policy"]) == ["one", "other"]


def test_another_norm_has_the_same_clean_rounds() -> None:
    rows = frame(*rounds([100.0, 100.0]), *attacked([50.0, 50.0]), *attacked([25.0, 25.0], norm="l_2"))
    lines = table(rows)
    assert lines.loc[lines["attacked_agents"] > 0, "reward_kept"].tolist() == [0.25, 0.5]
    assert [attack_label(*way) for way in tables.groups(lines)] == ["PGD, ε = 0.075, l_2", "PGD, ε = 0.075"]


def test_the_text_of_a_line() -> None:
    line = table1(table(frame(*(row(win=index < 33, round=index) for index in range(50))))).iloc[0]
    assert line["win rate"] == "0.66 [0.52, 0.78]"
    assert line["kills"] == "60.00 ± 0.00"
    assert line["kills (paper)"] == "61.80 ± 3.36"
    assert line["flips"] == DASH


def test_attacks_of_one_name_are_told_apart_by_their_parameters() -> None:
    steps = ((0.075, 10), (0.15, 50), (0.075, 50))
    own: list[dict[str, Any]] = [PGD | {"threat": {"epsilon": e}, "steps": n} for e, n in steps]
    rows = frame(
        row(), *(row(**ATTACKED | {"epsilon": p["threat"]["epsilon"]}, attack_parameters=json.dumps(p)) for p in own)
    )
    lines = table(rows)
    assert lines["attack"].unique().tolist() == ["pgd steps=10", "pgd steps=50"]
    hurt = lines[lines["attacked_agents"] > 0].set_index(["attack", "epsilon"])["paper_reward_mean"].notna()
    assert hurt.to_dict() == {
        ("pgd steps=10", 0.075): True,
        ("pgd steps=50", 0.075): False,
        ("pgd steps=50", 0.15): False,
    }
    # what an attack has of its policy is no other attack, what it does differently to another policy is
    of_policy = [row(**ATTACKED, policy=p, attack_parameters=json.dumps({"digest": p})) for p in "ab"]
    assert table(frame(*of_policy))["attack"].unique().tolist() == ["pgd"]
    of_attack = [row(**ATTACKED, policy=p, attack_parameters=json.dumps({"steps": ord(p)})) for p in "ab"]
    assert len(table(frame(*of_attack))["attack"].unique()) == 2


def test_victims_and_budgets_are_lines_of_their_own() -> None:
    ways: list[dict[str, Any]] = [{}, {"victims": "worst"}, {"budget": 10}, {"victims": "worst", "budget": 10}]
    lines = table(frame(row(), *(row(**ATTACKED | way) for way in ways)))
    assert len(lines) == 8
    assert (lines["rounds"] == 1).all()
    assert [attack_label(*way) for way in tables.groups(lines)] == [
        "PGD, ε = 0.075",
        "PGD, ε = 0.075, at most 10 steps",
        "PGD, ε = 0.075, worst victims",
        "PGD, ε = 0.075, worst victims, at most 10 steps",
    ]


def runs_of(method: str, rewards: dict[str, list[float]], seeds: list[int]) -> list[dict[str, Any]]:
    """Clean and attacked rounds of several policies of one method."""
    return [
        row(policy=policy, method=method, train_seed=seed, round=i, reward=r, win=i == 0, **cell)
        for (policy, values), seed in zip(rewards.items(), seeds, strict=True)
        for cell in ({}, ATTACKED)
        for i, r in enumerate(values)
    ]


THREE = {"a": [100.0, 102.0], "b": [120.0, 122.0], "c": [110.0, 112.0, 114.0, 112.0, 112.0, 112.0]}


def test_each_training_run_counts_once_and_rounds_are_not_pooled() -> None:
    rows = frame(*runs_of("mfac", THREE, [0, 1, 2]))
    lines = over_trainings(table(rows))
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
    alone = over_trainings(table(rows[rows["policy"] == "a"])).iloc[1]
    own = table(rows[rows["policy"] == "a"]).iloc[1]
    assert np.isnan(alone.reward_train_low)
    assert (alone.reward_low, alone.reward_high, alone.win_low) == pytest.approx(
        (own.reward_low, own.reward_high, own.win_low)
    )


def test_policies_of_one_seed_are_no_training_runs() -> None:
    rows = frame(*runs_of("mfac", THREE, [0, 0, 1]), *runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    lines = over_trainings(table(rows))
    assert sorted(lines["method"].unique()) == ["a", "b", "c", "romfac"]
    assert set(lines["trainings"]) == {1}


def test_of_several_epsilons_the_papers_is_shown_or_else_the_largest() -> None:
    several = synthetic(attacks=(("pgd", 0.05), ("pgd", 0.075), ("pgd", 0.3), ("mim", 0.1), ("mim", 0.2)))
    shown = tables.one_epsilon(table(several))
    assert sorted(shown[["attack", "epsilon"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("mim", 0.2),
        ("pgd", 0.075),
    ]
    assert (shown["attacked_agents"] == 0).any()


def test_no_rows() -> None:
    nothing = frame()
    assert table(nothing).empty
    with pytest.raises(ValueError, match="no rows"):
        tables.of(nothing)
