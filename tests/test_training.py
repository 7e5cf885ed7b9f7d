"""Training repeats, resumes to the same weights, shares its start, and learns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from marlrobust.defenses.losses import ActionLoss, Defended, cross_entropy
from marlrobust.defenses.methods import METHODS
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.game import Decisions
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.card import load_card
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.sparse import compress
from marlrobust.training.learner import Phase
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.replay import Batch
from marlrobust.training.trainer import Trainer
from tests.conftest import settings, train, trainer


def weights(trained: Trainer) -> dict[str, torch.Tensor]:
    return {f"{name}.{k}": v.clone() for name, s in trained.students.items() for k, v in s.learner.state().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())


def policies(made: Trainer) -> dict[str, dict[str, torch.Tensor]]:
    return {n: {k: v.clone() for k, v in s.learner.policy.state_dict().items()} for n, s in made.students.items()}


def one_batch_of_rounds(made: Trainer) -> dict[str, float]:
    return made.play(made.cast.matchup(made.iteration))


def to_m_norm(made: Trainer) -> None:
    while made.rounds < settings().normal_rounds:
        one_batch_of_rounds(made)


def log_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "train.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("stop_after", [1, 3])  # before and after M_norm
def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    whole = train(tmp_path / "a" / "romfac")
    interrupted = trainer(tmp_path / "b" / "romfac")
    interrupted.run(stop=lambda: interrupted.iteration >= stop_after)
    assert not interrupted.finished
    resumed = trainer(tmp_path / "b" / "romfac")
    assert resumed.resume()
    assert resumed.iteration == stop_after
    resumed.run()
    assert same(weights(whole), weights(resumed))
    assert log_of(tmp_path / "a" / "romfac") == log_of(tmp_path / "b" / "romfac")


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    assert not same(weights(train(tmp_path / "a" / "mfac")), weights(train(tmp_path / "b" / "mfac", seed=1)))


def test_the_shared_start_changes_nothing(tmp_path: Path) -> None:
    """All methods are one until M_norm: romfac from mfac's start is romfac from its own."""
    train(tmp_path / "shared" / "mfac", method="mfac")
    second = trainer(tmp_path / "shared" / "romfac")
    assert second.resume()
    assert second.rounds == settings().normal_rounds
    second.run()
    assert same(weights(train(tmp_path / "alone" / "romfac")), weights(second))
    assert log_of(tmp_path / "shared" / "romfac") == log_of(tmp_path / "alone" / "romfac")


def test_other_settings_before_m_norm_share_no_start(tmp_path: Path) -> None:
    train(tmp_path / "mfac", method="mfac")
    assert not trainer(tmp_path / "romfac", gamma=0.9).resume()
    assert not trainer(tmp_path / "a2c", method="a2c").resume()
    assert trainer(tmp_path / "romfac", mu_max=0.5).resume()


def test_the_card_tells_an_interrupted_training_from_a_finished_one(tmp_path: Path) -> None:
    first = trainer(tmp_path / "mfac", method="mfac")
    first.run(stop=lambda: first.iteration >= 3)
    card = load_card(tmp_path / "mfac" / "soldier.safetensors")
    assert card.interrupted
    assert (card.rounds, card.planned_rounds, card.critic, card.against) == (12, 16, True, "")
    train(tmp_path / "mfac", method="mfac")
    assert not load_card(tmp_path / "mfac" / "soldier.safetensors").interrupted


def test_the_action_loss_works_from_m_norm_on(tmp_path: Path) -> None:
    train(tmp_path / "romfac")
    rows = log_of(tmp_path / "romfac")
    assert [int(row["rounds"]) for row in rows] == [4, 8, 12, 16]
    # round 12 is the 4th of a loop of 8 whose ramp takes 0.8 of it: 4 / 6.4
    assert [float(row["mu"]) for row in rows] == pytest.approx([0, 0, 0, 0.625 * settings().mu_max])
    assert [float(row["epsilon"]) for row in rows] == [0, 0, 0.075, 0.075]
    assert float(rows[3]["action_loss"]) > 0 == float(rows[2]["action_loss"])


def one_batch(n: int = 64) -> Batch:
    rng = np.random.default_rng(0)
    states = (rng.random((n, 30)) * (rng.random((n, 30)) < 0.3)).astype(np.float32)
    mean = torch.full((n, 4), 0.25)
    actions, rewards = (
        torch.from_numpy(rng.integers(0, 4, n)),
        torch.from_numpy(rng.random(n).astype(np.float32)),
    )
    return Batch(compress(states), compress(states), mean, mean, actions, rewards, torch.ones(n))


def learner(method: str = "romfac") -> MeanFieldLearner:
    torch.manual_seed(0)
    policy = MeanFieldPolicy(30, 4, hidden=16, embedding=4)
    loss = METHODS[method].loss(policy, gamma=0.9, tau=0.5)
    return MeanFieldLearner(
        policy, settings(gamma=0.9, tau=0.5, gradient_norm=5.0, attack_steps=3, mirrors=False), "soldier", loss
    )


def test_the_critic_learns_the_rewards_of_terminal_transitions() -> None:
    it, batch = learner(), one_batch()
    phase = Phase(mu=0, epsilon=0, entropy=0.1, learning_rate=3e-3)
    for _ in range(400):
        it.update(batch, phase, torch.Generator())
    decisions = Decisions.of(batch.states.dense(), batch.new_mean_actions)
    q = it.policy.q_values(decisions).gather(1, batch.actions[:, None])[:, 0]
    assert (q - batch.rewards).abs().mean() < 0.03


def test_the_targets_follow_by_tau() -> None:
    it = learner()
    before = [p.clone() for p in it.target.parameters()]
    it.update(one_batch(), Phase(mu=0, epsilon=0, entropy=0.1, learning_rate=1e-2), torch.Generator())
    for old, new, target in zip(before, it.policy.parameters(), it.target.parameters(), strict=True):
        torch.testing.assert_close(target, (old + new) / 2)


@pytest.mark.parametrize("method", ["romfac", "sa-kl", "certified", "wocar"])
def test_each_loss_makes_the_actor_robust(method: str) -> None:
    """The same updates with and without it: PGD flips far fewer actions with it."""
    flips = {}
    for mu in (0.0, 1.0):
        it, batch = learner(method), one_batch()
        for weight in (0.0, mu):
            for _ in range(150):
                it.update(batch, Phase(weight, epsilon=0.1, entropy=0.01, learning_rate=3e-3), torch.Generator())
        it.loss = cross_entropy
        metrics = it.update(batch, Phase(1e-9, epsilon=0.1, entropy=0.01, learning_rate=0.0), torch.Generator())
        flips[mu] = metrics["flip_rate"]
    assert flips[1.0] < 0.5 * flips[0.0]


def test_the_loss_is_of_the_first_of_a_batch_where_a_share_is_asked_for() -> None:
    sizes = []

    def counting(it: Defended) -> ActionLoss:
        sizes.append((len(it.decisions), len(it.logits)))
        return cross_entropy(it)

    it = learner()
    it.loss = counting
    it.settings = it.settings.model_copy(update={"defended_share": 0.3})
    it.update(one_batch(64), Phase(0.1, epsilon=0.1, entropy=0.01, learning_rate=3e-3), torch.Generator())
    assert sizes == [(20, 20)]


def test_learns_a_small_battle_as_no_random_policy_plays_it(fighters: MeanFieldPolicy) -> None:
    """The trained team kills most of a random one, which never does."""
    torch.manual_seed(0)
    untrained = MeanFieldPolicy(1217, 21, hidden=64, embedding=8)
    arena = Battle(map_size=16, max_steps=100).make(20)
    trained = play_rounds(arena, fighters, untrained, seed=1)
    random = play_rounds(arena, untrained, untrained, seed=1)
    assert np.mean([r.kills for r in trained]) > 3.5
    assert np.mean([r.kills for r in random]) < 1.0


def test_after_the_start_a_share_of_rounds_is_played_against_the_past(tmp_path: Path) -> None:
    made = trainer(tmp_path / "romfac", past_share=0.5, mu_max=0.0)
    student = made.students["soldier"]
    to_m_norm(made)
    start = policies(made)["soldier"]
    one_batch_of_rounds(made)
    assert all(torch.equal(v, start[k]) for k, v in student.past.state_dict().items())
    assert not all(torch.equal(v, start[k]) for k, v in student.learner.policy.state_dict().items())
    matchup = made.cast.matchup(made.iteration)
    made.game.reset(np.arange(made.game.rounds), matchup.swapped)
    decisions = made.game.observe(1)
    with torch.no_grad():
        student.past.actor.out.bias[3] = 1e6  # the past does nothing but action 3
        student.young.actor.out.bias[5] = 1e6
        actions = matchup.players[1].act(decisions, np.random.default_rng(0)).actions
    young, past = (decisions.round < settings().parallel_rounds // part for part in (4, 2))
    assert young.any()
    assert not past.all()
    assert (actions[young] == 5).all()
    assert (actions[past & ~young] == 3).all()
    assert not (actions[~past] == 3).all()


def test_the_young_policy_is_that_of_a_quarter_of_m_norm(tmp_path: Path) -> None:
    made = trainer(tmp_path / "mfac", method="mfac", normal_rounds=16)
    one_batch_of_rounds(made)
    kept = policies(made)["soldier"]
    to_m_norm(made)
    assert all(torch.equal(v, kept[k]) for k, v in made.students["soldier"].young.state_dict().items())


def test_a_role_that_only_its_past_plays_does_not_learn(tmp_path: Path) -> None:
    game = {"map_size": 16, "max_steps": 30, "predators": 6, "prey": 9}
    made = trainer(tmp_path / "romfac", scenario="pursuit", game=game, past_share=1.0)
    to_m_norm(made)
    start = policies(made)
    row = one_batch_of_rounds(made)
    learned = {n: not same(now, start[n]) for n, now in policies(made).items()}
    assert learned == {"predator": True, "prey": False}
    assert row["updates"] > 0


def test_the_past_is_stored_and_restored(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    to_m_norm(whole)
    one_batch_of_rounds(whole)
    whole.save()
    again = trainer(tmp_path / "whole")
    assert again.resume()
    for name in ("past", "young"):
        kept, restored = (getattr(it.students["soldier"], name).state_dict() for it in (whole, again))
        assert all(torch.equal(v, restored[k]) for k, v in kept.items())
