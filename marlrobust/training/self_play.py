"""Self-play: every group is played by a policy that learns, after M_norm partly against the policies of M_norm."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch

from marlrobust.defenses.methods import METHODS
from marlrobust.games.game import Decisions, Game, Group, can_swap, refuse_other_actions
from marlrobust.parameters import build
from marlrobust.policies.memory import Acting
from marlrobust.policies.policy import sample_actions
from marlrobust.streams import stream
from marlrobust.training import LEARNERS
from marlrobust.training.cast import Acted, Matchup, Student, falling, whole_batches
from marlrobust.training.learner import Phase
from marlrobust.training.settings import TrainSettings


class SelfPlay:
    """A cast (see `Cast`): one student per role, which groups of one role share."""

    against, critic = "", True

    def __init__(self, settings: TrainSettings) -> None:
        s = self.settings = settings
        self._method = METHODS[s.method]
        self._algorithm = build("learner", s.learner.name, LEARNERS[s.learner.name], s.learner.parameters)
        self.method = f"{self._algorithm.prefix}{s.method}"
        self.game: Game = s.game.make(s.parallel_rounds)
        self.students = self._new_students()
        rounds = s.normal_rounds + s.loops * s.loop_rounds if self._method.loops else s.opponent_rounds
        self.total_rounds = whole_batches(rounds, s.parallel_rounds)
        shared = json.dumps([s.normal_phase(), self._method.mean_field], sort_keys=True)
        self.start = f".start-{hashlib.sha256(shared.encode()).hexdigest()[:12]}" if self._method.loops else ""

    def _new_students(self) -> dict[str, Student]:
        """A student per role, with random weights."""
        s = self.settings
        students: dict[str, Student] = {}
        for i, group in enumerate(self.game.groups):
            if group.role in students:
                continue
            refuse_other_actions(group, "the learners here are")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(stream(s.seed, "weights", i).integers(2**31)))
                students[group.role] = Student.of(self._algorithm.learner(group, self._method, s))
        return students

    def matchup(self, iteration: int) -> Matchup:
        """See `Cast.matchup`. Rounds against the past are the first of a batch; every other one of them swaps sides,
        where the teams can."""
        s, size = self.settings, self.game.rounds
        m = iteration * size
        normal = m < s.normal_rounds
        past = 0 if normal else round(s.past_share * size)
        young = round(s.young_share * past)
        r = np.arange(size)
        return Matchup(
            players=tuple(self._player(group, past, young) for group in self.game.groups),
            swapped=can_swap(self.game.groups) & (r % 2 == 1) & (r < past),
            phase=self.phase(m),
            reaches_norm=m < s.normal_rounds <= m + size,
            reaches_young=m < s.normal_rounds // 4 <= m + size,
        )

    def _player(self, group: Group, past: int, young: int) -> Learning:
        """The first team learns; all others are played by their past in the first `past` rounds, in the first `young`
        of those by their young policies."""
        student = self.students[group.role]
        of_all = (student.learner.policy, student.past, student.young)
        now, then, long_ago = (Acting(policy, self.game.rounds, group.size) for policy in of_all)
        if group.team == 0:
            return Learning(now, then, long_ago, student)
        # a student of its own whose group only its past plays is taught by nobody
        own = any(g.role == group.role for g in self.game.groups if g.team == 0)
        return Learning(now, then, long_ago, student if own or past < self.game.rounds else None, past, young)

    def phase(self, m: int) -> Phase:
        """The schedules' values at round m."""
        s = self.settings
        shape = s.model_dump(include={"normal_rounds", "loop_rounds", "loops", "ramp"})
        normal = m < s.normal_rounds
        return Phase(
            mu=s.mu_max * self._method.mu(m, **shape),
            epsilon=s.epsilon * self._method.epsilon(m, **shape),
            entropy=falling(s.first_entropy, s.entropy, m, s.normal_rounds) if normal else s.robust_entropy,
            learning_rate=s.learning_rate if normal else s.robust_learning_rate,
            replay_ratio=s.replay_ratio if normal else s.robust_replay_ratio,
        )


@dataclass(frozen=True)
class Learning:
    """A player (see `Player`) that acts as a student does now, in the first `past_rounds` rounds as its past, in the
    first `young_rounds` of them as it was when it was young."""

    now: Acting
    past: Acting
    young: Acting
    teaches: Student | None
    past_rounds: int = 0
    young_rounds: int = 0
    sign: float = 1.0

    def act(self, decisions: Decisions, noise: np.random.Generator) -> Acted:
        """See `Player.act`."""
        uniforms = torch.from_numpy(noise.random(len(decisions), dtype=np.float32))
        logits = self.now.logits(decisions)
        n, young = (int(np.searchsorted(decisions.round, end)) for end in (self.past_rounds, self.young_rounds))
        if young < n:
            logits[young:n] = self.past.logits(decisions)[young:n]
        if young:
            logits[:young] = self.young.logits(decisions)[:young]
        actions = sample_actions(logits, uniforms.to(logits.device)).cpu().numpy()
        return Acted(actions, actions, np.arange(len(actions)) >= n)
