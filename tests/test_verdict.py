"""What a policy keeps, and what it is called for that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marlrobust.metrics import METRICS, SUCCESS
from marlrobust.reports import cells, tables, verdict
from marlrobust.reports.verdict import UNSURE, bands, headlines
from tests.synthetic import ATTACKED, attacked, frame, rounds, row


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


def without_winners(made: pd.DataFrame) -> pd.DataFrame:
    types = {"win": "boolean", "draw": "boolean", "kills": "Int64", "losses": "Int64"}
    return made.assign(**{name: pd.Series(pd.NA, index=made.index, dtype=kind) for name, kind in types.items()})


@pytest.mark.parametrize(
    ("clean", "hurt", "word", "text"),
    [
        (-20.0, -21.0, "stands", "-1.0"),  # 5 % of the usual size of a round's reward, which is 20
        (-20.0, -25.0, "bends", "-5.0"),
        (-20.0, -40.0, "falls", "-20.0"),
        (0.0, -5.0, "falls", "-5.0"),  # rounds of -2 to 2: far more than their usual size
        (-20.0, -10.0, "stands", "+10.0"),
    ],
)
def test_a_reward_that_is_not_above_zero_is_weighed_by_its_change(
    clean: float, hurt: float, word: str, text: str
) -> None:
    told = fate(without_winners(rows((clean, 1.0), (hurt, 0.0))))
    assert told["verdict"] == word
    (reward,) = told["kept"]
    assert reward["text"] == text
    assert reward["ends"].startswith("[")
    assert "of a clean round's usual size" in reward["note"]
    both = fate(rows((clean, 1.0), (hurt, 0.0)))  # wins weigh too
    assert both["verdict"] == "falls"


def test_where_nothing_can_be_lost_there_is_no_verdict() -> None:
    made = without_winners(frame(*rounds([0.0] * 9), *attacked([-1.0] * 9)))
    told = fate(made)
    assert (told["verdict"], told["kept"]) == ("", [])
    assert "nothing to lose" in told["reason"]


def test_of_what_the_team_wants_little_more_is_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric of which less is better is no share that is kept: its change decides."""
    cost = replace(SUCCESS, column="losses", mean="losses_mean", short="losses", better="lower", most="team_size")
    monkeypatch.setattr(tables, "METRICS", (*METRICS, cost))
    monkeypatch.setattr(cells, "COUNTED", [*cells.COUNTED, "losses"])
    monkeypatch.setattr(verdict, "WEIGHED", (cost,))
    for before, after, word in ((10, 12, "stands"), (10, 26, "bends"), (10, 60, "falls"), (60, 10, "stands")):
        made = frame(
            *(row(round=i, losses=before) for i in range(9)),
            *(row(**ATTACKED, round=i, losses=after) for i in range(9)),
        )
        lines = tables.of(made).lines.to_dict("records")
        assert bands(lines[1], (cost,)) == (word,)
        assert pd.isna(lines[1]["losses_kept"])


def test_a_doubt_stands_beside_a_verdict_that_a_stronger_attack_could_change() -> None:
    for hurt, word, checks in (((299, 1.0), "stands", "zero gradients"), ((100, 0.0), "falls", "")):
        told = fate(rows((300, 1.0), hurt, probe_states=200, probe_zero_gradients=0.5))
        assert (told["verdict"], told["checks"]) == (word, checks)


def test_the_worst_attack_is_chosen_on_one_half_of_the_rounds_and_told_of_the_other() -> None:
    """FGSM costs more in even rounds, PGD in odd ones: FGSM is chosen, and what it does in odd rounds is told."""
    made = frame(
        *rounds([300.0] * 20),
        *attacked([250.0 if i % 2 else 90.0 for i in range(20)], attack="fgsm"),
        *attacked([60.0 if i % 2 else 200.0 for i in range(20)]),
    )
    told = fate(without_winners(made))
    assert (told["attack"], told["half"], told["hurt"]) == ("FGSM, ε = 0.075", True, ["250.0"])
    few = made[made["round"] < 6]
    told = fate(without_winners(few))
    assert (told["attack"], told["half"], told["hurt"]) == ("PGD, ε = 0.075", False, ["130.0"])


def test_a_half_in_which_nothing_was_told_is_no_hindrance() -> None:
    """The environment told of success in even rounds alone."""
    made = frame(
        *(row(round=i, success=None if i % 2 else True, **at) for at in ({}, ATTACKED, ATTACKED | {"attack": "fgsm"})
          for i in range(10))
    )  # fmt: skip
    assert fate(without_winners(made))["half"]


def test_several_attacks_alike_are_no_worse_than_one() -> None:
    """The least of ten means of pure chance lies below the truth; told of the other half, it does not."""
    rng = np.random.default_rng(0)
    chosen, told = [], []
    for _ in range(25):
        cells_ = [attacked(rng.normal(200, 30, 16).tolist(), attack=f"a{i}") for i in range(8)]
        made = without_winners(frame(*rounds([300.0] * 16), *(line for cell in cells_ for line in cell)))
        lines = tables.table(made)
        chosen.append(lines.loc[lines["attacked_agents"] > 0, "reward_mean"].min())
        told.append(float(fate(made)["hurt"][0]))
    assert np.mean(chosen) < 200 - 5
    assert np.mean(told) == pytest.approx(200, abs=5)


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
