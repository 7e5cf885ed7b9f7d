"""The adversary of the attack `learned`, trained against a team whose policy stays as it is."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from marlrobust.attacks.learned import ADVERSARY
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.values import Aimed
from marlrobust.attacks.victims import draw_victims
from marlrobust.errors import UserError
from marlrobust.games.game import Bools, Decisions, Game, can_swap
from marlrobust.policies.library import StoredPolicy, StoredTeam
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.policy import Policy, sample_actions
from marlrobust.streams import stream, torch_stream
from marlrobust.training.cast import Acted, Matchup, Student, falling, whole_batches
from marlrobust.training.learner import Phase
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.settings import AdversarySettings

SHARPNESS = 4.0
"""Of the first targets: logits are this many times what an action is worse than others, by the team's critic."""


class AgainstTeam:
    """A cast (see `Cast`): the director of Sun et al. 2022, a frozen team, and its frozen opponent.

    For each agent the adversary names a target action, and a descent to it inside the epsilon box is what the agent
    sees. It is learned as the team was, with rewards negated: what an agent earns, its adversary loses, so that all
    of them together lose the team's reward. In every other round all agents are attacked, in the others a number of
    them drawn at random; an agent that is not attacked teaches what its own action brought.
    """

    method, critic, start = ADVERSARY, False, ""

    def __init__(self, settings: AdversarySettings, victim: StoredPolicy, opponent: StoredTeam | None) -> None:
        """Raises UserError where the victim has no critic to begin with, and where its team has other roles too."""
        s = self.settings = settings
        self.against = victim.card.hash
        self.victim, opponents = victim.load(s.device), opponent.load(s.device) if opponent else {}
        if not isinstance(self.victim, MeanFieldPolicy):
            raise UserError(f"an adversary begins with the critic of a mean-field policy: {victim.path} is none")
        self.game: Game = s.game.make(s.parallel_rounds)
        self.opponents = {g.role: Frozen(opponents[g.role]) for g in self.game.groups if g.team != 0}
        if [g.role for g in self.game.groups if g.team == 0] != [victim.card.role]:
            raise UserError("an adversary learns against one group of agents, and this team has several: attack it so")
        self.students = {ADVERSARY: Student.of(MeanFieldLearner(turned(self.victim), s, victim.card.role))}
        self.total_rounds = whole_batches(s.rounds, s.parallel_rounds)
        self.attack = Aimed(threat=Threat(norm="l_inf", epsilon=s.epsilon), steps=s.attack_steps)

    def matchup(self, iteration: int) -> Matchup:
        """See `Cast.matchup`."""
        s, groups = self.settings, self.game.groups
        (own,) = (g for g in groups if g.team == 0)
        attacked = attacked_agents(s.seed, iteration, self.game.rounds, own.size)
        rng = torch_stream(s.seed, "adversary", iteration, device=s.device)
        m = iteration * self.game.rounds
        return Matchup(
            players=tuple(
                Driven(self.students[ADVERSARY], self.victim, self.attack, attacked, rng)
                if g is own
                else self.opponents[g.role]
                for g in groups
            ),
            swapped=can_swap(groups) & (np.arange(self.game.rounds) % 2 == 1),
            phase=Phase(0.0, 0.0, falling(s.first_entropy, s.entropy, m, s.rounds), s.learning_rate, s.replay_ratio),
        )


def attacked_agents(seed: int, iteration: int, rounds: int, size: int) -> Bools:
    """Who is attacked in a batch of rounds, (R, size): in every other round all, else as many as drawn at random."""
    attacked = np.ones((rounds, size), bool)
    for r in range(1, rounds, 2):
        draws = stream(seed, "victims", iteration, r)
        attacked[r] = False
        attacked[r, draw_victims(int(draws.integers(1, size + 1)), size, draws)] = True
    return attacked


@dataclass(frozen=True)
class Driven:
    """A player (see `Player`): `victim`, its attacked agents driven to what the student's policy names.

    attacked: (R, size), by round and agent.
    """

    teaches: Student
    victim: Policy
    attack: Any
    attacked: Bools
    rng: torch.Generator
    sign: float = -1.0

    def act(self, decisions: Decisions, noise: np.random.Generator) -> Acted:
        """See `Player.act`."""
        uniforms = _uniforms(decisions, noise)
        logits = self.victim.logits(decisions)
        attacked = self.attacked[decisions.round, decisions.agent]
        rows = torch.from_numpy(np.flatnonzero(attacked)).to(logits.device)
        seeing = decisions.take(rows)
        targets = sample_actions(self.teaches.learner.policy.logits(decisions), uniforms[1])[rows]
        states = self.attack.perturb(self.victim, seeing, self.rng, reference=targets)
        logits[rows] = self.victim.logits(seeing.showing(states))
        actions = sample_actions(logits, uniforms[0]).cpu().numpy()
        taught = actions.copy()
        taught[attacked] = targets.cpu().numpy()
        return Acted(actions, taught, attacked)


@dataclass(frozen=True)
class Frozen:
    """A player (see `Player`) whose policy stays as it is."""

    policy: Policy
    teaches: Student | None = field(default=None, init=False)
    sign: float = field(default=1.0, init=False)

    def act(self, decisions: Decisions, noise: np.random.Generator) -> Acted:
        """See `Player.act`."""
        actions = sample_actions(self.policy.logits(decisions), _uniforms(decisions, noise)[0]).cpu().numpy()
        return Acted(actions, actions, np.zeros(len(actions), bool))


def _uniforms(decisions: Decisions, noise: np.random.Generator) -> torch.Tensor:
    """(2, n) in [0, 1): for the actions, and for the targets."""
    uniforms = torch.from_numpy(noise.random((2, len(decisions)), dtype=np.float32))
    return uniforms.to(decisions.mean_actions.device)


def turned(victim: MeanFieldPolicy) -> MeanFieldPolicy:
    """An adversary of the victim's shape: its critic is minus the victim's, its actor prefers what is bad."""
    adversary = copy.deepcopy(victim).train()
    adversary.actor.load_state_dict(victim.critic.state_dict())
    with torch.no_grad():
        for network, times in ((adversary.critic, -1.0), (adversary.actor, -SHARPNESS)):
            for parameter in network.out.parameters():
                parameter.mul_(times)
    return adversary
