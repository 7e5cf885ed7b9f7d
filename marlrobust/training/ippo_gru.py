"""IPPO for agents that remember: whole rounds of an agent are learned from, step by step from their start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.defenses.methods import Method
from marlrobust.games.game import Group, Ints
from marlrobust.policies.recurrent import RecurrentNetwork, RecurrentPolicy
from marlrobust.training.actor_critic import Answer
from marlrobust.training.ippo import IPPO, Asked, IPPOLearner
from marlrobust.training.learner import Learner
from marlrobust.training.replay import Batch
from marlrobust.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class RecurrentIPPO(IPPO):
    """Independent PPO with a GRU in the actor and one in the critic."""

    summary: ClassVar[str] = "independent PPO of agents that remember, by a GRU each for actor and critic"
    prefix: ClassVar[str] = "ippo-gru-"

    def learner(self, group: Group, method: Method, settings: TrainSettings) -> Learner:
        """See `Algorithm.learner`."""
        policy = RecurrentPolicy(group.state_size, group.n_actions, hidden=settings.hidden)
        loss = method.loss(policy, gamma=settings.gamma, tau=settings.tau)
        return RecurrentIPPOLearner(policy, settings, group.role, loss, self)


class RecurrentIPPOLearner(IPPOLearner):
    """Actor and critic of one role; a batch to learn from is as many whole lives of agents as fill it."""

    policy: RecurrentPolicy

    def _parts(self, at: Ints, draws: np.random.Generator | None) -> Sequence[Ints]:
        lives = Lives.of(self.replay.next[: len(self.replay)], at)
        order = np.arange(len(lives.lengths)) if draws is None else draws.permutation(len(lives.lengths))
        ends = np.cumsum(lives.lengths)
        rows = [lives.rows[ends[i] - lives.lengths[i] : ends[i]] for i in order]
        parts, part, filled = [], [], 0
        for life in rows:
            part.append(life)
            filled += len(life)
            if filled >= self.settings.batch_size:
                parts.append(np.concatenate(part))
                part, filled = [], 0
        return [*parts, np.concatenate(part)] if part else parts

    def _ask(self, at: Ints) -> Asked:
        batch = self.replay.batch(at).to(self.device)
        lives = Lives.of(self.replay.next[: len(self.replay)], at)
        with torch.autocast(self.device.type, enabled=False):  # what is remembered is added up over many steps
            logits, of_actor = lives.through(self.policy.actor, batch)
            q, of_critic = lives.through(self.policy.critic, batch)
        log_pi = F.log_softmax(logits, 1)
        memory = (of_actor.detach(), of_critic.detach())
        return Asked(batch, Answer(logits, log_pi, log_pi.exp(), memory), q)


class Lives(NamedTuple):
    """Agents' ways through their rounds: rows (n,), those of one life after another, each in its order; lengths."""

    rows: Ints
    lengths: Ints

    @classmethod
    def of(cls, following: Ints, at: Ints) -> Lives:
        """The lives of which the transitions `at` (n,) are made, in the order in which their first ones stand there.

        following: (N,), where each one's next is, itself where the life ends.
        """
        own = np.zeros(len(following), bool)
        own[at] = True
        goes_on = (following < len(following)) & (following != np.arange(len(following)))
        goes_on[goes_on] &= own[following[goes_on]]
        later = np.zeros(len(following), bool)
        later[following[goes_on & own]] = True
        firsts = at[~later[at]]
        steps, living = [firsts], np.arange(len(firsts))
        lives = [living]
        while len(living):
            kept = goes_on[steps[-1]]
            living = living[kept]
            steps.append(following[steps[-1][kept]])
            lives.append(living)
        whose = np.concatenate(lives)
        order = np.argsort(whose, kind="stable")
        return cls(np.concatenate(steps)[order], np.bincount(whose, minlength=len(firsts)))

    def through(self, network: RecurrentNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's answers (n, a) to a batch whose rows are these lives, and what was remembered before each
        (n, h)."""
        seen = network.state(batch.states).relu()
        starts = np.cumsum(self.lengths) - self.lengths
        longest_first = np.argsort(-self.lengths, kind="stable")
        starts, lengths = starts[longest_first], self.lengths[longest_first]
        memory = seen.new_zeros(len(starts), seen.shape[1])
        places, before, after = [], [], []
        for step in range(int(lengths[0])):
            rows = starts[: int(np.searchsorted(-lengths, -step))] + step  # of lives longer than `step`
            before.append(memory[: len(rows)])
            memory = network.cell(seen[torch.from_numpy(rows)], before[-1])
            after.append(memory)
            places.append(rows)
        back = torch.from_numpy(np.argsort(np.concatenate(places)))
        return network.out(torch.cat(after)[back]), torch.cat(before)[back]
