"""Bundled policies: what is stored, what a name finds, and what a card tells."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from marlrobust.errors import UserError
from marlrobust.games import SCENARIOS
from marlrobust.games.scenario import roles_of
from marlrobust.policies import library as places
from marlrobust.policies.card import load_card
from marlrobust.policies.checkpoint import load_policy, save_policy
from marlrobust.policies.library import Library, bundled
from marlrobust.training import experiment
from tools import zoo


@pytest.fixture
def filled(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of the policies under `runs`."""
    folder = tmp_path / "zoo"
    zoo.bundle(runs, folder)
    monkeypatch.setattr(places, "ZOO", folder)
    return folder


def test_bundling_rounds_weights_and_keeps_the_card(runs: Path, filled: Path) -> None:
    before, old = load_policy(runs / "battle" / "mfac" / "soldier.safetensors", scenario="battle")
    after, new = load_policy(filled / "battle" / "mfac" / "soldier.safetensors", scenario="battle")
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value.half().float())
    assert new.hash != old.hash
    assert (new.method, new.rounds, new.settings, new.versions) == (old.method, old.rounds, old.settings, old.versions)
    for log in ("battle/mfac/train.csv", "battle/romfac/train.csv"):  # for a report's training curves
        assert (filled / log).read_bytes() == (runs / log).read_bytes()


def test_prey_come_from_a2c_and_a2c_brings_nothing_else(filled: Path) -> None:
    assert sorted(p.relative_to(filled).as_posix() for p in filled.glob("pursuit/*/*.safetensors")) == [
        "pursuit/a2c/prey.safetensors",
        "pursuit/mfac/predator.safetensors",
    ]


def test_an_adversary_stays_its_policys(runs: Path, tmp_path: Path) -> None:
    victim, card = load_policy(runs / "battle" / "mfac" / "soldier.safetensors", scenario="battle")
    save_policy(tmp_path / "runs" / "battle" / "mfac", victim, card)
    foe = card.model_copy(update={"role": "adversary", "method": "adversary", "against": card.hash, "critic": False})
    save_policy(tmp_path / "runs" / "battle" / "adversary-mfac", victim, foe)
    zoo.bundle(tmp_path / "runs", tmp_path / "zoo")
    bundled_victim = load_card(tmp_path / "zoo" / "battle" / "mfac" / "soldier.safetensors")
    assert bundled_victim.hash != card.hash
    stored = load_card(tmp_path / "zoo" / "battle" / "adversary-mfac" / "adversary.safetensors")
    assert stored.against == bundled_victim.hash


def test_a_zoo_that_grows_too_large_is_refused(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="at most"):
        zoo.bundle(runs, tmp_path / "zoo")


def test_an_unfinished_training_is_not_bundled(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "battle" / "mfac", tmp_path / "battle" / "mfac")
    (tmp_path / "battle" / "mfac" / "state.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="not trained to its end"):
        zoo.bundle(tmp_path, tmp_path / "zoo")


def test_an_interrupted_training_is_not_bundled(runs: Path, tmp_path: Path) -> None:
    """Even where its state is gone."""
    policy, card = load_policy(runs / "battle" / "mfac" / "soldier.safetensors")
    save_policy(tmp_path / "runs" / "battle" / "mfac", policy, card.model_copy(update={"rounds": 4}))
    with pytest.raises(UserError, match="not trained to its end"):
        zoo.bundle(tmp_path / "runs", tmp_path / "zoo")


@pytest.mark.parametrize("name", ["zoo:battle/romfac", "zoo:romfac", "romfac"])
def test_names_of_bundled_policies(filled: Path, tmp_path: Path, name: str) -> None:
    found = Library(tmp_path).find(name, "battle", "soldier")
    assert found is not None
    assert found.path == filled / "battle" / "romfac" / "soldier.safetensors"
    assert found.full_name == "zoo:battle/romfac"
    assert Library(tmp_path).find(name, "pursuit", "predator") is None


def test_a_wrong_bundled_name_says_the_nearest(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean 'zoo:battle/romfac'.*list policies"):
        Library(tmp_path).find("zoo:battle/romfax", "battle", "soldier")
    with pytest.raises(UserError, match="unknown policy 'zoo:pursuit/romfac'"):
        Library(tmp_path).find("zoo:pursuit/romfac", "pursuit", "predator")


def test_own_and_bundled_policies_of_one_name_are_told_apart(runs: Path, filled: Path) -> None:
    own, ours = Library(runs).choose(["romfac", "zoo:battle/romfac"], {"battle": ("soldier",)})
    assert (own.name, ours.name) == ("romfac", "zoo-romfac")


def test_the_zoo_is_attacked_where_nothing_was_trained(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    roles = {name: roles_of(kind.teams, (0,)) for name, kind in SCENARIOS.items()}
    chosen = Library(places.RUNS).choose([], roles)
    assert {policy.full_name for policy in chosen} == {"zoo:battle/mfac", "zoo:battle/romfac", "zoo:pursuit/mfac"}
    opponents = [
        Library(places.RUNS).opponent("a2c", name, roles_of(SCENARIOS[name].teams, (0,), others=True))
        for name in ("battle", "pursuit")
    ]
    assert all(opponent.bundled and opponent.name == "a2c" for opponent in opponents)
    with pytest.raises(UserError, match="no policies under elsewhere"):
        Library(Path("elsewhere")).choose([], roles)


def test_results_go_into_the_cards(filled: Path) -> None:
    line = {"scenario": "battle", "policy": "mfac", "epsilon": 0.075, "kills_mean": 60.0, "rounds": 50}
    table = pd.DataFrame(
        [
            {**line, "attack": "none", "attacked_agents": 0, "win_rate": 0.9, "reward_mean": 311.0},
            {**line, "attack": "pgd", "attacked_agents": 64, "win_rate": 0.1, "reward_mean": -60.0, "flip_rate": 0.9},
        ]
    )
    assert zoo.add_results(table) == 1
    path = filled / "battle" / "mfac" / "soldier.safetensors"
    card = load_card(path)
    assert card.results is not None
    assert card.results.attacked_agents["64"]["reward_mean"] == -60.0
    assert "reward 311, under pgd -60" in card.summary()
    load_policy(path, scenario="battle")
    assert any(p.card.results for p in bundled())


def test_results_of_the_attack_learned_are_its_adversarys(runs: Path, filled: Path) -> None:
    victim, card = load_policy(filled / "battle" / "mfac" / "soldier.safetensors", scenario="battle")
    foe = card.model_copy(update={"role": "adversary", "method": "adversary", "against": card.hash, "critic": False})
    save_policy(filled / "battle" / "adversary-mfac", victim, foe)
    line = {"scenario": "battle", "policy": "mfac", "epsilon": 0.075, "attacked_agents": 64}
    line |= dict.fromkeys(zoo.MEASURED, 0.25)
    table = pd.DataFrame(
        [{**line, "attack": "pgd", "reward_mean": 1.0}, {**line, "attack": "learned", "reward_mean": 0.5}]
    )
    assert zoo.add_results(table, "learned") == 1
    assert not load_card(filled / "battle" / "mfac" / "soldier.safetensors").results
    found = load_card(filled / "battle" / "adversary-mfac" / "adversary.safetensors").results
    assert found is not None
    assert found.attacked_agents["64"]["reward_mean"] == 0.5


def test_what_comes_with_the_package_is_whole() -> None:
    """Each bundled policy has the hash of its card, and all of them are within their limit."""
    for stored in bundled():
        _, card = load_policy(stored.path, scenario=stored.card.scenario, role=stored.card.role)
        assert card.rounds > 0
        assert card.settings
    assert sum(path.stat().st_size for path in places.ZOO.rglob("*")) <= zoo.MOST_BYTES
    names = {stored.full_name for stored in bundled()}
    methods = (*experiment.METHODS, experiment.OPPONENT)
    assert names >= {f"zoo:{scenario}/{name}" for scenario in ("battle", "pursuit") for name in methods}
    assert Library().policy("zoo:battle/romfac", "battle", "soldier").bundled
    assert Library().opponent("zoo:a2c", "pursuit", ("prey",)).card.role == "prey"
