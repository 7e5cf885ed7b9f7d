"""What the learners here share: an actor and a critic, an optimiser for each, transitions, and the defence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marlrobust.defenses.losses import After, Defended, Loss
from marlrobust.games.game import Decisions, Ints, of_rows
from marlrobust.policies.recurrent import Trainable
from marlrobust.training.learner import Chance, Phase, Transitions
from marlrobust.training.replay import Batch, Replay
from marlrobust.training.settings import LearningSettings
from marlrobust.training.state import below


class Answer(NamedTuple):
    """The actor's answer to n states, (n, a) each: logits, and what follows from them; memory: what the agents carried,
    where they carry something."""

    logits: Tensor
    log_pi: Tensor
    pi: Tensor
    memory: Any = None


class ActorCritic:
    """Base of a learner (see `Learner`): it says when to learn, and from which losses."""

    def __init__(self, policy: Trainable, settings: LearningSettings, role: str, loss: Loss | None = None) -> None:
        """role: of the agents that it learns for; loss: of the defence, where there is one."""
        s = self.settings = settings
        self.policy, self.loss = policy.to(s.device), loss
        self.device = torch.device(s.device)
        symmetries = s.game.symmetries(role) if s.mirrors else ()
        self.replay = Replay(s.replay_size, policy.shape.state_size, policy.shape.n_actions, symmetries=symmetries)
        self.actor_optimizer = torch.optim.Adam(policy.actor.parameters(), fused=True)
        self.critic_optimizer = torch.optim.Adam(policy.critic.parameters(), fused=True)
        # what is stored
        self.modules: dict[str, nn.Module] = {"policy": self.policy}
        self.optimizers = {"actor_optimizer": self.actor_optimizer, "critic_optimizer": self.critic_optimizer}
        if isinstance(loss, nn.Module):
            self.modules["loss"] = loss.to(s.device)
            self.optimizers["loss_optimizer"] = loss.optimizer  # type: ignore[assignment]

    def see(self, decisions: Decisions) -> Ints:
        """See `Learner.see`."""
        return self.replay.see(decisions)

    def remember(self, transitions: Transitions, phase: Phase) -> None:
        """See `Learner.remember`."""
        self.replay.add_outcomes(transitions)
        self.replay.owed += len(transitions.at) * phase.replay_ratio

    def after_step(self, phase: Phase, chance: Chance) -> list[dict[str, float]]:
        """See `Learner.after_step`."""
        return []

    def after_batch(self, phase: Phase, chance: Chance) -> list[dict[str, float]]:
        """See `Learner.after_batch`."""
        return []

    def precisely(self) -> torch.autocast:
        """The context of what an update computes: layers in the settings' precision, all else in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def answer(self, batch: Batch) -> Answer:
        """What the actor says to a batch."""
        logits = self.policy.actor(batch.states, batch.mean_actions)
        log_pi = F.log_softmax(logits, 1)
        return Answer(logits, log_pi, log_pi.exp())

    def update_actor(
        self, batch: Batch, answer: Answer, actor_loss: Tensor, phase: Phase, rng: torch.Generator
    ) -> dict[str, float]:
        """One step down `actor_loss`, to which the entropy bonus and mu times the defence's loss are added (eq. 12);
        returns METRICS of it."""
        entropy = -(answer.pi * answer.log_pi).sum(1).mean()
        loss = actor_loss - phase.entropy * entropy
        moved, flipped = 0.0, float("nan")
        if self.loss and phase.mu > 0:
            n = math.ceil(self.settings.defended_share * len(batch.actions))  # they were drawn in any order
            action = self.loss(self._defended(batch, answer, n, phase, rng))
            loss = loss + phase.mu * action.loss.mean()
            moved, flipped = action.loss.mean().item(), action.flipped
        self.step(self.actor_optimizer, loss, phase.learning_rate)
        return {
            "actor_loss": actor_loss.item(),
            "action_loss": moved,
            "entropy": entropy.item(),
            "flip_rate": flipped,
            "action_share": answer.pi.detach().mean(0).max().item(),  # of the commonest action: 1 means collapse
        }

    def _defended(self, batch: Batch, answer: Answer, n: int, phase: Phase, rng: torch.Generator) -> Defended:
        """The first n of a batch, as a defence's loss takes them."""
        decisions = Decisions.of(batch.states.first(n), batch.mean_actions[:n])
        decisions = replace(decisions, memory=of_rows(answer.memory, slice(n)))
        following = Decisions.of(batch.next_states.first(n), batch.new_mean_actions[:n])
        after = After(batch.actions[:n], batch.rewards[:n], batch.terminal[:n], following, phase.learning_rate)
        steps = self.settings.attack_steps
        return Defended(self.policy, decisions, answer.logits[:n], phase.epsilon, steps, rng, after)

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float) -> None:
        """One step down `loss`, with a gradient that is not too long."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], self.settings.gradient_norm)
        optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Weights, optimisers and replay; see `Learner.state`."""
        state = {f"replay.{k}": v for k, v in self.replay.state().items()}
        for name, module in self.modules.items():
            state |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, slots in optimizer.state_dict()["state"].items():
                state |= {f"{name}.{i}.{k}": v for k, v in slots.items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """See `Learner.restore`."""
        self.replay.restore(below("replay.", state))
        for name, module in self.modules.items():
            stored = below(f"{name}.", state)
            if stored or name != "loss":  # methods share a start, in which no loss has learned yet
                module.load_state_dict(stored)
        for name, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in below(f"{name}.", state).items():
                i, k = key.split(".")
                slots.setdefault(int(i), {})[k] = value.clone()
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
