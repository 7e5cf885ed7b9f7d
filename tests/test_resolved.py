"""An attack that needs another policy gets it from the library it is given, before anything is played."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from marlrobust.attacks import ATTACKS, Attack, Threat
from marlrobust.attacks.learned import ADVERSARY, adversary_name
from marlrobust.errors import UserError
from marlrobust.games import SCENARIOS
from marlrobust.games.game import Decisions
from marlrobust.games.scenario import roles_of
from marlrobust.policies import library as library_module
from marlrobust.policies.card import Card
from marlrobust.policies.checkpoint import save_policy
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.policies.mean_field import MeanFieldPolicy

D, A = 30, 4


def store(runs: Path, name: str, *, scenario: str = "battle", seed: int = 0, d: int = D, **card: Any) -> StoredPolicy:
    """A policy with weights of its own, under `runs`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = MeanFieldPolicy(d, A, hidden=8, embedding=4)
    known: dict[str, Any] = {
        "method": "mfac",
        "scenario": scenario,
        "role": roles_of(SCENARIOS[scenario].teams, (0,))[0],
        "shape": {},
    }
    facts = {"seed": seed, "rounds": 1, "planned_rounds": 1, "seconds": 0.0}
    folder = runs / scenario / name
    made = save_policy(folder, policy, Card(**{**known, **facts, **card}))
    return StoredPolicy(name, folder / f"{made.role}.safetensors", made)


def adversary_of(victim: StoredPolicy, runs: Path, *, seed: int = 7) -> StoredPolicy:
    name = adversary_name(victim.path.parent.name)
    return store(
        runs, name, scenario=victim.card.scenario, seed=seed, role=ADVERSARY, critic=False, against=victim.card.hash
    )


def make(name: str, **parameters: Any) -> Any:
    return ATTACKS[name](threat=Threat(), **parameters)


def decisions() -> Decisions:
    rng = torch.Generator().manual_seed(0)
    return Decisions.of(torch.randn(20, D, generator=rng), torch.rand(20, A, generator=rng))


def perturbed(attack: Attack, victim: StoredPolicy) -> torch.Tensor:
    return attack.perturb(victim.load(), decisions(), torch.Generator().manual_seed(0))


def test_an_attack_that_needs_nobody_is_run_as_it_is(tmp_path: Path) -> None:
    victim = store(tmp_path, "mfac")
    for name, kind in ATTACKS.items():
        attack = make(name)
        if kind.resolved is Attack.resolved:
            assert attack.resolved(victim, Library(tmp_path)) is attack
    assert {n for n, kind in ATTACKS.items() if kind.resolved is not Attack.resolved} == {"learned", "transfer"}


@pytest.mark.parametrize("scenario", ["battle", "pursuit"])
def test_the_default_source_is_there_for_every_bundled_policy_and_is_another_one(scenario: str) -> None:
    for team in Library(library_module.ZOO).tested(scenario, roles_of(SCENARIOS[scenario].teams, (0,))):
        (victim,) = team.policies
        source = make("transfer").resolved(victim, Library(Path("nowhere"))).source
        assert source.card.hash != victim.card.hash
        assert (source.card.scenario, source.card.role) == (scenario, victim.card.role)
        assert source.card.state_size == victim.card.state_size


@pytest.mark.parametrize("scenario", ["battle", "pursuit"])
def test_a_source_is_found_in_the_runs_that_are_given(scenario: str, tmp_path: Path) -> None:
    for seed, runs in enumerate(("one", "two")):
        store(tmp_path / runs, "ours", scenario=scenario, seed=seed + 1)
    victim = store(tmp_path, "mfac", scenario=scenario)
    found = [make("transfer", source="ours").resolved(victim, Library(tmp_path / runs)) for runs in ("one", "two")]
    assert [attack.source.path.parents[2].name for attack in found] == ["one", "two"]
    moves = [perturbed(attack, victim) for attack in found]
    assert not torch.equal(*moves)
    alone = make("transfer", source=found[0].source.load())
    assert torch.equal(moves[0], perturbed(alone, victim))


def test_a_source_that_is_not_there_or_sees_other_states_is_told(tmp_path: Path) -> None:
    victim = store(tmp_path, "mfac")
    store(tmp_path, "wide", d=D + 1)
    store(tmp_path, "hunter", scenario="pursuit")
    for name in ("nobody", "hunter"):
        with pytest.raises(UserError, match=f"no policy '{name}' of a soldier for battle.*source=NAME"):
            make("transfer", source=name).resolved(victim, Library(tmp_path))
    with pytest.raises(UserError, match=r"takes states of 31 numbers, battle/mfac of 30"):
        make("transfer", source="wide").resolved(victim, Library(tmp_path))


@pytest.mark.parametrize("name", ["transfer", "learned"])
def test_a_name_that_nobody_looked_up_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no policy yet: give one, or call resolved\(victim, library\)"):
        perturbed(make(name), store(tmp_path, "mfac"))


def test_parameters_name_a_stored_policy_by_name_and_hash_never_by_path(tmp_path: Path) -> None:
    victim, other = store(tmp_path, "mfac"), store(tmp_path, "ours", seed=1)
    adversary = adversary_of(victim, tmp_path)
    for name, field, stored in (("transfer", "source", other), ("learned", "adversary", adversary)):
        attack = make(name, **{field: stored.path.parent.name}).resolved(victim, Library(tmp_path))
        told = attack.parameters()
        assert told[field] == {"name": stored.full_name, "hash": stored.card.hash}
        assert str(tmp_path) not in json.dumps(told)


def test_no_file_is_read_again_while_rounds_are_played(tmp_path: Path) -> None:
    victim = store(tmp_path, "mfac")
    store(tmp_path, "ours", seed=1)
    adversary_of(victim, tmp_path)
    policy = victim.load()
    attacks = [a.resolved(victim, Library(tmp_path)) for a in (make("transfer", source="ours"), make("learned"))]
    first = [a.perturb(policy, decisions(), torch.Generator()) for a in attacks]
    shutil.rmtree(tmp_path / "battle")
    again = [a.perturb(policy, decisions(), torch.Generator()) for a in attacks]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("scenario", ["battle", "pursuit"])
def test_the_adversary_of_a_policy_is_found(scenario: str, tmp_path: Path) -> None:
    """Beside that policy, or in the runs that are given; and it is the one that says it was trained against it."""
    victim = store(tmp_path / "theirs", "mfac", scenario=scenario)
    ours = adversary_of(victim, tmp_path / "ours")
    found = make("learned").resolved(victim, Library(tmp_path / "ours"))
    assert found.adversary.path == ours.path
    beside = adversary_of(victim, tmp_path / "theirs", seed=8)
    found = make("learned").resolved(victim, Library(tmp_path / "ours"))
    assert found.adversary.path == beside.path
    save = replace(victim, card=victim.card.model_copy(update={"hash": "0" * 64}))
    with pytest.raises(UserError, match=r"adversary-mfac was trained against another policy than .*train one with"):
        make("learned").resolved(save, Library(tmp_path / "ours"))
    with pytest.raises(UserError, match="trained against another policy"):
        make("learned", adversary=str(ours.path)).resolved(save, Library(tmp_path / "ours"))


def test_a_missing_adversary_is_told_with_how_to_train_it(tmp_path: Path) -> None:
    victim = store(tmp_path, "mfac")
    with pytest.raises(UserError, match=r"no adversary .*'marlrobust train --against mfac --scenario battle'"):
        make("learned").resolved(victim, Library(tmp_path))
    (bundled,) = (p for p in Library(library_module.ZOO).tested("pursuit", ("predator",)) if p.name == "romfac")
    with pytest.raises(UserError, match="'marlrobust train --against zoo:pursuit/romfac --scenario pursuit'"):
        make("learned").resolved(bundled.policies[0], Library(tmp_path))
    with pytest.raises(UserError, match="there is no adversary 'someone' for battle/mfac"):
        make("learned", adversary="someone").resolved(victim, Library(tmp_path))


def test_the_bundled_adversaries_fit_the_bundled_policies(tmp_path: Path) -> None:
    for name in ("mfac", "romfac"):
        victim = Library(tmp_path).policy(f"zoo:battle/{name}", "battle", "soldier")
        found = make("learned").resolved(victim, Library(tmp_path)).adversary
        assert found.full_name == f"zoo:battle/adversary-{name}"
