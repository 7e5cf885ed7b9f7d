"""A certified student of any team: what its teacher does, learned so that no state near by changes it.

Supervised: the teacher is asked what it would do wherever the student comes to (DAgger, Ross et al. 2011), and the
student learns that with the interval loss of Gowal et al. 2018 (`marlrobust.defenses.intervals`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.defenses.intervals import bounded
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions, Game, Group, Ints, can_swap, refuse_other_actions
from marlrobust.games.scenario import Scenario
from marlrobust.games.symmetry import Symmetry
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.library import StoredTeam
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.memory import has_memory
from marlrobust.policies.policy import Policy, sample_actions
from marlrobust.rows import slug
from marlrobust.streams import stream
from marlrobust.training.adversary import Frozen
from marlrobust.training.cast import Acted, Matchup, Student, whole_batches
from marlrobust.training.distill_settings import DistillSettings
from marlrobust.training.learner import Phase
from marlrobust.training.mean_field import MeanFieldLearner
from marlrobust.training.replay import Batch, Replay

CERTIFIED = "certified"
"""What a card says of how such a student was trained."""


def student_name(teacher: str) -> str:
    """The folder of the student of the team that tables call `teacher`."""
    return f"{CERTIFIED}-{slug(teacher)}"


class Distillation:
    """A cast (see `Cast`): a student for each role of the team, its teacher, and a frozen opponent.

    The first batch of rounds is played by the teacher, later ones less and less, and then by the student alone.
    """

    method, against, start, critic = CERTIFIED, "", "", True

    def __init__(self, settings: DistillSettings, teacher: StoredTeam, opponent: StoredTeam | None) -> None:
        """Raises UserError where the teacher remembers, or is not the one that the settings' hash names."""
        if settings.teacher_hash not in ("", teacher.hash):
            raise UserError(f"{teacher.full_name} has changed since this training began: train anew with --overwrite")
        s = self.settings = settings.model_copy(update={"teacher_hash": teacher.hash})
        self.game: Game = s.game.make(s.parallel_rounds)
        shapes = {g.role: g.shape for g in self.game.groups}
        self.teachers = {role: as_policy(p, shapes[role]) for role, p in teacher.load(s.device).items()}
        if remembering := [role for role, policy in self.teachers.items() if has_memory(policy)]:
            raise UserError(
                f"{teacher.full_name} remembers ({remembering[0]}): a student of one state cannot repeat what depends "
                "on those before it"
            )
        foes = opponent.load(s.device) if opponent else {}
        self.opponents = {role: Frozen(as_policy(p, shapes[role])) for role, p in foes.items()}
        self.students = {
            g.role: Student.of(self._learner(i, g, teacher)) for i, g in enumerate(self.game.groups) if g.team == 0
        }
        self.total_rounds = whole_batches(s.rounds, s.parallel_rounds)

    def _learner(self, i: int, group: Group, stored: StoredTeam) -> Pupil:
        """One with random weights, and its teacher's critic if that has one of this shape."""
        refuse_other_actions(group, "distillation is")
        s, teacher = self.settings, self.teachers[group.role]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(s.seed, "weights", i).integers(2**31)))
            policy = MeanFieldPolicy(group.state_size, group.n_actions, hidden=s.hidden, embedding=s.embedding)
        (card,) = (p.card for p in stored.policies if p.card.role == group.role)
        if not (isinstance(teacher, MeanFieldPolicy) and teacher.shape == policy.shape and card.critic):
            return Pupil(policy, s, group.role, teacher, learns_critic=True)
        policy.critic.load_state_dict(teacher.critic.state_dict())
        return Pupil(policy, s, group.role, teacher, learns_critic=False)

    def matchup(self, iteration: int) -> Matchup:
        """See `Cast.matchup`. If no side was asked for, every other round is played on the other one."""
        s, groups, size = self.settings, self.game.groups, self.game.rounds
        done = iteration * size / self.total_rounds
        taught = round(size * max(1 - done / s.teacher_share, 0.0)) if s.teacher_share else 0
        risen = min(done / s.ramp, 1.0)
        falling = min((1 - done) / s.cooling, 1.0)
        turned = np.arange(size) % 2 == 1 if s.side == "both" else np.full(size, s.side == "second")
        return Matchup(
            players=tuple(
                Guided(self.students[g.role], taught) if g.team == 0 else self.opponents[g.role] for g in groups
            ),
            swapped=can_swap(groups) & turned,
            phase=Phase(s.weight * risen, s.epsilon * risen, 0.0, s.learning_rate * falling, s.replay_ratio),
        )


def between_sides(scenario: Scenario, role: str) -> Symmetry:
    """The mirror in which one side of the game looks like the other, for agents of a role of its first team: a round's
    first states of the one, mirrored, are nearest to those of the other. Raises UserError where there is none."""
    game, known = scenario.make(1), scenario.symmetries(role)
    if not (can_swap(game.groups) and known):
        raise UserError("this game has no mirror in which one side looks like the other: leave out side")
    (group,) = (i for i, g in enumerate(game.groups) if g.team == 0 and g.role == role)
    starts = []
    for swapped in (False, True):
        game.reset(np.zeros(1, np.int64), np.array([swapped]))
        starts.append(game.observe(group).dense.numpy().copy())
    return min(known, key=lambda mirror: float(np.abs(mirror.of_states(starts[0]).mean(0) - starts[1].mean(0)).sum()))


class Pupil(MeanFieldLearner):
    """A learner (see `Learner`) that learns what its teacher does; its critic, if it has none to begin with, as
    Algorithm 1 says."""

    def __init__(
        self, policy: MeanFieldPolicy, settings: DistillSettings, role: str, teacher: Policy, *, learns_critic: bool
    ) -> None:
        super().__init__(policy, settings, role)
        self.teacher, self.learns_critic = teacher, learns_critic
        self.sharpness, self.certainty, self.leeway = settings.sharpness, settings.certainty, settings.leeway
        mirrors = () if settings.side == "both" else (between_sides(settings.game, role),)
        shape = policy.shape
        self.replay = Replay(settings.replay_size, shape.state_size, shape.n_actions, symmetries=mirrors, taught=True)

    def see(self, decisions: Decisions) -> Ints:
        """See `Learner.see`; the teacher is asked at once."""
        at = self.replay.see(decisions)
        if len(at):
            with torch.no_grad():
                self.replay.taught[at] = self.asked(decisions).cpu().numpy()
        return at

    def asked(self, decisions: Decisions) -> Tensor:
        """The teacher's logits (n, a); ours reads compressed states, others get them dense."""
        ours = type(self.teacher) is MeanFieldPolicy
        return self.teacher.logits(decisions if ours else decisions.showing(decisions.dense))

    def update(self, batch: Batch, phase: Phase, rng: torch.Generator) -> dict[str, float]:
        """One step of the actor, and of the critic where it learns; returns METRICS. The flip rate is the share of
        decisions that are not proven."""
        critic_loss = float("nan")
        if self.learns_critic:
            critic_loss, _ = self._update_critic(batch, phase)
            with torch.no_grad():
                torch._foreach_lerp_(list(self.target.parameters()), list(self.policy.parameters()), self.settings.tau)
        return {"critic_loss": critic_loss, **self._imitate(batch, phase)}

    def _imitate(self, batch: Batch, phase: Phase) -> dict[str, float]:
        """(1 - mu) CE(student, teacher's probabilities) + mu CE(worst logits, z): z is what the student does, if its
        teacher does it often enough, else what the teacher does most."""
        least = batch.taught.amax(1) + math.log(self.leeway)

        def choose(own: Tensor) -> Tensor:
            likeliest = own.argmax(1)
            allowed = batch.taught.gather(1, likeliest[:, None])[:, 0] >= least
            return torch.where(allowed, likeliest, batch.taught.argmax(1))

        found = bounded(self.policy.actor, batch.states, batch.mean_actions, phase.epsilon, choose)
        logits, worst, actions = found.logits / self.certainty, found.worst / self.certainty, found.actions
        own = F.cross_entropy(logits, F.softmax(self.sharpness * batch.taught, 1))
        proof = F.cross_entropy(worst, actions)
        self.step(self.actor_optimizer, (1 - phase.mu) * own + phase.mu * proof, phase.learning_rate)
        pi = F.softmax(found.logits.detach(), 1)
        return {
            "actor_loss": own.item(),
            "action_loss": proof.item(),
            "entropy": -(pi * pi.clamp_min(1e-30).log()).sum(1).mean().item(),
            "flip_rate": (worst.detach().scatter(1, actions[:, None], -1.0) >= 0).any(1).float().mean().item(),
            "action_share": pi.mean(0).max().item(),
        }


@dataclass(frozen=True)
class Guided:
    """A player (see `Player`) that acts as a student's policy does, in the first `taught` rounds as its teacher."""

    teaches: Student
    taught: int
    sign: float = 1.0

    def act(self, decisions: Decisions, noise: np.random.Generator) -> Acted:
        """See `Player.act`."""
        uniforms = torch.from_numpy(noise.random(len(decisions), dtype=np.float32))
        learner: Any = self.teaches.learner
        logits = learner.policy.logits(decisions)
        if n := int(np.searchsorted(decisions.round, self.taught)):
            logits[:n] = learner.sharpness * learner.asked(decisions.take(slice(n)))
        actions = sample_actions(logits, uniforms.to(logits.device)).cpu().numpy()
        return Acted(actions, actions, np.arange(len(actions)) >= n)
