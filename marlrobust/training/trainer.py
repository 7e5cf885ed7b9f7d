"""The training loop: rounds are played in parallel, learned from as they go, logged, and can be resumed.

An iteration is a batch of rounds from start to end; between iterations nothing is under way, so that a
checkpoint taken there continues to the same weights as a training that never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from marlrobust.config import TrainSettings
from marlrobust.defenses.methods import METHODS
from marlrobust.games.game import Bools, Ints, Observation, Outcome
from marlrobust.games.scenarios import make_game
from marlrobust.policies.checkpoint import Card, load_card, save_policy
from marlrobust.policies.networks import MeanFieldPolicy
from marlrobust.policies.sampling import sample_actions
from marlrobust.streams import stream, torch_stream
from marlrobust.training.log import TrainingLog
from marlrobust.training.mean_field import MeanFieldLearner, Phase
from marlrobust.training.replay import Replay
from marlrobust.training.state import STATE, load_state, save_state, shared_start


class Seen(NamedTuple):
    """What a team saw in a step, and where its replay keeps it."""

    observation: Observation
    at: Ints


@dataclass
class Role:
    """One kind of agent: its learner, its replay, the transitions that it owes to learning, and `past`, its policy
    as it was at M_norm."""

    learner: MeanFieldLearner
    replay: Replay
    past: MeanFieldPolicy
    owed: float = 0.0


class Trainer:
    """Trains the policy of every role of a game by self-play; writes all it makes into `folder`."""

    against = ""  # hash of the policy that an adversary is trained against

    def __init__(self, settings: TrainSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.method = METHODS[settings.method]
        self.game = make_game(settings.game, settings.parallel_rounds)
        self.device = torch.device(settings.device)
        self.iteration, self.seconds = 0, 0.0
        self.log = TrainingLog(folder)
        self.roles = self._make_roles()

    def _make_roles(self) -> dict[str, Role]:
        """What is learned: one policy for all teams of a role, with random weights."""
        settings = self.settings
        roles: dict[str, Role] = {}
        for i, team in enumerate(self.game.teams):
            if team.role in roles:
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(stream(settings.seed, "weights", i).integers(2**31)))
                policy = MeanFieldPolicy(
                    team.state_size,
                    team.n_actions,
                    hidden=settings.hidden,
                    embedding=settings.embedding,
                    mean_field=self.method.mean_field,
                )
            roles[team.role] = self._new_role(policy)
        return roles

    def _new_role(self, policy: MeanFieldPolicy) -> Role:
        """A role that begins with `policy`, and has seen nothing."""
        s = self.settings
        policy = policy.to(self.device)
        learner = MeanFieldLearner(
            policy, gamma=s.gamma, tau=s.tau, gradient_norm=s.gradient_norm, attack_steps=s.attack_steps
        )
        return Role(learner, Replay(s.replay_size, policy.state_size, policy.n_actions), copy.deepcopy(policy))

    def _role(self, team: int) -> Role | None:
        """What the team's transitions teach; None for a team that nobody learns from: its rounds are all the past's."""
        own, other = (self.game.teams[t].role for t in (team, 0))
        return None if own != other and self._past_rounds == self.game.rounds else self.roles[own]

    @property
    def rounds(self) -> int:
        """Rounds trained so far."""
        return self.iteration * self.settings.parallel_rounds

    @property
    def total_rounds(self) -> int:
        """Rounds of the whole training: M_norm + c * M_adv, or the opponent's own, whole iterations."""
        s = self.settings
        rounds = s.normal_rounds + s.loops * s.loop_rounds if self.method.loops else s.opponent_rounds
        return math.ceil(rounds / s.parallel_rounds) * s.parallel_rounds

    @property
    def finished(self) -> bool:
        return self.rounds >= self.total_rounds

    def resume(self) -> bool:
        """Go on from the state stored in the folder, or from the start that methods share; False: from nothing."""
        start = shared_start(self.folder.parent, self.settings, self.method.mean_field)
        for place in (self.folder, start):
            if load_state(place, self):
                self.log.continue_from(place, self.iteration)
                return True
        self.log.path.unlink(missing_ok=True)  # rows of a training that ended before its first checkpoint
        return False

    def stored_rounds(self) -> int:
        """Rounds that the policies stored in the folder were trained for; 0 where one is missing."""
        paths = [self.folder / f"{name}.safetensors" for name in self.roles]
        return min(load_card(path).rounds if path.exists() else 0 for path in paths)

    def save(self) -> None:
        """Store the policies, and all that a resumed training needs; that is large, and goes when it is finished."""
        self.save_policies()
        if self.finished:
            (self.folder / STATE).unlink(missing_ok=True)
        else:
            save_state(self.folder, self)

    def save_policies(self) -> None:
        s = self.settings
        for name, role in self.roles.items():
            policy = role.learner.policy
            card = Card(
                method=s.method,
                scenario=s.game.scenario,
                role=name,
                state_size=policy.state_size,
                n_actions=policy.n_actions,
                hidden=policy.actor.out.in_features,
                embedding=policy.actor.mean.out_features if policy.actor.mean else s.embedding,
                mean_field=policy.actor.mean is not None,
                seed=s.seed,
                against=self.against,
                rounds=self.rounds,
                seconds=round(self.seconds, 1),
                settings=s.model_dump(mode="json"),
            )
            save_policy(self.folder, policy, card)

    def run(
        self,
        *,
        stop: Callable[[], bool],
        report: Callable[[dict[str, float]], None],
        save_every: float = 300.0,
    ) -> None:
        """Train to the end, or until `stop` says so after an iteration; `report` gets each row of the log.

        save_every: seconds between checkpoints.
        """
        saved = time.monotonic()
        while not self.finished and not stop():
            began = time.monotonic()
            row = self.train_iteration()
            self.seconds += time.monotonic() - began
            row = {
                "iteration": self.iteration,
                "rounds": self.rounds,
                **row,
                "seconds": round(self.seconds, 2),
            }
            self.log.write(row)
            report(row)
            if self._reached_start() and self.method.mean_field and not self.finished:
                start = shared_start(self.folder.parent, self.settings, self.method.mean_field)
                save_state(start, self)
                self.log.copy_to(start)
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def _reached_start(self) -> bool:
        """Whether the last iteration was the one that reached M_norm."""
        return self.rounds - self.settings.parallel_rounds < self.settings.normal_rounds <= self.rounds

    def phase(self, m: int) -> Phase:
        """The schedules' values at round m."""
        s = self.settings
        shape = s.model_dump(include={"normal_rounds", "loop_rounds", "loops", "ramp"})
        normal = m < s.normal_rounds
        return Phase(
            mu=s.mu_max * self.method.mu(m, **shape),
            epsilon=s.epsilon * self.method.epsilon(m, **shape),
            entropy=self._entropy(m) if normal else s.robust_entropy,
            learning_rate=s.learning_rate if normal else s.robust_learning_rate,
        )

    def _entropy(self, m: int) -> float:
        """Weight of the entropy bonus at round m before M_norm: falls to its final value over half of those rounds."""
        s = self.settings
        fallen = min(2 * m / s.normal_rounds, 1)
        return float(s.first_entropy ** (1 - fallen) * s.entropy**fallen)

    def train_iteration(self) -> dict[str, float]:
        """Play a batch of rounds to their end, learning on the way; returns its row of the log."""
        s, game = self.settings, self.game
        phase, normal = self.phase(self.rounds), self.rounds < s.normal_rounds
        noise = stream(s.seed, "policy", self.iteration)
        draws = stream(s.seed, "replay", self.iteration)
        attack = torch_stream(s.seed, "attack", self.iteration, device=s.device)
        seeds = stream(s.seed, "game", self.iteration).integers(0, 2**31 - 1, game.rounds)
        game.reset(seeds, self._swapped())
        rewards = np.zeros(2)
        metrics: list[dict[str, float]] = []
        seen = [self._see(team) for team in (0, 1)]
        while game.active.any():
            actions = [self._act(team, seen[team], noise) for team in (0, 1)]
            outcomes = game.step((actions[0], actions[1]))
            after = [self._see(team) for team in (0, 1)]
            for team in (0, 1):
                rewards[team] += outcomes[team].rewards.sum(dtype=np.float64)
                if role := self._role(team):
                    self._remember(role, team, seen[team], actions[team], outcomes[team], after[team])
                    role.owed += len(seen[team].at) * (s.replay_ratio if normal else s.robust_replay_ratio)
            for role in self.roles.values():
                metrics += self._learn(role, phase, draws, attack)
            seen = after
        self.iteration += 1
        if self._reached_start():
            for role in self.roles.values():
                role.past.load_state_dict(role.learner.policy.state_dict())
        return self._row(rewards, phase, metrics)

    def _see(self, team: int) -> Seen:
        observation, role = self.game.observe(team), self._role(team)
        if role is None:
            return Seen(observation, np.empty(0, np.int64))
        return Seen(observation, role.replay.add_states(observation.compressed, observation.mean_actions))

    def _act(self, team: int, seen: Seen, noise: np.random.Generator) -> Ints:
        role = self.roles[self.game.teams[team].role]
        uniforms = torch.from_numpy(noise.random(len(seen.observation.round), dtype=np.float32)).to(self.device)
        with torch.no_grad():
            mean_actions = torch.from_numpy(seen.observation.mean_actions).to(self.device)
            states = seen.observation.compressed.to(self.device)
            logits = role.learner.policy.actor(states, mean_actions)
            if team == 1 and (n := int(np.searchsorted(seen.observation.round, self._past_rounds))):
                logits[:n] = role.past.actor(states, mean_actions)[:n]
            actions: Ints = sample_actions(logits, uniforms).cpu().numpy()
        return actions

    @property
    def _past_rounds(self) -> int:
        """How many of the parallel rounds, the first, are now played against the policy of M_norm."""
        s = self.settings
        return 0 if self.rounds < s.normal_rounds else round(s.past_share * self.game.rounds)

    def _swapped(self) -> Bools:
        """(R,) which rounds swap sides: every other one of those whose teams differ, where the game can."""
        one_role = len(self.roles) == 1
        r = np.arange(self.game.rounds)
        swapped: Bools = one_role & (r % 2 == 1) & (r < self._past_rounds)
        return swapped

    def _remember(self, role: Role, team: int, seen: Seen, actions: Ints, outcome: Outcome, after: Seen) -> None:
        """Complete the team's transitions of this step: where each agent's next state is, or why it has none."""
        spec = self.game.teams[team]
        where = np.full((self.game.rounds, spec.size), -1)
        where[after.observation.round, after.observation.agent] = after.at
        following = where[seen.observation.round, seen.observation.agent]
        following = np.where(following < 0, seen.at, following)
        terminal = outcome.dead | self.game.extinct[seen.observation.round]
        role.replay.add_outcomes(seen.at, actions, outcome.rewards, outcome.mean_actions, terminal, following)

    def _learn(
        self, role: Role, phase: Phase, draws: np.random.Generator, attack: torch.Generator
    ) -> list[dict[str, float]]:
        n = self.settings.batch_size
        metrics = []
        while role.owed >= n and len(role.replay) >= n:
            role.owed -= n
            batch = role.replay.sample(n, draws).to(self.device)
            metrics.append(role.learner.update(batch, phase, attack))
        return metrics

    def _row(self, rewards: np.ndarray, phase: Phase, metrics: list[dict[str, float]]) -> dict[str, float]:
        """Round means of the play and update means of the learning, of one iteration."""
        game = self.game
        killed = np.array([team.size for team in game.teams]) - game.alive.mean(0)
        row = {
            "reward": rewards[0] / game.rounds,
            "opponent_reward": rewards[1] / game.rounds,
            "kills": killed[1],
            "losses": killed[0],
            "steps": game.steps.mean(),
            "mu": phase.mu,
            "epsilon": phase.epsilon,
            "updates": len(metrics),
        }
        for name in MeanFieldLearner.METRICS:
            values = [m[name] for m in metrics]
            row[name] = float(np.mean(values)) if values else float("nan")
        return {k: round(float(v), 6) for k, v in row.items()}
