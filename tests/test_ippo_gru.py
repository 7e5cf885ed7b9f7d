"""IPPO of agents that remember: it learns what only memory can know, from whole lives, and is stored as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch

import marlrobust
from marlrobust.config import resolve
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Decisions
from marlrobust.policies.checkpoint import load_policy
from marlrobust.theory.game import Sasg, nothing
from marlrobust.theory.rounds import TabularGame
from marlrobust.theory.scenario import Tabular
from marlrobust.training.ippo_gru import Lives, RecurrentIPPOLearner
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings
from marlrobust.training.trainer import Trainer
from tests.conftest import trainer
from tests.test_training import same, weights


class Signal(Tabular):
    """One agent sees a sign, 0 or 1, then twice nothing; the action that is the sign pays in the last step alone."""

    summary: ClassVar[str] = "a sign that has to be remembered"

    def make(self, rounds: int) -> TabularGame:
        # states: start, sign 0 or 1, then two blank steps each, which look alike
        transitions, rewards = np.zeros((7, 2, 7)), np.zeros((1, 7, 2))
        transitions[0, :, [1, 2]] = 0.5
        for sign in (0, 1):
            transitions[1 + sign, :, 3 + sign] = 1
            transitions[3 + sign, :, 5 + sign] = 1
            transitions[5 + sign, :, 0] = 1
            rewards[0, 5 + sign, sign] = 1
        game = Sasg.of(transitions, rewards, nothing(1, 7), 0.9)
        made = TabularGame(game, rounds, self.max_steps, start=0, discounted=False)
        made.eye[0][[4, 6]] = made.eye[0][[3, 5]]
        return made


def test_lives_are_whole_and_in_their_order() -> None:
    """Three agents over three steps, the second dies after one."""
    following = np.array([3, 1, 4, 5, 6, 5, 6])
    lives = Lives.of(following, np.array([6, 4, 2, 0, 1, 3, 5]))
    ends = np.cumsum(lives.lengths)
    found = {tuple(lives.rows[end - n : end]) for n, end in zip(lives.lengths, ends, strict=True)}
    assert found == {(0, 3, 5), (1,), (2, 4, 6)}
    some = Lives.of(following, np.array([2, 4, 6]))
    assert some.rows.tolist() == [2, 4, 6]


def test_it_answers_to_a_life_as_the_policy_does_step_by_step(tmp_path: Path) -> None:
    made = gru(tmp_path)
    student = made.students["soldier"].learner
    assert isinstance(student, RecurrentIPPOLearner)
    with mock.patch.object(student, "after_batch", return_value=[]):
        made.play(made.cast.matchup(0))
    replay, policy = student.replay, student.policy
    with torch.no_grad():
        rows = np.arange(len(replay))
        lives = Lives.of(replay.next[: len(replay)], rows)
        asked = student._ask(lives.rows)
        life = lives.rows[: lives.lengths[0]]
        batch, memory = replay.batch(life), policy.initial_memory(1)
        for i in range(len(life)):
            decisions = Decisions.of(batch.states.dense()[i : i + 1], batch.mean_actions[i : i + 1])
            for own, kept in zip(memory, asked.answer.memory, strict=True):
                torch.testing.assert_close(own[0], kept[i])
            logits, after = policy.step(decisions, memory)
            torch.testing.assert_close(logits[0], asked.answer.logits[i])
            memory = after


def gru(folder: Path, **layer: Any) -> Trainer:
    made = trainer(folder, learner={"name": "ippo-gru"}, **layer)
    made.resume()
    return made


def test_it_repeats_resumes_and_is_stored_with_its_memory(tmp_path: Path) -> None:
    whole = gru(tmp_path / "whole")
    whole.run()
    cut = gru(tmp_path / "cut")
    cut.run(stop=lambda: cut.iteration >= 3)
    again = gru(tmp_path / "cut")
    again.run()
    assert same(weights(whole), weights(again))
    stored, card = load_policy(tmp_path / "whole" / "soldier.safetensors")
    assert (card.network, card.method) == ("recurrent", "ippo-gru-romfac")
    attack = marlrobust.attack("pgd", epsilon=0.075, steps=2)
    arena = whole.settings.game.make(2)
    rounds = play_rounds(arena, stored, stored, seed=0, adversary=Adversary(attack, 3))
    assert sum(r.decisions for r in rounds) > 0


def test_it_learns_what_only_memory_can_know(tmp_path: Path) -> None:
    """Agents without memory earn half of it."""
    small = {
        "method": "mfac", "gamma": 0.9, "parallel_rounds": 32, "normal_rounds": 1600, "loop_rounds": 32, "loops": 1,
        "hidden": 16, "batch_size": 512, "replay_size": 4000, "learning_rate": 1e-2, "first_entropy": 0.02,
        "entropy": 0.005, "past_share": 0.0,
    }  # fmt: skip
    earned = {}
    for name in ("ippo", "ippo-gru"):
        layer = {"scenario": "signal", "game": Signal(max_steps=16), "learner": {"name": name}}
        made = Trainer(SelfPlay(resolve(TrainSettings, small, layer)), tmp_path / name)
        made.run()
        policy = made.students["agent"].learner.policy
        rounds = play_rounds(Signal(max_steps=16).make(64), policy, seed=1)
        earned[name] = float(np.mean([r.reward for r in rounds]))
    assert earned["ippo"] < 2.6  # 4 signs in a round, of which chance gets 2
    assert earned["ippo-gru"] > 3.2
