"""A team and its adversary, trained in turns: Zhang et al. 2021 (ATLA).

Changed for many agents: the adversary is the director of `adversary.AgainstTeam`, which names an action for each agent
that it attacks; and each of its batches of rounds comes on top of the team's, which are as many as any method's.
"""

from __future__ import annotations

import copy

import torch

from marlrobust.attacks.learned import ADVERSARY
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.values import Aimed
from marlrobust.errors import UserError
from marlrobust.games.game import Bools, Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.policy import Policy, sample_actions
from marlrobust.streams import torch_stream
from marlrobust.training.adversary import Driven, Frozen, attacked_agents, turned
from marlrobust.training.cast import Matchup, Player, Student
from marlrobust.training.learner import Phase
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.self_play import SelfPlay
from marlrobust.training.settings import TrainSettings


class InTurns:
    """A cast (see `Cast`): self-play, in which the first team is attacked after M_norm, by an adversary that learns in
    every other batch of rounds, while all others stay as they are."""

    against, critic = "", True

    def __init__(self, settings: TrainSettings) -> None:
        """Raises UserError where the first team has several roles."""
        play = self.play = SelfPlay(settings)
        self.settings, self.game, self.method, self.start = settings, play.game, play.method, play.start
        groups = [i for i, group in enumerate(self.game.groups) if group.team == 0]
        if len(groups) > 1:
            raise UserError("atla is for a first team of one group: choose another method")
        (self.group,) = groups
        role = self.game.groups[self.group].role
        self.team = play.students[role]
        policy = self.team.learner.policy
        if not isinstance(policy, MeanFieldPolicy):
            raise UserError("atla begins with the critic of a mean-field policy: choose another learner, or method")
        self.adversary = Student.of(MeanFieldLearner(copy.deepcopy(policy), settings, role))
        self.students = {**play.students, ADVERSARY: self.adversary}
        self.first = -(-settings.normal_rounds // self.game.rounds)
        self.total_rounds = 2 * play.total_rounds - self.first * self.game.rounds

    def matchup(self, iteration: int) -> Matchup:
        """See `Cast.matchup`."""
        turn = iteration - self.first
        if turn < 0:
            return self.play.matchup(iteration)
        if turn == 0:
            self._begin()
        base = self.play.matchup(self.first + turn // 2)
        s, size = self.settings, self.game.groups[self.group].size
        attacked = attacked_agents(s.seed, iteration, self.game.rounds, size)
        rng = torch_stream(s.seed, "adversary", iteration, device=s.device)
        attack = Aimed(threat=Threat(norm="l_inf", epsilon=base.phase.epsilon), steps=s.attack_steps)
        victim = self.team.learner.policy
        if turn % 2:
            shows = Shows(victim, self.adversary.learner.policy, attack, attacked, rng)
            return base._replace(shown={self.group: shows})
        players: list[Player] = [Frozen(self.students[group.role].learner.policy) for group in self.game.groups]
        players[self.group] = Driven(self.adversary, victim, attack, attacked, rng)
        phase = Phase(0.0, 0.0, s.robust_entropy, s.learning_rate, s.robust_replay_ratio)
        return base._replace(players=tuple(players), phase=phase, reaches_norm=False)

    def _begin(self) -> None:
        """The adversary begins with what the team's critic says at M_norm."""
        learner = self.adversary.learner
        policy = self.team.learner.policy
        assert isinstance(learner, MeanFieldLearner)
        assert isinstance(policy, MeanFieldPolicy)
        begun = turned(policy).state_dict()
        for network in (learner.policy, learner.target):
            network.load_state_dict(begun)


class Shows:
    """See `cast.Shown`: attacked agents are shown what drives them to the adversary's targets."""

    def __init__(self, victim: Policy, adversary: Policy, attack: Aimed, attacked: Bools, rng: torch.Generator) -> None:
        """attacked: (R, size), by round and agent."""
        self.victim, self.adversary, self.attack, self.attacked, self.rng = victim, adversary, attack, attacked, rng

    @torch.no_grad()
    def __call__(self, decisions: Decisions) -> Decisions:
        """The n decisions, some of them with other states."""
        rows = torch.from_numpy(self.attacked[decisions.round, decisions.agent].nonzero()[0])
        if not len(rows):
            return decisions
        seeing = decisions.take(rows)
        logits = self.adversary.logits(seeing)
        uniforms = torch.rand(len(rows), generator=self.rng, device=self.rng.device)
        targets = sample_actions(logits, uniforms.to(logits.device))
        states = decisions.dense.clone()
        states[rows.to(states.device)] = self.attack.perturb(self.victim, seeing, self.rng, reference=targets)
        return decisions.showing(states)
