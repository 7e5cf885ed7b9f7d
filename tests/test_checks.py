"""Checks: planted policies and rows raise each of them, an honest policy raises none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_reports import row, synthetic
from torch import Tensor

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import FGSM, PGD
from marlrobust.attacks.random import RandomNoise
from marlrobust.evaluation.checks import MEASURED, Sample, measure
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.magent import battle
from marlrobust.policies.networks import MeanFieldPolicy
from marlrobust.reports import html
from marlrobust.reports.checks import CHECKS
from marlrobust.reports.tables import table, table1
from marlrobust.streams import stream, torch_stream


class Planted:
    """An untrained policy whose logits are spoilt on purpose, by way of its states or after."""

    def __init__(
        self,
        spoil: Callable[[Tensor], Tensor] = lambda logits: logits,
        blur: Callable[[Tensor], Tensor] = lambda states: states,
    ) -> None:
        torch.manual_seed(0)
        self.policy, self.spoil, self.blur = MeanFieldPolicy(1217, 21, hidden=16, embedding=8), spoil, blur
        with torch.no_grad():
            self.policy.actor.out.weight *= 20  # decisions that differ

    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        return self.spoil(self.policy.actor(self.blur(states), mean_actions))


PLANTED = {
    "honest": Planted(),
    "saturated": Planted(spoil=lambda logits: (logits / 0.01).softmax(1).clamp(1e-6, 1 - 1e-6).log()),
    "quantised": Planted(blur=lambda states: (states * 2).round() / 2),
    "noisy": Planted(spoil=lambda logits: logits + 0.1 * torch.randn_like(logits)),
    "probabilities": Planted(spoil=lambda logits: logits.softmax(1)),
}


def evaluated(name: str, attack: Any, count: int = 6) -> pd.DataFrame:
    """Rows of a small battle, and what was measured, as a sweep makes them."""
    policy = PLANTED[name]
    sample = Sample(stream(0, "checks"), 64)
    game = battle(rounds=4, map_size=16, max_steps=8)
    rounds = play_rounds(game, policy, PLANTED["honest"], seed=0, attack=attack, count=count, on_attack=sample.see)
    probed = measure(policy, attack, sample.states, sample.mean_actions, torch_stream(0, "checks"))
    who = {"scenario": "battle", "policy": name, "method": name, "opponent": "a2c", "seed": 0}
    how = {"attack": {"PGD": "pgd", "FGSM": "fgsm", "RandomNoise": "random"}[type(attack).__name__]}
    return pd.DataFrame([asdict(r) for r in rounds]).assign(
        **who, **how, epsilon=attack.threat.epsilon, attacked_agents=count, **probed
    )


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("honest", set()),
        ("saturated", {"zero gradients", "loss stays"}),
        ("quantised", {"zero gradients", "loss stays"}),
        ("noisy", {"random logits"}),
        ("probabilities", {"probabilities"}),
    ],
)
def test_planted_policies_raise_their_checks(name: str, checks: set[str]) -> None:
    rows = evaluated(name, PGD(threat=Threat(epsilon=0.05), steps=5))
    (told,) = table(rows)["checks"]
    assert set(filter(None, told.split("; "))) == checks


@pytest.mark.parametrize("name", ["saturated", "quantised"])
def test_noise_beats_pgd_on_a_policy_without_gradients(name: str) -> None:
    """And on an honest one it does not."""
    threat = Threat(epsilon=0.3)
    for policy, expected in ((name, True), ("honest", False)):
        rows = pd.concat(
            [evaluated(policy, kind) for kind in (PGD(threat=threat), RandomNoise(threat=threat, kind="sign"))]
        )
        lines = table(rows).set_index("attack")
        assert ("noise wins" in lines.loc["pgd", "checks"]) == expected
        assert "noise wins" not in lines.loc["random", "checks"]


def test_the_measures_are_shares_and_say_nothing_of_nothing() -> None:
    attack = RandomNoise(threat=Threat())
    nothing = measure(PLANTED["honest"], attack, torch.zeros(0, 0), torch.zeros(0, 0), torch_stream(0, "checks"))
    assert list(nothing) == MEASURED
    assert np.isnan(list(nothing.values())[1:]).all()
    states, means = torch.rand(9, 1217), torch.zeros(9, 21)
    told = measure(PLANTED["noisy"], attack, states, means, torch_stream(0, "checks"))
    assert told["probe_noise"] == 1
    assert np.isnan(told["probe_zero_gradients"])  # noise follows none
    assert told["probe_states"] == 9
    assert np.isnan(told["probe_loss_rises"])
    assert (
        measure(PLANTED["honest"], FGSM(threat=Threat()), states, means, torch_stream(0, "checks"))["probe_loss_rises"]
        > 0
    )


def test_a_sample_is_of_all_that_was_seen() -> None:
    """Of 1000 states in 100 calls it keeps 200, from early and late ones alike."""
    sample = Sample(np.random.default_rng(0), 200)
    for call in range(100):
        numbers = torch.arange(call * 10, call * 10 + 10, dtype=torch.float32)[:, None]
        sample.see(numbers, -numbers)
    kept = sample.states[:, 0]
    assert len(kept) == len(kept.unique()) == 200
    assert torch.equal(sample.mean_actions[:, 0], -kept)
    assert abs(float(kept.mean()) - 500) < 60


def attacked(rewards: list[float], **changes: Any) -> list[dict[str, Any]]:
    cell = {"attack": "pgd", "epsilon": 0.075, "attacked_agents": 8, "flip_rate": 0.5}
    return [row(**{**cell, **changes}, round=i, reward=r) for i, r in enumerate(rewards)]


LOW, HIGH = [99.0, 100.0, 101.0, 100.0], [149.0, 152.0, 150.0, 149.0]
CLEAN = [row(round=i, reward=r) for i, r in enumerate([300.0, 301.0, 299.0, 300.0])]


@pytest.mark.parametrize(
    ("stronger", "weaker", "check"),
    [
        ({}, {"attack": "random"}, "noise wins"),
        ({"attack": "critic"}, {"attack": "square"}, "noise wins"),
        ({}, {"attack": "fgsm"}, "fewer steps win"),
        (
            {"attack_parameters": '{"steps": 50, "restarts": 1}'},
            {"attack_parameters": '{"steps": 10, "restarts": 1}'},
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
        lines = table(pd.DataFrame([*CLEAN, *attacked(high, **stronger), *attacked(low, **weaker)]))
        told = lines[lines["checks"] != ""]
        assert told["checks"].tolist() == [expected] * bool(expected)
        assert (told["reward_mean"] == np.mean(HIGH)).all()


def test_attacks_that_differ_in_more_than_steps_are_not_compared() -> None:
    many = attacked(HIGH, attack_parameters='{"steps": 50, "start": "state"}')
    few = attacked(LOW, attack_parameters='{"steps": 10, "start": "uniform"}')
    assert (table(pd.DataFrame([*CLEAN, *many, *few]))["checks"] == "").all()


def test_an_attack_that_helps_is_doubted_and_chance_is_not() -> None:
    lines = table(pd.DataFrame([*CLEAN, *attacked([310.0, 312.0, 311.0, 310.0])]))
    assert lines["checks"].tolist() == ["", "more victims help"]
    lines = table(pd.DataFrame([*CLEAN, *attacked([290.0, 330.0, 310.0, 300.0])]))
    assert lines["checks"].tolist() == ["", ""]
    chance = table(synthetic(attacks=(("pgd", 0.075), ("fgsm", 0.075), ("random", 0.075)), rounds=10))
    assert (chance["checks"] != "").mean() < 0.1


def test_flips_are_compared_too() -> None:
    pgd, noise = attacked(LOW, flip_rate=0.1), attacked(LOW, attack="random", flip_rate=0.3)
    lines = table(pd.DataFrame([*CLEAN, *pgd, *noise])).set_index(["attack", "attacked_agents"])["checks"]
    assert lines["pgd", 8] == "noise wins"
    assert (lines != "").sum() == 1


def test_the_page_puts_a_doubt_beside_its_number() -> None:
    rows = pd.DataFrame([*CLEAN, *attacked(HIGH), *attacked(LOW, attack="random")])
    lines = table(rows)
    assert "noise wins" in set(table1(lines)["checks"])
    page = html.render(rows, lines, {})
    assert CHECKS["noise wins"].split(":")[0] in page
    assert "battle, MFAC (synthetic), PGD, ε = 0.075: 8 attacked" in page
    assert '<abbr title="noise wins">?</abbr>' in page
    assert html.headline(rows, lines, "battle")["lines"][0]["checks"] == ""  # the number shown there is the noise's
    calm = pd.DataFrame([*CLEAN, *attacked(LOW)])
    quiet = html.render(calm, table(calm), {})
    assert "None of the checks is raised: zero gradients" in quiet
    assert "<abbr" not in quiet
