"""Algorithm 1 of Zhou and Liu 2022: mean-field actor-critic with an action loss, from replay."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.threat import Threat
from marlrobust.defenses.action_loss import action_loss
from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.training.replay import Batch


@dataclass(frozen=True)
class Phase:
    """What an update depends on beside its batch: the schedules' values at this round.

    mu: weight of the action loss; epsilon: l_inf radius of its attack; entropy: weight of the bonus.
    """

    mu: float
    epsilon: float
    entropy: float
    learning_rate: float


class MeanFieldLearner:
    """Actor, critic, their targets and optimisers of one role (all its teams share them)."""

    METRICS = ("critic_loss", "actor_loss", "action_loss", "entropy", "flip_rate", "action_share")

    def __init__(
        self, policy: MeanFieldPolicy, *, gamma: float, tau: float, gradient_norm: float, attack_steps: int
    ) -> None:
        self.policy, self.target = policy, copy.deepcopy(policy)
        self.gamma, self.tau, self.gradient_norm, self.attack_steps = gamma, tau, gradient_norm, attack_steps
        self.actor_optimizer = torch.optim.Adam(policy.actor.parameters(), foreach=True)
        self.critic_optimizer = torch.optim.Adam(policy.critic.parameters(), foreach=True)

    def update(self, batch: Batch, phase: Phase, rng: torch.Generator) -> dict[str, float]:
        """One step of critic and actor (lines 7-14 of Algorithm 1); returns METRICS as batch means."""
        critic_loss = self._update_critic(batch, phase)
        metrics = self._update_actor(batch, phase, rng)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.policy.parameters()), self.tau)
        return {"critic_loss": critic_loss, **metrics}

    def _update_critic(self, batch: Batch, phase: Phase) -> float:
        """Eqs. 5-7: y = R + gamma sum_a pi(a | s', m) Q(s', a, m), both of the target networks.

        The mean action of the next step is not known yet; this step's stands in for it.
        """
        with torch.no_grad():
            m = batch.new_mean_actions
            following = F.softmax(self.target.actor(batch.next_states, m), 1)
            value = (following * self.target.critic(batch.next_states, m)).sum(1)
            y = batch.rewards + self.gamma * (1 - batch.terminal) * value
        q = self.policy.critic(batch.states, batch.new_mean_actions)
        loss = F.mse_loss(q.gather(1, batch.actions[:, None])[:, 0], y)
        self._step(self.critic_optimizer, loss, phase.learning_rate)
        return loss.item()

    def _update_actor(self, batch: Batch, phase: Phase, rng: torch.Generator) -> dict[str, float]:
        """Eqs. 8 and 12: the policy gradient of Q - V over all actions, entropy, and mu times the action loss."""
        logits = self.policy.actor(batch.states, batch.mean_actions)
        log_pi = F.log_softmax(logits, 1)
        pi = log_pi.exp()
        with torch.no_grad():
            q = self.policy.critic(batch.states, batch.new_mean_actions)
            advantage = q - (pi * q).sum(1, keepdim=True)
        entropy = -(pi * log_pi).sum(1).mean()
        actor_loss = -(pi * advantage).sum(1).mean()
        loss = actor_loss - phase.entropy * entropy
        moved, flipped = 0.0, float("nan")
        if phase.mu > 0:
            attack = PGD(threat=Threat(norm="l_inf", epsilon=phase.epsilon), steps=self.attack_steps)
            decisions = Decisions.of(batch.states.dense(), batch.mean_actions)
            action = action_loss(self.policy, logits, decisions, attack, rng)
            loss = loss + phase.mu * action.loss.mean()
            moved, flipped = action.loss.mean().item(), action.flipped
        self._step(self.actor_optimizer, loss, phase.learning_rate)
        share = pi.detach().mean(0).max().item()  # of the commonest action: 1 means collapse
        return {
            "actor_loss": actor_loss.item(),
            "action_loss": moved,
            "entropy": entropy.item(),
            "flip_rate": flipped,
            "action_share": share,
        }

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], self.gradient_norm)
        optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Weights, targets and optimisers, to be stored; `restore` takes it back."""
        state = {f"policy.{k}": v for k, v in self.policy.state_dict().items()}
        state |= {f"target.{k}": v for k, v in self.target.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            for i, slots in optimizer.state_dict()["state"].items():
                state |= {f"{name}.{i}.{k}": v for k, v in slots.items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, module in (("policy", self.policy), ("target", self.target)):
            start = f"{name}."
            module.load_state_dict({k[len(start) :]: v for k, v in state.items() if k.startswith(start)})
        for name, optimizer in self._optimizers().items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in state.items():
                if key.startswith(f"{name}."):
                    _, i, k = key.split(".")
                    slots.setdefault(int(i), {})[k] = value.clone()
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"actor_optimizer": self.actor_optimizer, "critic_optimizer": self.critic_optimizer}
