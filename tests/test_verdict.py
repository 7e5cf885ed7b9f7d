"""What a policy keeps, and what it is called for that."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from marlrobust.reports import tables
from marlrobust.reports.verdict import UNSURE, bands, headlines
from tests.synthetic import ATTACKED, frame, row


def rows(clean: tuple[float, float], hurt: tuple[float, float], n: int = 50, **cell: Any) -> pd.DataFrame:
    """n rounds each of a mean reward and a win rate, without and with an attack on all 64."""
    made = []
    for (reward, rate), where in ((clean, {}), (hurt, ATTACKED | {"attacked_agents": 64} | cell)):
        for i in range(n):
            won = i < round(rate * n)
            made.append(row(**where, round=i, reward=reward + (i % 5 - 2), win=won))
    return frame(*made)


def fate(made: pd.DataFrame) -> dict[str, Any]:
    (card,) = headlines(tables.of(made))
    told: dict[str, Any] = card["lines"][0]
    return told


@pytest.mark.parametrize(
    ("clean", "hurt", "word"),
    [
        ((300, 1.0), (297, 1.0), "stands"),
        ((300, 1.0), (291, 0.0), "falls"),  # 97 % of its reward, and every round lost
        ((300, 1.0), (240, 1.0), "bends"),
        ((300, 1.0), (100, 1.0), "falls"),
        ((300, 0.0), (297, 0.0), "stands"),  # no win to lose: reward decides
        ((300, 1.0), (270, 1.0), UNSURE),  # just at 90 %
        ((300, 1.0), (300, 0.9), UNSURE),
    ],
)
def test_the_worse_of_reward_and_wins_decides(clean: tuple[float, float], hurt: tuple[float, float], word: str) -> None:
    assert fate(rows(clean, hurt))["verdict"] == word


def test_few_rounds_tell_nothing_and_the_words_that_are_possible_are_named() -> None:
    told = fate(rows((300, 1.0), (299, 1.0), n=3))
    assert (told["verdict"], told["possible"]) == (UNSURE, "falls or bends or stands")
    assert fate(rows((300, 1.0), (299, 1.0), n=1))["verdict"] == UNSURE
    assert fate(rows((300, 1.0), (299, 1.0), n=100))["verdict"] == "stands"


@pytest.mark.parametrize("reward", [0.0, -20.0])
def test_nothing_can_be_kept_of_no_reward(reward: float) -> None:
    """Where there are wins, they tell alone."""
    made = rows((reward, 1.0), (reward - 5, 0.0))
    assert fate(made)["verdict"] == "falls"
    types = {"win": "boolean", "draw": "boolean", "kills": "Int64", "losses": "Int64"}
    nobody = {name: pd.Series(pd.NA, index=made.index, dtype=kind) for name, kind in types.items()}
    told = fate(made.assign(**nobody))
    assert told["verdict"] == ""
    assert "clean reward is not above zero" in told["reason"]


def test_no_clean_rounds_are_told() -> None:
    made = rows((300, 1.0), (200, 1.0))
    assert "add 0 to --agents" in fate(made[made["attacked_agents"] > 0])["reason"]


def test_the_headline_shows_what_is_kept_with_its_interval_and_the_papers() -> None:
    told = fate(rows((300, 1.0), (100, 0.5)))
    reward, wins = told["kept"]
    assert (reward["name"], reward["text"], wins["name"], wins["text"]) == ("reward", "33 %", "win rate", "50 %")
    assert reward["ends"] == "[33, 33]"  # rounds that differ alike: the pairs hold it tight
    assert wins["ends"] == "[37, 64]"
    assert reward["paper"] == f"{100 * 102.08 / 294.21:.0f} %"


def test_the_headline_takes_the_attack_of_which_least_is_kept() -> None:
    both = pd.concat(
        [rows((300, 1.0), (150, 1.0)), rows((300, 1.0), (280, 0.0), attack="fgsm").query("attacked_agents > 0")]
    )
    assert fate(both)["attack"] == "FGSM, ε = 0.075"


def test_a_game_without_winners_is_weighed_by_reward() -> None:
    made = frame(
        *(row(scenario="pursuit", round=i, reward=5000.0 + i) for i in range(20)),
        *(row(scenario="pursuit", round=i, reward=4900.0 + i, **ATTACKED) for i in range(20)),
    )
    found = tables.of(made)
    line = found.lines[found.lines["attacked_agents"] > 0].to_dict("records")[0]
    assert bands(line, found.metrics) == ("stands",)
