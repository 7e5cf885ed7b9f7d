"""The learned adversary: it repeats, resumes, belongs to one policy, and harms more than PGD does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.learned import Learned
from marlrobust.attacks.threat import Threat
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Decisions
from marlrobust.policies.card import Card, load_card
from marlrobust.policies.checkpoint import load_policy, save_policy
from marlrobust.policies.library import Library, StoredPolicy
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.training.adversary import AgainstTeam
from marlrobust.training.run import prepare
from marlrobust.training.settings import AdversarySettings
from marlrobust.training.trainer import Trainer
from tests.conftest import PURSUIT, TINY

THREAT = Threat(norm="l_inf", epsilon=0.075)


def adversary(folder: Path, runs: Path, **layer: Any) -> Trainer:
    tiny = {k: v for k, v in TINY.items() if k in AdversarySettings.model_fields}
    settings = resolve(AdversarySettings, tiny, {"against": "mfac", "rounds": 12}, layer)
    return prepare(settings, runs=runs, out=folder, resume=True).trainer


def run(made: Trainer) -> dict[str, torch.Tensor]:
    made.run()
    return made.students["adversary"].learner.policy.state_dict()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_training_repeats_and_resumes_to_the_same_weights(runs: Path, tmp_path: Path) -> None:
    whole = run(adversary(tmp_path / "whole", runs))
    assert equal(whole, run(adversary(tmp_path / "again", runs)))
    first = adversary(tmp_path / "parts", runs)
    first.run(stop=lambda: first.rounds >= 4)
    assert not first.finished
    second = adversary(tmp_path / "parts", runs)
    assert second.rounds == 4
    assert equal(whole, run(second))
    assert not equal(whole, run(adversary(tmp_path / "seed", runs, seed=1)))


def test_it_begins_with_the_critic_turned_round(runs: Path, tmp_path: Path) -> None:
    made = adversary(tmp_path, runs)
    assert isinstance(made.cast, AgainstTeam)
    decisions = Decisions.of(torch.randn(5, 1217), torch.rand(5, 21))
    with torch.no_grad():
        q = made.cast.victim.q_values(decisions)
        policy = made.students["adversary"].learner.policy
        torch.testing.assert_close(policy.q_values(decisions), -q)
        assert torch.equal(policy.logits(decisions).argmax(1), q.argmin(1))


def test_its_card_says_what_it_is(runs: Path, tmp_path: Path) -> None:
    first = adversary(tmp_path, runs)
    first.run(stop=lambda: first.rounds >= 4)
    card = load_card(tmp_path / "adversary.safetensors")
    victim = load_card(runs / "battle" / "mfac" / "soldier.safetensors")
    assert (card.method, card.role, card.against, card.critic) == ("adversary", "adversary", victim.hash, False)
    assert (card.rounds, card.planned_rounds, card.interrupted) == (4, 12, True)
    assert card.settings["against"] == "mfac"


def test_the_teams_that_it_plays_with_stay_as_they_are(runs: Path, tmp_path: Path) -> None:
    made = adversary(tmp_path, runs)
    assert isinstance(made.cast, AgainstTeam)
    teams: tuple[Any, ...] = (made.cast.victim, made.cast.opponents["soldier"].policy)
    before = [{k: v.clone() for k, v in team.state_dict().items()} for team in teams]
    made.run()
    assert all(equal(old, team.state_dict()) for old, team in zip(before, teams, strict=True))


def test_in_every_other_round_all_agents_are_attacked(runs: Path, tmp_path: Path) -> None:
    """And what an attacked agent teaches is what it was driven to."""
    made = adversary(tmp_path, runs)
    matchup = made.cast.matchup(0)
    driven: Any = matchup.players[0]
    counts = driven.attacked.sum(1)
    assert (counts[::2] == 6).all()
    assert (counts[1::2] >= 1).all()
    made.game.reset(np.arange(made.game.rounds), matchup.swapped)
    decisions = made.game.observe(0)
    attacked = driven.attacked[decisions.round, decisions.agent]
    with torch.no_grad():
        acted = driven.act(decisions, np.random.default_rng(0))
    assert (acted.taught[~attacked] == acted.actions[~attacked]).all()
    assert (acted.taught[attacked] != acted.actions[attacked]).any()
    assert (driven.sign, matchup.players[1].teaches) == (-1.0, None)


def test_pursuit_has_one_too(runs: Path, tmp_path: Path) -> None:
    run(adversary(tmp_path, runs, scenario="pursuit", game=PURSUIT, rounds=4))
    assert load_card(tmp_path / "adversary.safetensors").scenario == "pursuit"


@pytest.fixture
def trained(runs: Path, tmp_path: Path) -> StoredPolicy:
    """runs' mfac under another name, copied so that its adversary lies beside it."""
    source, card = load_policy(runs / "battle" / "mfac" / "soldier.safetensors", scenario="battle")
    save_policy(tmp_path / "battle" / "mine", source, card)
    return Library(tmp_path).policy("mine", "battle", "soldier")


def test_an_evaluation_finds_the_adversary_of_its_policy(trained: StoredPolicy, runs: Path, tmp_path: Path) -> None:
    attack, library = Learned(threat=THREAT), Library(tmp_path)
    with pytest.raises(UserError, match=r"no adversary .*for battle/mine.*marlrobust train --against mine"):
        attack.resolved(trained, library)
    run(adversary(tmp_path / "battle" / "adversary-mine", runs))
    found = attack.resolved(trained, library)
    path = tmp_path / "battle" / "adversary-mine" / "adversary.safetensors"
    assert found.adversary.path == path
    other = replace(trained, card=trained.card.model_copy(update={"hash": "0"}))
    with pytest.raises(UserError, match="trained against another policy"):
        attack.resolved(other, library)
    decisions = Decisions.of(torch.rand(3, 1217), torch.full((3, 21), 1 / 21))
    assert (found.perturb(trained.load(), decisions, torch.Generator()) != decisions.dense).any()


def test_it_harms_a_team_that_fights_more_than_pgd(fighters: MeanFieldPolicy, tmp_path: Path) -> None:
    """On rounds that its training never saw."""
    shape = fighters.shape.model_dump()
    card = Card(
        method="mfac", scenario="battle", role="soldier", shape=shape, seed=0, rounds=0, planned_rounds=0, seconds=0.0
    )
    save_policy(tmp_path / "battle" / "mfac", fighters, card)
    save_policy(tmp_path / "battle" / "a2c", fighters, card)
    game = {"max_steps": 100, "attack_penalty": 0.0, "map_size": 16}
    made = adversary(tmp_path / "out", tmp_path, game=game, rounds=160, parallel_rounds=16, epsilon=0.3, batch_size=256)
    run(made)
    learned = Learned(threat=Threat(epsilon=0.3), adversary=made.students["adversary"].learner.policy)

    def reward(attack: Attack | None) -> float:
        arena = made.settings.game.make(60)
        against = Adversary(attack, 6) if attack else None
        rounds = play_rounds(arena, fighters, fighters, seed=5, adversary=against)
        return float(np.mean([r.reward for r in rounds]))

    clean, pgd, ours = reward(None), reward(PGD(threat=Threat(epsilon=0.3))), reward(learned)
    assert ours < pgd < clean
