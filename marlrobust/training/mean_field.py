"""Algorithm 1 of Zhou and Liu 2022: mean-field actor-critic with an action loss, from replay."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.defenses.losses import Loss
from marlrobust.defenses.methods import Method
from marlrobust.games.game import Group
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.training.actor_critic import ActorCritic
from marlrobust.training.learner import Algorithm, Chance, Learner, Phase
from marlrobust.training.replay import Batch
from marlrobust.training.settings import LearningSettings, TrainSettings


@dataclass(frozen=True, kw_only=True)
class MeanField(Algorithm):
    """Mean-field actor-critic; its settings are those of a training: tau, replay_size, replay_ratio."""

    summary: ClassVar[str] = "mean-field actor-critic from replay, as in the paper (Yang et al. 2018)"

    def learner(self, group: Group, method: Method, settings: TrainSettings) -> Learner:
        """See `Algorithm.learner`."""
        policy = MeanFieldPolicy(
            group.state_size,
            group.n_actions,
            hidden=settings.hidden,
            embedding=settings.embedding,
            mean_field=method.mean_field,
        )
        loss = method.loss(policy, gamma=settings.gamma, tau=settings.tau)
        return MeanFieldLearner(policy, settings, group.role, loss)


class MeanFieldLearner(ActorCritic):
    """Actor, critic and their targets of one role (all its teams share them)."""

    policy: MeanFieldPolicy

    def __init__(
        self, policy: MeanFieldPolicy, settings: LearningSettings, role: str, loss: Loss | None = None
    ) -> None:
        super().__init__(policy, settings, role, loss)
        self.target = self.modules["target"] = copy.deepcopy(self.policy)

    def after_step(self, phase: Phase, chance: Chance) -> list[dict[str, float]]:
        """See `Learner.after_step`."""
        n = self.settings.batch_size
        metrics = []
        while self.replay.owed >= n and len(self.replay) >= n:
            self.replay.owed -= n
            batch = self.replay.sample(n, chance.draws).to(self.device)
            metrics.append(self.update(batch, phase, chance.attack))
        return metrics

    def update(self, batch: Batch, phase: Phase, rng: torch.Generator) -> dict[str, float]:
        """One step of critic and actor (lines 7-14 of Algorithm 1); returns METRICS."""
        with self.precisely():
            critic_loss, q = self._update_critic(batch, phase)
            metrics = self._update_actor(batch, q, phase, rng)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.policy.parameters()), self.settings.tau)
        return {"critic_loss": critic_loss, **metrics}

    def _update_critic(self, batch: Batch, phase: Phase) -> tuple[float, Tensor]:
        """Eqs. 5-7: y = R + gamma sum_a pi(a | s', m) Q(s', a, m), both of the target networks.

        Returns its loss, and Q(s, ., m) (n, a) as it was before the step.

        The mean action of the next step is not known yet; this step's stands in for it.
        """
        with torch.no_grad():
            m = batch.new_mean_actions
            following = F.softmax(self.target.actor(batch.next_states, m), 1)
            value = (following * self.target.critic(batch.next_states, m)).sum(1)
            y = batch.rewards + self.settings.gamma * (1 - batch.terminal) * value
        q = self.policy.critic(batch.states, batch.new_mean_actions)
        loss = F.mse_loss(q.gather(1, batch.actions[:, None])[:, 0], y)
        self.step(self.critic_optimizer, loss, phase.learning_rate)
        return loss.item(), q.detach()

    def _update_actor(self, batch: Batch, q: Tensor, phase: Phase, rng: torch.Generator) -> dict[str, float]:
        """Eq. 8: the policy gradient of Q - V over all actions, from q (n, a)."""
        answer = self.answer(batch)
        with torch.no_grad():
            advantage = q - (answer.pi * q).sum(1, keepdim=True)
        actor_loss = -(answer.pi * advantage).sum(1).mean()
        return self.update_actor(batch, answer, actor_loss, phase, rng)
