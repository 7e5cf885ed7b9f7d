"""Worst-case-aware training: a second critic learns what a team is worth while an adversary moves its actions.

Liang et al. 2022 (WocaR). Changed for many agents with discrete actions and one shared critic: the worst value is
learned from replay as the critic's own is, and what the adversary can reach is read from interval bounds of the actor.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.defenses.intervals import worst_logits
from marlrobust.defenses.losses import ActionLoss, Defended, divergence, exactly
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy

OUT_OF_REACH = 1e9  # value of an action that no adversary can bring about


class WorstValue(nn.Module):
    """A `Loss` that learns beside the actor: minus what its actions are worth under attack, and the divergence under
    attack weighted by what an attack can cost there.

    The worst value of an action: r + gamma min Q_worst(s', a', m) over the actions a' that some state within epsilon
    of s' makes the likeliest.
    """

    begun: Tensor

    def __init__(self, policy: MeanFieldPolicy, gamma: float, tau: float) -> None:
        """gamma: discount; tau: how far the target moves per update."""
        super().__init__()
        self.gamma, self.tau = gamma, tau
        self.critic, self.target = copy.deepcopy(policy.critic), copy.deepcopy(policy.critic)
        self.register_buffer("begun", torch.tensor(False))
        self.optimizer = torch.optim.Adam(self.critic.parameters(), fused=True)

    def forward(self, it: Defended) -> ActionLoss:
        """See `Loss`. The first time, the worst value is what the policy's critic says. Raises UserError where no
        transitions are given."""
        if it.after is None:
            raise UserError("the worst value is learned from transitions: give Defended what came after the decisions")
        if not self.begun:
            for network in (self.critic, self.target):
                network.load_state_dict(it.policy.critic.state_dict())
            self.begun.fill_(True)
        self._learn(it)
        means = it.after.decisions.mean_actions
        with torch.no_grad():
            values = self.critic(it.decisions.states, means)
            reached = self._within_reach(it, it.decisions)
            # what the adversary can take, in parts of what all actions differ by
            spread = values.amax(1) - values.amin(1)
            best = values.gather(1, it.logits.argmax(1, keepdim=True))[:, 0]
            importance = (best - values.where(reached, OUT_OF_REACH).amin(1)).clamp_min(0) / spread.clamp_min(1e-6)
            advantage = values - (F.softmax(it.logits, 1) * values).sum(1, keepdim=True)
        kept = divergence(it)
        worth = (F.softmax(it.logits, 1) * advantage).sum(1)
        return ActionLoss(importance * kept.loss - worth, kept.flipped)

    def _learn(self, it: Defended) -> None:
        """One step of the second critic."""
        assert it.after is not None
        after = it.after
        with torch.no_grad():
            reached = self._within_reach(it, after.decisions)
            following = self.target(after.decisions.states, after.decisions.mean_actions)
            worst = following.where(reached, OUT_OF_REACH).amin(1)
            y = after.rewards + self.gamma * (1 - after.terminal) * worst
        q = self.critic(it.decisions.states, after.decisions.mean_actions).gather(1, after.actions[:, None])[:, 0]
        for group in self.optimizer.param_groups:
            group["lr"] = after.learning_rate
        self.optimizer.zero_grad()
        F.mse_loss(q, y).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.critic.parameters()), self.tau)

    @torch.no_grad()
    def _within_reach(self, it: Defended, decisions: Decisions) -> Tensor:
        """(n, a) bool: actions that may be the likeliest somewhere within epsilon, as far as intervals can tell."""
        with exactly(it):
            actor = it.policy.actor
            z = actor(decisions.states, decisions.mean_actions).argmax(1)
            worst = worst_logits(actor, decisions.states, decisions.mean_actions, it.epsilon, z)
        return worst >= 0  # 0 at z itself
