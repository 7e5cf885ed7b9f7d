"""IPPO learns what can be learned, repeats, resumes to the same weights, and takes every method's action loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from marlrobust.config import resolve
from marlrobust.defenses.losses import cross_entropy
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.theory.game import Sasg, nothing
from marlrobust.theory.rounds import TabularGame
from marlrobust.theory.scenario import Tabular
from marlrobust.training.ippo import IPPO, IPPOLearner, Judged, _advantages
from marlrobust.training.learner import Phase
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.training.trainer import Trainer
from tests.conftest import settings, trainer
from tests.test_training import log_of, one_batch, same, weights

PLACES = 4


class Corridor(Tabular):
    """Two agents in a corridor: the first opens the door of an even place, the second that of an odd one, each by
    action 1 where all others must do action 0. Only the last door pays, 1 for both."""

    summary: ClassVar[str] = "a corridor of doors, the last of which pays"

    def make(self, rounds: int) -> TabularGame:
        transitions = np.zeros((PLACES, 2, 2, PLACES))
        rewards = np.zeros((2, PLACES, 2, 2))
        for place in range(PLACES):
            opens = (1, 0) if place % 2 == 0 else (0, 1)
            transitions[place, :, :, place] = 1
            transitions[(place, *opens)] = np.eye(PLACES)[(place + 1) % PLACES]
        rewards[(slice(None), PLACES - 1, 0, 1)] = 1
        game = Sasg.of(transitions, rewards, nothing(2, PLACES), 0.9)
        return TabularGame(game, rounds, self.max_steps, start=0, discounted=False)


def corridor(folder: Path, **layer: Any) -> Trainer:
    """A training in the corridor: 16 steps, in which its end can be reached 4 times."""
    small = {
        "learner": {"name": "ippo", "parameters": {"epochs": 4}},
        "method": "mfac",
        "gamma": 0.9,
        "parallel_rounds": 16,
        "normal_rounds": 640,
        "loop_rounds": 32,
        "loops": 1,
        "hidden": 32,
        "batch_size": 256,
        "replay_size": 2000,
        "learning_rate": 5e-3,
        "first_entropy": 0.02,
        "past_share": 0.0,
    }
    made = resolve(TrainSettings, small, {"scenario": "corridor", "game": Corridor(max_steps=16)}, layer)
    return Trainer(SelfPlay(made), folder)


def test_learns_to_the_end_of_a_corridor(tmp_path: Path) -> None:
    """Whose reward comes steps later than what brings it, and to both agents."""
    made = corridor(tmp_path)
    arena = Corridor(max_steps=16).make(8)
    policy = made.students["agent"].learner.policy
    before = np.mean([r.reward for r in play_rounds(arena, policy, seed=0, greedy=False)])
    made.run()
    after = np.mean([r.reward for r in play_rounds(arena, policy, seed=0, greedy=False)])
    assert before < 3
    assert after > 7  # 8 is the most


def ippo(folder: Path, **layer: Any) -> Trainer:
    """The tiny battle of the tests of training, learned by IPPO; half of the rounds after M_norm against the past."""
    made = trainer(folder, learner={"name": "ippo"}, **layer)
    made.resume()
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    made = ippo(tmp_path_factory.mktemp("whole") / "romfac")
    made.run()
    return made


def test_repeats_from_a_seed_and_from_no_other(tmp_path: Path, whole: Trainer) -> None:
    for seed, equal in ((0, True), (1, False)):
        again = ippo(tmp_path / str(seed), seed=seed)
        again.run()
        assert same(weights(whole), weights(again)) is equal


@pytest.mark.parametrize("stop_after", [1, 3])  # before and after M_norm
def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(
    tmp_path: Path, whole: Trainer, stop_after: int
) -> None:
    interrupted = ippo(tmp_path / "romfac")
    interrupted.run(stop=lambda: interrupted.iteration >= stop_after)
    resumed = ippo(tmp_path / "romfac")
    assert resumed.iteration == stop_after
    resumed.run()
    assert same(weights(whole), weights(resumed))
    assert log_of(whole.folder) == log_of(tmp_path / "romfac")


def test_the_schedules_are_the_methods(whole: Trainer) -> None:
    """As for the learner of the paper: mu rises after M_norm, and with it the action loss counts."""
    rows = log_of(whole.folder)
    assert [float(row["mu"]) for row in rows] == pytest.approx([0, 0, 0, 0.625 * settings().mu_max])
    assert float(rows[3]["action_loss"]) > 0 == float(rows[2]["action_loss"])


def test_what_it_stores_plays_as_any_other_and_is_named_after_it(whole: Trainer) -> None:
    """And never passes for the paper's method of that name."""
    policy, card = load_policy(whole.folder / "soldier.safetensors", scenario="battle")
    assert card.method == "ippo-romfac"
    assert card.shape["mean_field"] is False
    assert card.critic
    arena = settings().game.make(2)
    played = [play_rounds(arena, p, p, seed=0) for p in (policy, whole.students["soldier"].learner.policy)]
    assert played[0] == played[1]


def test_only_what_its_own_policy_did_teaches_it(tmp_path: Path) -> None:
    """Rounds that its past plays for the other team leave no trace in it: their actions may be anything."""
    after = []
    for bias in (0.0, 1e6):
        made = ippo(tmp_path / str(bias), past_share=1.0, normal_rounds=0, loop_rounds=4)
        student = made.students["soldier"]
        with torch.no_grad():
            student.past.actor.out.bias[20] += bias
        matchup = made.cast.matchup(0)
        made.play(matchup)
        own = student.learner.replay.own  # type: ignore[attr-defined]
        after.append(int(own.sum()))
    assert after[0] > 0
    assert after[0] == after[1] == 4 * 6 * 40  # rounds, agents of the first team, steps: nobody can die so soon


def test_advantages_are_those_of_every_length_weighed_by_the_trace() -> None:
    """By hand: three steps of one agent, then one step of another who dies, with values 1, 2, 3, 4 and rewards 1."""
    values, rewards = np.array([1, 2, 3, 4], np.float32), np.ones(4, np.float32)
    terminal, following = np.array([0, 0, 0, 1], np.float32), np.array([1, 2, 2, 3])
    cut = 1 + 0.5 * 3 - 3  # the last state of a round that was cut stands for the next one
    second = 1 + 0.5 * 3 - 2
    for trace in (0.0, 0.5, 1.0):
        found = _advantages(values, rewards, terminal, following, 0.5, trace)
        decay = 0.5 * trace
        expected = [1 + 0.5 * 2 - 1 + decay * (second + decay * cut), second + decay * cut, cut, 1 - 4]
        assert found == pytest.approx(expected)


def learner() -> IPPOLearner:
    torch.manual_seed(0)
    policy = MeanFieldPolicy(30, 4, hidden=16, mean_field=False)
    return IPPOLearner(policy, settings(gamma=0.9, attack_steps=3, mirrors=False), "walker", cross_entropy, IPPO())


def judged(it: IPPOLearner) -> Judged:
    """The batch of the tests of training, each action as good as its reward."""
    batch = one_batch()
    with torch.no_grad():
        log_pi = it.answer(batch).log_pi.gather(1, batch.actions[:, None])[:, 0]
    return Judged(log_pi, batch.rewards, batch.rewards)


def test_a_ratio_that_is_clipped_moves_nothing() -> None:
    """Actions that are likelier by more than the clip already, and good, are left where they are."""
    it, batch = learner(), one_batch()
    found = judged(it)
    good = found.advantages > found.advantages.mean()
    ahead = found._replace(log_pi=found.log_pi + torch.where(good, -1.0, 1.0))  # e and 1 / e times as likely now
    before = [p.clone() for p in it.policy.actor.parameters()]
    for seen, moves in ((ahead, False), (found, True)):
        it.update(it.asked(batch), seen, Phase(0.0, 0.0, entropy=0.0, learning_rate=1e-2), torch.Generator())
        still = [torch.equal(a, b) for a, b in zip(before, it.policy.actor.parameters(), strict=True)]
        assert all(still) is not moves


def test_the_action_loss_makes_the_actor_robust() -> None:
    """The same updates with and without mu: the attack flips far fewer actions with it, and its part of the loss is
    reported."""
    flips = {}
    for mu in (0.0, 1.0):
        it, batch = learner(), one_batch()
        found = judged(it)
        for _ in range(100):
            metrics = it.update(it.asked(batch), found, Phase(mu, 0.1, 0.01, learning_rate=3e-3), torch.Generator())
            assert (metrics["action_loss"] > 0) is (mu > 0)
        flips[mu] = it.update(it.asked(batch), found, Phase(1e-9, 0.1, 0.01, learning_rate=0.0), torch.Generator())[
            "flip_rate"
        ]
    assert flips[1.0] < 0.5 * flips[0.0]


def test_a_batch_of_rounds_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    made = corridor(tmp_path, replay_size=500)
    with pytest.raises(UserError, match=r"16 rounds does not fit into a replay of 500: give a larger replay_size"):
        made.play(made.cast.matchup(0))


def test_its_parameters_are_checked_and_an_unknown_learner_is_named() -> None:
    with pytest.raises(UserError, match="unknown learner 'ipo': did you mean 'ippo'"):
        settings(learner={"name": "ipo"})
    for parameters, sentence in (
        ({"clip": "2"}, "the learner 'ippo' .*: clip: "),
        ({"steps": 3}, "the learner 'ippo' has no parameter 'steps': it has epochs, clip, trace"),
    ):
        with pytest.raises(UserError, match=sentence):
            SelfPlay(settings(learner={"name": "ippo", "parameters": parameters}))
