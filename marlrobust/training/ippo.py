"""IPPO: every agent learns by proximal policy optimisation for itself, with parameters shared by its role.

De Witt et al. 2020 (arXiv 2011.09533), with the clipped ratio of Schulman et al. 2017. The critic values every
action, as the paper's does, so that all that asks a critic can ask this one; V is its mean under the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numba
import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from marlrobust.defenses.losses import Loss
from marlrobust.defenses.methods import Method
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions, Group, Ints
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.recurrent import Trainable
from marlrobust.training.actor_critic import ActorCritic, Answer
from marlrobust.training.learner import Algorithm, Chance, Learner, Phase
from marlrobust.training.replay import Batch
from marlrobust.training.settings import LearningSettings, TrainSettings


@dataclass(frozen=True, kw_only=True)
class IPPO(Algorithm):
    """Independent PPO: no agent looks at the mean action, and all learn after each batch of rounds, from it alone."""

    summary: ClassVar[str] = "independent PPO, learning after each batch of rounds (de Witt et al. 2020)"
    prefix: ClassVar[str] = "ippo-"

    epochs: Annotated[int, Field(ge=1, le=1000, description="Times that each transition is learned from.")] = 4
    clip: Annotated[float, Field(gt=0, lt=1, description="How far a ratio of probabilities may be from 1.")] = 0.2
    trace: Annotated[float, Field(ge=0, le=1, description="Lambda of the generalised advantage estimate.")] = 0.95

    def learner(self, group: Group, method: Method, settings: TrainSettings) -> Learner:
        """See `Algorithm.learner`."""
        policy = MeanFieldPolicy(group.state_size, group.n_actions, hidden=settings.hidden, mean_field=False)
        loss = method.loss(policy, gamma=settings.gamma, tau=settings.tau)
        return IPPOLearner(policy, settings, group.role, loss, self)


class Judged(NamedTuple):
    """What n transitions are learned from, (n,) each: log pi of the action as it was taken, its advantage, and the
    value that the critic is to give it."""

    log_pi: Tensor
    advantages: Tensor
    values: Tensor


class Asked(NamedTuple):
    """A batch of n transitions, the actor's answer, and Q of all actions (n, a), both differentiable."""

    batch: Batch
    answer: Answer
    q: Tensor


class IPPOLearner(ActorCritic):
    """Actor and critic of one role."""

    def __init__(self, policy: Trainable, settings: LearningSettings, role: str, loss: Loss, algorithm: IPPO) -> None:
        super().__init__(policy, settings, role, loss)
        self.algorithm = algorithm

    def see(self, decisions: Decisions) -> Ints:
        """See `Learner.see`; raises UserError where a batch of rounds does not fit."""
        if len(self.replay) + self.replay.pending + len(decisions) > self.replay.capacity:
            raise UserError(
                f"a batch of {self.settings.parallel_rounds} rounds does not fit into a replay of "
                f"{self.replay.capacity}: give a larger replay_size, or fewer parallel_rounds"
            )
        return super().see(decisions)

    def after_batch(self, phase: Phase, chance: Chance) -> list[dict[str, float]]:
        """See `Learner.after_batch`; transitions that another policy lived through teach nothing."""
        own = np.flatnonzero(self.replay.own[: len(self.replay)])
        metrics = []
        if len(own):
            with self.precisely():
                judged = self._judged()
                for _ in range(self.algorithm.epochs):
                    for at in self._parts(own, chance.draws):
                        drawn = Judged(*(column[at].to(self.device) for column in judged))
                        metrics.append(self.update(self._ask(at), drawn, phase, chance.attack))
        self.replay.clear()
        return metrics

    def _parts(self, at: Ints, draws: np.random.Generator | None) -> Sequence[Ints]:
        """The transitions `at` (n,) in parts of a batch each, drawn in any order, or as they stand."""
        if draws is not None:
            draws.shuffle(at)
        return np.array_split(at, -(-len(at) // self.settings.batch_size))

    def _ask(self, at: Ints) -> Asked:
        """The transitions at `at` (n,), and what actor and critic say to them."""
        return self.asked(self.replay.batch(at).to(self.device))

    def asked(self, batch: Batch) -> Asked:
        """A batch, and what actor and critic say to it."""
        return Asked(batch, self.answer(batch), self.policy.critic(batch.states, batch.mean_actions))

    @torch.no_grad()
    def _judged(self) -> Judged:
        """All transitions of the batch of rounds, judged by the policy and the critic that lived through them."""
        n = len(self.replay)
        log_pi, values = torch.empty(n), torch.empty(n)
        for at in self._parts(np.arange(n), None):
            batch, answer, q = self._ask(at)
            log_pi[at] = answer.log_pi.gather(1, batch.actions[:, None])[:, 0].cpu()
            values[at] = (answer.pi * q).sum(1).cpu()
        r = self.replay
        advantages = _advantages(
            values.numpy(), r.rewards[:n], r.terminal[:n], r.next[:n], self.settings.gamma, self.algorithm.trace
        )
        return Judged(log_pi, torch.from_numpy(advantages), torch.from_numpy(advantages) + values)

    def update(self, asked: Asked, judged: Judged, phase: Phase, rng: torch.Generator) -> dict[str, float]:
        """One step of critic and actor on a batch; returns METRICS."""
        batch, answer, q = asked
        critic_loss = F.mse_loss(q.gather(1, batch.actions[:, None])[:, 0], judged.values)
        self.step(self.critic_optimizer, critic_loss, phase.learning_rate)

        ratio = (answer.log_pi.gather(1, batch.actions[:, None])[:, 0] - judged.log_pi).exp()
        a = judged.advantages
        a = (a - a.mean()) / (a.std(correction=0) + 1e-8)
        near = ratio.clamp(1 - self.algorithm.clip, 1 + self.algorithm.clip)
        actor_loss = -torch.minimum(ratio * a, near * a).mean()
        return {"critic_loss": critic_loss.item(), **self.update_actor(batch, answer, actor_loss, phase, rng)}


@numba.njit(cache=True)
def _advantages(values: Any, rewards: Any, terminal: Any, following: Any, gamma: float, trace: float) -> Any:
    """Generalised advantage estimates (n,), from the last to the first: a next state stands behind its own.

    A round that was cut goes on as if its last state came again.
    """
    found = np.zeros_like(values)
    for i in range(len(values) - 1, -1, -1):
        j = following[i]
        goes_on = gamma * (1 - terminal[i])
        found[i] = rewards[i] + goes_on * values[j] - values[i]
        if j > i:
            found[i] += goes_on * trace * found[j]
    return found
