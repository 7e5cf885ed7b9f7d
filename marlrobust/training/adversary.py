"""Trains the adversary of the attack `learned` against a team whose policy stays as it is."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch

from marlrobust.attacks.attack import Threat
from marlrobust.attacks.values import Aimed
from marlrobust.attacks.victims import draw_victims
from marlrobust.config import TrainSettings
from marlrobust.games.game import Bools, Ints, Outcome
from marlrobust.policies.checkpoint import ADVERSARY, load_policy
from marlrobust.policies.networks import MeanFieldPolicy
from marlrobust.policies.runs import StoredPolicy
from marlrobust.policies.sampling import sample_actions
from marlrobust.streams import stream, torch_stream
from marlrobust.training.trainer import Role, Seen, Trainer

SHARPNESS = 4.0
"""Of the first targets: logits are this many times what an action is worse than others, by the team's critic."""


class AdversaryTrainer(Trainer):
    """The director of Sun et al. 2022 for a team: for each agent it names a target action, and a descent to it inside
    the epsilon box is what the agent sees.

    It is learned as the team was, with rewards negated: what an agent earns, its adversary loses, so that all of
    them together lose the team's reward. In every other round all agents are attacked, in the others a number of
    them drawn at random; an agent that is not attacked teaches what its own action brought. The opponent is the
    test's.
    """

    def __init__(self, settings: TrainSettings, folder: Path, victim: StoredPolicy, opponent: StoredPolicy) -> None:
        self.against = victim.card.hash
        scenario = settings.game.scenario
        self.victim, self.opponent = (
            load_policy(stored.path, scenario=scenario)[0].to(settings.device) for stored in (victim, opponent)
        )
        super().__init__(settings, folder)
        threat = Threat(norm="l_inf", epsilon=settings.epsilon)
        self.attack = _GivenTargets(threat=threat, steps=settings.attack_steps)

    def _make_roles(self) -> dict[str, Role]:
        """The adversary, which begins with the team's critic turned round."""
        return {ADVERSARY: self._new_role(_turned(self.victim))}

    @property
    def total_rounds(self) -> int:
        """Rounds of the whole training, whole iterations."""
        size = self.settings.parallel_rounds
        return -(-self.settings.normal_rounds // size) * size

    def train_iteration(self) -> dict[str, float]:
        """See `Trainer.train_iteration`."""
        seed, size = self.settings.seed, self.game.teams[0].size
        self._rng = torch_stream(seed, "adversary", self.iteration, device=self.settings.device)
        self._attacked = np.ones((self.game.rounds, size), bool)
        for r in range(1, self.game.rounds, 2):
            draws = stream(seed, "victims", self.iteration, r)
            self._attacked[r] = False
            self._attacked[r, draw_victims(int(draws.integers(1, size + 1)), size, draws)] = True
        return super().train_iteration()

    def _role(self, team: int) -> Role | None:
        return self.roles[ADVERSARY] if team == 0 else None

    def _swapped(self) -> Bools:
        one_role = self.game.teams[0].role == self.game.teams[1].role
        swapped: Bools = one_role & (np.arange(self.game.rounds) % 2 == 1)
        return swapped

    def _act(self, team: int, seen: Seen, noise: np.random.Generator) -> Ints:
        """Actions (n,) of the attacked team, or of the opponent."""
        n = len(seen.observation.round)
        uniforms = torch.from_numpy(noise.random((2, n), dtype=np.float32)).to(self.device)
        compressed = seen.observation.compressed.to(self.device)
        mean_actions = torch.from_numpy(seen.observation.mean_actions).to(self.device)
        with torch.no_grad():
            if team == 1:
                foes: Ints = sample_actions(self.opponent.logits(compressed, mean_actions), uniforms[0]).cpu().numpy()
                return foes
            logits = self.victim.logits(compressed, mean_actions)
            attacked = self._attacked[seen.observation.round, seen.observation.agent]
            rows = torch.from_numpy(np.flatnonzero(attacked)).to(self.device)
            seeing = mean_actions[rows]
            targets = sample_actions(
                self.roles[ADVERSARY].learner.policy.logits(compressed, mean_actions), uniforms[1]
            )[rows]
            states = seen.observation.compressed.dense(rows.cpu()).to(self.device)
            states = self.attack.perturb(self.victim, states, seeing, self._rng, reference=targets)
            logits[rows] = self.victim.logits(states, seeing)
            actions: Ints = sample_actions(logits, uniforms[0]).cpu().numpy()
        self._targets = actions.copy()
        self._targets[attacked] = targets.cpu().numpy()
        return actions

    def _remember(self, role: Role, team: int, seen: Seen, actions: Ints, outcome: Outcome, after: Seen) -> None:
        outcome = outcome._replace(rewards=-outcome.rewards)
        super()._remember(role, team, seen, self._targets, outcome, after)


class _GivenTargets(Aimed):
    """Its targets come with each call."""


def _turned(victim: MeanFieldPolicy) -> MeanFieldPolicy:
    """An adversary of the victim's shape: its critic is minus the victim's, its actor prefers what is bad."""
    adversary = copy.deepcopy(victim).train()
    adversary.critic.load_state_dict(victim.critic.state_dict())
    adversary.actor.load_state_dict(victim.critic.state_dict())
    with torch.no_grad():
        for network, times in ((adversary.critic, -1.0), (adversary.actor, -SHARPNESS)):
            for parameter in network.out.parameters():
                parameter.mul_(times)
    return adversary
