"""Training repeats, resumes to the same weights, shares its start, and learns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import settings, train

from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.magent import battle
from marlrobust.policies.networks import MeanFieldPolicy
from marlrobust.states import compress
from marlrobust.training.mean_field import MeanFieldLearner, Phase
from marlrobust.training.replay import Batch
from marlrobust.training.trainer import Trainer


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {f"{name}.{k}": v.clone() for name, role in trainer.roles.items() for k, v in role.learner.state().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())


def log_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "train.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("stop_after", [1, 3])  # before and after M_norm
def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    whole = train(tmp_path / "a" / "romfac")
    interrupted = Trainer(settings(), tmp_path / "b" / "romfac")
    interrupted.run(stop=lambda: interrupted.iteration >= stop_after, report=lambda row: None)
    assert not interrupted.finished
    resumed = Trainer(settings(), tmp_path / "b" / "romfac")
    assert resumed.resume()
    assert resumed.iteration == stop_after
    resumed.run(stop=lambda: False, report=lambda row: None)
    assert same(weights(whole), weights(resumed))
    assert log_of(tmp_path / "a" / "romfac") == log_of(tmp_path / "b" / "romfac")


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    assert not same(weights(train(tmp_path / "a" / "mfac")), weights(train(tmp_path / "b" / "mfac", seed=1)))


def test_the_shared_start_changes_nothing(tmp_path: Path) -> None:
    """All methods are one until M_norm: romfac from mfac's start is romfac from its own."""
    train(tmp_path / "shared" / "mfac", method="mfac")
    second = Trainer(settings(), tmp_path / "shared" / "romfac")
    assert second.resume()
    assert second.rounds == settings().normal_rounds
    second.run(stop=lambda: False, report=lambda row: None)
    assert same(weights(train(tmp_path / "alone" / "romfac")), weights(second))
    assert log_of(tmp_path / "shared" / "romfac") == log_of(tmp_path / "alone" / "romfac")


def test_other_settings_before_m_norm_share_no_start(tmp_path: Path) -> None:
    train(tmp_path / "mfac", method="mfac")
    assert not Trainer(settings(gamma=0.9), tmp_path / "romfac").resume()
    assert Trainer(settings(mu_max=0.5), tmp_path / "romfac").resume()


def test_a_training_that_never_saved_leaves_no_rows_behind(tmp_path: Path) -> None:
    killed = Trainer(settings(), tmp_path / "romfac")
    killed.log.write({"iteration": 1, "rounds": 4})
    train(tmp_path / "romfac")
    assert [int(row["iteration"]) for row in log_of(tmp_path / "romfac")] == [1, 2, 3, 4]


def test_a_damaged_state_says_so(tmp_path: Path) -> None:
    trainer = Trainer(settings(method="mfac"), tmp_path / "mfac")
    trainer.run(stop=lambda: trainer.iteration >= 1, report=lambda row: None)
    path = tmp_path / "mfac" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        Trainer(settings(method="mfac"), tmp_path / "mfac").resume()


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


def learner(**changes: float) -> MeanFieldLearner:
    torch.manual_seed(0)
    policy = MeanFieldPolicy(30, 4, hidden=16, embedding=4)
    return MeanFieldLearner(policy, gamma=0.9, tau=0.5, gradient_norm=5.0, attack_steps=3)


def test_the_critic_learns_the_rewards_of_terminal_transitions() -> None:
    it, batch = learner(), one_batch()
    phase = Phase(mu=0, epsilon=0, entropy=0.1, learning_rate=3e-3)
    for _ in range(400):
        it.update(batch, phase, torch.Generator())
    q = it.policy.q_values(batch.states, batch.new_mean_actions).gather(1, batch.actions[:, None])[:, 0]
    assert (q - batch.rewards).abs().mean() < 0.03


def test_the_targets_follow_by_tau() -> None:
    it = learner()
    before = [p.clone() for p in it.target.parameters()]
    it.update(one_batch(), Phase(mu=0, epsilon=0, entropy=0.1, learning_rate=1e-2), torch.Generator())
    for old, new, target in zip(before, it.policy.parameters(), it.target.parameters(), strict=True):
        torch.testing.assert_close(target, (old + new) / 2)


def test_the_action_loss_makes_the_actor_robust() -> None:
    """The same updates with and without mu: the attack flips far fewer actions with it."""
    flips = {}
    for mu in (0.0, 1.0):
        it, batch = learner(), one_batch()
        for weight in (0.0, mu):
            for _ in range(150):
                metrics = it.update(
                    batch, Phase(weight, epsilon=0.1, entropy=0.01, learning_rate=3e-3), torch.Generator()
                )
        metrics = it.update(batch, Phase(1e-9, epsilon=0.1, entropy=0.01, learning_rate=0.0), torch.Generator())
        flips[mu] = metrics["flip_rate"]
    assert flips[1.0] < 0.5 * flips[0.0]


def test_learns_a_small_battle_as_no_random_policy_plays_it(fighters: MeanFieldPolicy) -> None:
    """The trained team kills most of a random one, which never does."""
    torch.manual_seed(0)
    untrained = MeanFieldPolicy(1217, 21, hidden=64, embedding=8)
    arena = battle(rounds=20, map_size=16, max_steps=100)
    trained = play_rounds(arena, fighters, untrained, seed=1)
    random = play_rounds(arena, untrained, untrained, seed=1)
    assert np.mean([r.kills for r in trained]) > 3.5
    assert np.mean([r.kills for r in random]) < 1.0


def test_after_the_start_a_share_of_rounds_is_played_against_the_past(tmp_path: Path) -> None:
    trainer = Trainer(settings(past_share=0.5, mu_max=0.0), tmp_path / "romfac")
    role = trainer.roles["soldier"]
    while not trainer._reached_start():
        trainer.train_iteration()
    start = {k: v.clone() for k, v in role.learner.policy.state_dict().items()}
    trainer.train_iteration()
    assert all(torch.equal(v, start[k]) for k, v in role.past.state_dict().items())
    assert not all(torch.equal(v, start[k]) for k, v in role.learner.policy.state_dict().items())
    trainer.game.reset(np.arange(trainer.game.rounds), trainer._swapped())
    with torch.no_grad():
        role.past.actor.out.bias[3] = 1e6  # the past does nothing but action 3
        team = trainer._see(1)
        actions = trainer._act(1, team, np.random.default_rng(0))
    past = team.observation.round < trainer.settings.parallel_rounds // 2
    assert past.any()
    assert not past.all()
    assert (actions[past] == 3).all()
    assert not (actions[~past] == 3).all()


def test_a_role_that_only_its_past_plays_does_not_learn(tmp_path: Path) -> None:
    game = {"scenario": "pursuit", "map_size": 16, "max_steps": 30, "predators": 6, "prey": 9}
    trainer = Trainer(settings(game=game, past_share=1.0), tmp_path / "romfac")
    while not trainer._reached_start():
        trainer.train_iteration()
    start = {n: {k: v.clone() for k, v in r.learner.policy.state_dict().items()} for n, r in trainer.roles.items()}
    row = trainer.train_iteration()
    learned = {
        n: any(not torch.equal(v, start[n][k]) for k, v in r.learner.policy.state_dict().items())
        for n, r in trainer.roles.items()
    }
    assert learned == {"predator": True, "prey": False}
    assert row["updates"] > 0


def test_the_past_is_stored_and_restored(tmp_path: Path) -> None:
    whole = Trainer(settings(), tmp_path / "whole")
    while not whole._reached_start():
        whole.train_iteration()
    whole.train_iteration()
    whole.save()
    again = Trainer(settings(), tmp_path / "whole")
    assert again.resume()
    for k, v in whole.roles["soldier"].past.state_dict().items():
        assert torch.equal(v, again.roles["soldier"].past.state_dict()[k])
