"""Doubts: rows that contradict each other raise a check, honest ones pass it, what has no partner is not run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marlrobust.reports import html_report, sections, tables, verdict
from marlrobust.reports.doubts import CHECKS
from marlrobust.reports.tables import table
from marlrobust.reports.text import table1
from tests.synthetic import PGD, RECORD, attacked, frame, rounds, synthetic

LOW, HIGH = [99.0, 100.0, 101.0, 100.0], [149.0, 152.0, 150.0, 149.0]
CLEAN = rounds([300.0, 301.0, 299.0, 300.0])
PROBES = {"probe_states": 200, "probe_noise": 0.0, "probe_probabilities": 0.0}
GRADIENTS = {"probe_zero_gradients": 0.0, "probe_loss_rises": 1.0}


def states(*rows: dict[str, Any]) -> dict[str, str]:
    doubts = sections.doubts(table(frame(*rows)))
    return {
        doubt["name"]: state for state, found in doubts.items() for doubt in found if doubt["name"] != "clock decides"
    }


def page(rows: pd.DataFrame) -> str:
    return html_report.render(tables.of(rows), RECORD, [])


@pytest.mark.parametrize(
    ("probe", "check"),
    [
        ({"probe_zero_gradients": 0.11}, "zero gradients"),
        ({"probe_loss_rises": 0.74}, "loss stays"),
        ({"probe_noise": 0.01}, "random logits"),
        ({"probe_probabilities": 1.0}, "probabilities"),
    ],
)
def test_what_was_measured_raises_or_passes_its_check(probe: dict[str, float], check: str) -> None:
    every = {"zero gradients", "loss stays", "random logits", "probabilities"}
    told = states(*attacked(LOW, **PROBES | GRADIENTS | probe))
    assert {name for name in every if told[name] == "raised"} == {check}
    assert {name for name in every if told[name] == "passed"} == every - {check}


def test_what_was_not_measured_or_has_no_partner_is_not_run() -> None:
    """An attack of noise alone: no gradient to look at, nothing to compare it with."""
    told = states(*attacked(LOW, attack="random", **PROBES))
    assert {name for name, state in told.items() if state == "passed"} == {"random logits", "probabilities"}
    assert {name for name, state in told.items() if state == "not run"} == set(CHECKS) - {
        "random logits",
        "probabilities",
        "clock decides",
    }
    assert set(states(*attacked(LOW)).values()) == {"not run"}
    assert states(*CLEAN, *attacked(LOW))["more victims help"] == "passed"
    assert states(*CLEAN[:1], *attacked(LOW[:1]))["more victims help"] == "not run"  # one round is no comparison


@pytest.mark.parametrize(
    ("stronger", "weaker", "check"),
    [
        ({}, {"attack": "random"}, "noise wins"),
        ({"attack": "critic"}, {"attack": "square"}, "noise wins"),
        ({}, {"attack": "fgsm"}, "fewer steps win"),
        (
            {"attack_parameters": json.dumps(PGD | {"steps": 50})},
            {"attack_parameters": json.dumps(PGD)},
            "fewer steps win",
        ),
        ({"epsilon": 0.15}, {}, "larger epsilon helps"),
        ({"attacked_agents": 16}, {}, "more victims help"),
    ],
)
def test_rows_that_contradict_each_other_raise_their_check(
    stronger: dict[str, Any], weaker: dict[str, Any], check: str
) -> None:
    """It stands on the line of the attack that should cost more; the other way round nothing is raised."""
    for low, high, expected in ((LOW, HIGH, check), (HIGH, LOW, "")):
        lines = table(frame(*CLEAN, *attacked(high, **stronger), *attacked(low, **weaker)))
        told = lines[lines["checks"] != ""]
        assert told["checks"].tolist() == [expected] * bool(expected)
        assert (told["reward_mean"] == np.mean(HIGH)).all()


def test_too_few_rounds_or_states_pass_nothing() -> None:
    """What they leave open is told as open: a larger sample might raise it."""
    wide, shifted = [60.0, 140.0, 90.0, 115.0], [130.0, 70.0, 120.0, 85.0]
    told = states(*CLEAN, *attacked(wide), *attacked(shifted, attack="random"))
    assert (told["noise wins"], told["more victims help"]) == ("too few rounds", "passed")
    assert states(*attacked(wide * 90), *attacked(shifted * 90, attack="random"))["noise wins"] == "passed"
    for share, n, state in ((0.0, 20, "too few rounds"), (0.0, 200, "passed"), (0.09, 200, "too few rounds")):
        assert states(*attacked(LOW, probe_states=n, probe_zero_gradients=share))["zero gradients"] == state
    page_ = page(frame(*CLEAN, *attacked(wide), *attacked(shifted, attack="random")))
    assert "<h3>Too few rounds to tell</h3>" in page_
    assert "made on 1 of 2 attacked lines, open on 1" in page_


def test_another_losss_gradient_is_not_looked_at() -> None:
    """Where the cross-entropy is flat, an attack that does not follow it may find its way."""
    for attack, state in (("pgd", "raised"), ("margin", "not run"), ("mad", "not run"), ("mine", "raised")):
        told = states(*attacked(LOW, attack=attack, probe_states=200, probe_zero_gradients=0.9))
        assert told["zero gradients"] == state


def test_attacks_that_differ_in_more_than_steps_are_not_compared() -> None:
    many = attacked(HIGH, attack_parameters='{"steps": 50, "start": "state"}')
    few = attacked(LOW, attack_parameters='{"steps": 10, "start": "uniform"}')
    assert (table(frame(*CLEAN, *many, *few))["checks"] == "").all()


def test_an_attack_that_helps_is_doubted_and_chance_is_not() -> None:
    lines = table(frame(*CLEAN, *attacked([310.0, 312.0, 311.0, 310.0])))
    assert lines["checks"].tolist() == ["", "more victims help"]
    lines = table(frame(*CLEAN, *attacked([290.0, 330.0, 310.0, 300.0])))
    assert lines["checks"].tolist() == ["", ""]
    chance = table(synthetic(attacks=(("pgd", 0.075), ("fgsm", 0.075), ("random", 0.075)), rounds=10))
    assert (chance["checks"] != "").mean() < 0.1


def test_flips_are_compared_too() -> None:
    pgd, noise = attacked(LOW, flips=10), attacked(LOW, attack="random", flips=30)
    lines = table(frame(*CLEAN, *pgd, *noise)).set_index(["attack", "attacked_agents"])["checks"]
    assert lines["pgd", 8] == "noise wins"
    assert (lines != "").sum() == 1


def test_flips_are_compared_by_their_share() -> None:
    """300 of 3000 decisions are no more than 20 of 100."""
    pgd, noise = attacked(LOW, decisions=100, flips=20), attacked(LOW, attack="random", decisions=3000, flips=300)
    assert states(*pgd, *noise)["noise wins"] == "passed"


@pytest.mark.parametrize(
    "change",
    [
        {"opponent_hash": "1" * 64},
        {"policy_hash": "1" * 64},
        {"greedy": True},
        {"seed": 8},
        {"norm": "l_2"},
        {"budget": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_only_what_differs_in_the_attack_alone_is_compared(change: dict[str, Any]) -> None:
    """Cells of the same names, but of another policy, opponent or threat, are no partners."""
    told = states(*attacked(HIGH), *attacked(LOW, attack="random", **change))
    assert told["noise wins"] == "not run"
    assert states(*attacked(HIGH), *attacked(LOW, attack="random"))["noise wins"] == "raised"


def test_the_page_puts_a_doubt_beside_its_number() -> None:
    rows = frame(*CLEAN, *attacked(HIGH), *attacked(LOW, attack="random"))
    assert "noise wins" in set(table1(table(rows))["checks"])
    told = page(rows)
    assert CHECKS["noise wins"].meaning.split(",")[0] in told
    assert "battle, MFAC (synthetic), PGD, ε = 0.075: 8 attacked" in told
    assert '<abbr title="noise wins">?</abbr>' in told
    (card,) = verdict.headlines(tables.of(rows))
    assert card["lines"][0]["checks"] == ""  # the number shown there is the noise's


def test_the_page_tells_passed_from_not_run_and_what_would_run_it() -> None:
    quiet = page(frame(*rounds([300.0, 301.0, 299.0, 300.0] * 8), *attacked(LOW * 8)))
    assert "<abbr" not in quiet
    passed, not_run = quiet.index("<h3>Passed"), quiet.index("<h3>Not run")
    assert passed < quiet.index("more victims help") < not_run
    assert quiet.index("noise wins") > not_run
    assert "--attack random" in quiet
    assert "None of the checks is raised" not in quiet
    assert "None of the checks that\ncould be made is raised" in quiet
    assert "made on 1 of 1 attacked lines" in quiet


def played(column: str, *parts: tuple[float, list[float]]) -> str:
    """The state of a check of a cell whose rounds have these values in a column, with these rewards."""
    rewards = [reward for _, own in parts for reward in own]
    lines = [
        line | {column: value}
        for line, value in zip(attacked(rewards), [v for v, own in parts for _ in own], strict=True)
    ]
    doubts = sections.doubts(table(frame(*lines)))
    check = {"swapped": "sides differ", "cut": "clock decides"}[column]
    return next(state for state, found in doubts.items() for doubt in found if doubt["name"] == check)


def test_a_team_that_is_better_on_one_side_is_doubted() -> None:
    assert played("swapped", (True, HIGH), (False, LOW)) == "raised"
    assert played("swapped", (True, LOW), (False, [100.0, 101.0, 99.0, 100.0])) == "passed"
    assert played("swapped", (True, [0.0, 300.0, 100.0]), (False, LOW)) == "too few rounds"
    assert played("swapped", (False, LOW)) == "not run"


def test_rounds_that_end_by_the_limit_of_steps_are_doubted() -> None:
    assert played("cut", (True, LOW * 5), (False, LOW)) == "raised"
    assert played("cut", (True, LOW[:1]), (False, LOW * 8)) == "passed"
    assert played("cut", (True, LOW[:1]), (False, LOW)) == "too few rounds"
