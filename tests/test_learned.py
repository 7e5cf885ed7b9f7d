"""The learned adversary: it repeats, resumes, belongs to one policy, and harms more than PGD does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.learned import Learned
from marlrobust.config import AGAINST, AttackSettings, SweepSettings, TrainSettings, resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.evaluation.runner import sides
from marlrobust.evaluation.sweep import plan
from marlrobust.games.scenarios import make_game
from marlrobust.policies.checkpoint import Card, load_card, load_policy, save_policy
from marlrobust.policies.networks import MeanFieldPolicy
from marlrobust.policies.runs import StoredPolicy, find
from marlrobust.training.adversary import AdversaryTrainer
from tests.conftest import TINY

THREAT = Threat(norm="l_inf", epsilon=0.075)


def adversary(folder: Path, runs: Path, **layer: Any) -> AdversaryTrainer:
    layers = [TINY, AGAINST, {"normal_rounds": 12}, {"method": "adversary", "against": "mfac", **layer}]
    victim, opponent = sides("mfac", "a2c", runs, layer.get("game", {}).get("scenario", "battle"))
    return AdversaryTrainer(resolve(TrainSettings, *layers), folder, victim, opponent)


def run(trainer: AdversaryTrainer) -> dict[str, torch.Tensor]:
    trainer.resume()
    trainer.run(stop=lambda: False, report=lambda row: None)
    return trainer.roles["adversary"].learner.policy.state_dict()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_training_repeats_and_resumes_to_the_same_weights(runs: Path, tmp_path: Path) -> None:
    whole = run(adversary(tmp_path / "whole", runs))
    assert equal(whole, run(adversary(tmp_path / "again", runs)))
    first = adversary(tmp_path / "parts", runs)
    first.run(stop=lambda: first.rounds >= 4, report=lambda row: None)
    assert not first.finished
    assert equal(whole, run(adversary(tmp_path / "parts", runs)))
    assert not equal(whole, run(adversary(tmp_path / "seed", runs, seed=1)))


def test_it_begins_with_the_critic_turned_round(runs: Path, tmp_path: Path) -> None:
    trainer = adversary(tmp_path, runs)
    states, mean_actions = torch.randn(5, 1217), torch.rand(5, 21)
    with torch.no_grad():
        q = trainer.victim.q_values(states, mean_actions)
        policy = trainer.roles["adversary"].learner.policy
        torch.testing.assert_close(policy.q_values(states, mean_actions), -q)
        assert torch.equal(policy.logits(states, mean_actions).argmax(1), q.argmin(1))


def test_pursuit_has_one_too(runs: Path, tmp_path: Path) -> None:
    game = {"scenario": "pursuit", "map_size": 20, "max_steps": 30, "predators": 4, "prey": 8}
    run(adversary(tmp_path, runs, game=game, normal_rounds=4))
    assert load_card(tmp_path / "adversary.safetensors").scenario == "pursuit"


@pytest.fixture
def trained(runs: Path, tmp_path: Path) -> StoredPolicy:
    """runs' mfac, copied so that its adversary lies beside it."""
    source, card = load_policy(runs / "battle" / "mfac" / "soldier.safetensors", scenario="battle")
    save_policy(tmp_path / "battle" / "mfac", source, card)
    victim = find("mfac", tmp_path, "battle")
    assert victim is not None
    return victim


def test_a_sweep_finds_the_adversary_of_its_policy(trained: StoredPolicy, runs: Path, tmp_path: Path) -> None:
    settings = SweepSettings(attacks=(AttackSettings(name="learned"),), agents=(2,), map_size=16, rounds=1)
    train = "marlrobust train --method adversary --scenario battle --against battle/mfac"
    with pytest.raises(UserError, match=f"no adversary for battle/mfac.*{train}"):
        plan(settings, [(trained, trained)])
    run(adversary(tmp_path / "battle" / "adversary-mfac", runs))
    (cell,) = plan(settings, [(trained, trained)]).cells
    path = tmp_path / "battle" / "adversary-mfac" / "adversary.safetensors"
    assert cell.attack.parameters == {"adversary": str(path), "digest": load_card(path).hash}
    other = StoredPolicy("other", trained.path, Card(**{**vars(trained.card), "hash": "0"}))
    with pytest.raises(UserError, match="trained against another policy"):
        plan(settings, [(other, other)])
    attack = Learned(threat=THREAT, **cell.attack.parameters)
    states, mean_actions = torch.rand(3, 1217), torch.full((3, 21), 1 / 21)
    policy, _ = load_policy(trained.path, scenario="battle")
    assert (attack.perturb(policy, states, mean_actions, torch.Generator()) != states).any()
    with pytest.raises(UserError, match="has changed"):
        Learned(threat=THREAT, adversary=str(path), digest="0").perturb(policy, states, mean_actions, torch.Generator())


def test_settings_name_method_and_policy_together() -> None:
    with pytest.raises(UserError, match=r"^an adversary .* give --against NAME$"):
        resolve(TrainSettings, {"method": "adversary"})
    with pytest.raises(UserError, match="give --method adversary"):
        resolve(TrainSettings, {"against": "mfac"})


def test_it_harms_a_team_that_fights_more_than_pgd(fighters: MeanFieldPolicy, tmp_path: Path) -> None:
    """On rounds that its training never saw."""
    size, actions = fighters.state_size, fighters.n_actions
    card = Card("mfac", "battle", "soldier", size, actions, 64, 8, True, 0, 0, 0.0)
    save_policy(tmp_path / "battle" / "mfac", fighters, card)
    save_policy(tmp_path / "battle" / "a2c", fighters, card)
    game = {"max_steps": 100, "rewards": {"attack_penalty": 0.0}, "map_size": 16}
    trainer = adversary(
        tmp_path / "out", tmp_path, game=game, normal_rounds=160, parallel_rounds=16, epsilon=0.3, batch_size=256
    )
    run(trainer)
    learned = Learned(threat=Threat(epsilon=0.3), adversary=trainer.roles["adversary"].learner.policy)

    def reward(attack: Any) -> float:
        arena = make_game(trainer.settings.game, 60)
        rounds = play_rounds(arena, fighters, fighters, seed=5, attack=attack, count=6 if attack else 0)
        return float(np.mean([r.reward for r in rounds]))

    clean, pgd, ours = reward(None), reward(PGD(threat=Threat(epsilon=0.3))), reward(learned)
    assert ours < pgd < clean
