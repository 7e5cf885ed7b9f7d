"""The paper's numbers: as they are printed, and only beside what the paper ran."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.pursuit import Pursuit
from marlrobust.reports import paper
from marlrobust.reports.labels import DASH
from marlrobust.reports.tables import table
from marlrobust.reports.text import table1
from tests.synthetic import ATTACKED, PGD, WHOLES, frame, row, synthetic

PAPER = ["paper_win_rate", "paper_kills_mean", "paper_kills_std", "paper_reward_mean", "paper_reward_std"]


def test_paper_values_stand_where_they_belong_and_nowhere_else() -> None:
    attacks = (("pgd", 0.075), ("pgd", 0.15), ("fgsm", 0.075))
    lines = table(synthetic(attacks=attacks, methods=["mfac", "romfac", "a2c"]), WHOLES)
    key = ["scenario", "attack", "epsilon", "attacked_agents", "method"]
    at = dict(zip(lines[key].itertuples(index=False, name=None), lines[PAPER].to_numpy().tolist(), strict=True))
    assert at["battle", "pgd", 0.075, 64, "mfac"] == [0.0, 26.42, 3.99, 102.08, 19.29]
    assert at["battle", "fgsm", 0.075, 0, "mfac"] == [0.66, 61.80, 3.36, 294.21, 19.13]
    pursuit = at["pursuit", "pgd", 0.075, 48, "romfac"]
    assert pursuit[3:] == [3676.54, 464.25]
    assert np.isnan(pursuit[:3]).all()
    other = (lines["attack"] == "fgsm") | (lines["epsilon"] == 0.15)
    assert lines.loc[other & (lines["attacked_agents"] > 0), PAPER].isna().all(axis=None)
    assert lines.loc[lines["method"] == "a2c", PAPER].isna().all(axis=None)


EVERYWHERE: list[dict[str, Any]] = [
    {"greedy": True},
    {"game": json.dumps(paper.GAMES["battle"] | {"map_size": 20})},
    {"game": json.dumps(paper.GAMES["battle"] | {"max_steps": 50})},
    {"game": json.dumps(paper.GAMES["battle"] | {"kill_reward": 4.0})},
    {"opponent_method": "mfac"},
]
UNDER_ATTACK: list[dict[str, Any]] = [
    {"norm": "l_2"},
    {"features": "view"},
    {"victims": "worst"},
    {"budget": 10},
    {"attack": "mim"},
    {"epsilon": 0.0751},
    *({"attack_parameters": json.dumps(PGD | {key: value})} for key, value in (
        ("steps", 11), ("restarts", 2), ("start", "uniform"), ("step_size", 0.01), ("threat", {"low": 0.0}))),
]  # fmt: skip


@pytest.mark.parametrize("change", [*EVERYWHERE, *UNDER_ATTACK], ids=str)
def test_another_protocol_has_no_numbers_of_the_paper(change: dict[str, Any]) -> None:
    rows = frame(row(method="romfac", **{} if change in UNDER_ATTACK else change),
                 row(**{**ATTACKED, "method": "romfac", "attacked_agents": 64, **change}))  # fmt: skip
    lines = table(rows).set_index("attacked_agents")
    assert lines.loc[64, PAPER].isna().all()
    assert lines.loc[0, "paper_reward_mean"] == pytest.approx(np.nan if change in EVERYWHERE else 320.29, nan_ok=True)
    plain = table(frame(row(**{**ATTACKED, "method": "romfac", "attacked_agents": 64})))
    assert plain["paper_reward_mean"].tolist() == [308.48]


def test_the_papers_games_are_ours_as_they_come() -> None:
    assert {"battle": Battle().model_dump(), "pursuit": Pursuit().model_dump()} == paper.GAMES


def test_an_empty_cell_of_the_paper_stays_empty() -> None:
    key = ["scenario", "attacked_agents", "method"]
    theirs = paper.load()
    assert len(theirs) == 60
    empty = theirs[theirs["scenario"].eq("battle") & theirs["win_rate"].isna()]
    assert set(empty[key].itertuples(index=False, name=None)) >= {
        *(("battle", n, "romfac") for n in (8, 32, 64)),
        ("battle", 64, "romfac1"),
    }
    lines = table(synthetic())
    ours = lines[lines["scenario"].eq("battle") & lines["method"].eq("romfac") & lines["attacked_agents"].eq(8)]
    assert ours["paper_win_rate"].isna().all()
    shown = table1(lines)
    cell = shown[(shown["attacked"] == "8") & (shown["method"] == "RoMFAC") & (shown["scenario"] == "battle")]
    assert cell["win rate (paper)"].item() == DASH
    assert cell["kills (paper)"].item() == "63.40 ± 1.99"


def test_a_reader_cannot_spoil_the_paper_for_the_next() -> None:
    mine = paper.load()
    mine.loc[:, "win_rate"] = 1.0
    assert paper.load()["win_rate"].isna().any()
