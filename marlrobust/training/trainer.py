"""The training loop: rounds are played in parallel, learned from as they go, logged, and can be resumed.

An iteration is a batch of rounds from start to end; between iterations nothing is under way, so that a
checkpoint taken there continues to the same weights as a training that never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from marlrobust.devices import checked_device
from marlrobust.games.game import Decisions, Ints, Outcome
from marlrobust.policies.card import Card, load_card
from marlrobust.policies.checkpoint import save_policy
from marlrobust.streams import stream, torch_stream
from marlrobust.training.cast import Acted, Cast, Matchup, Player, Shown
from marlrobust.training.learner import METRICS, Chance, Phase, Transitions
from marlrobust.training.log import Say, TrainingLog, to_stderr
from marlrobust.training.state import STATE, below, damaged, load_state, save_state, storing

PLAY = ("reward", "opponent_reward", "kills", "losses", "steps", "mu", "epsilon", "updates")
COLUMNS = ("iteration", "rounds", *PLAY, *METRICS, "seconds")
"""Of the log."""


class Seen(NamedTuple):
    """What a group saw in a step, and where the student that it teaches keeps it: at, (n,), or (0,) for nobody."""

    decisions: Decisions
    at: Ints


class Trainer:
    """Trains the students of a cast; writes all it makes into `folder`."""

    def __init__(self, cast: Cast, folder: Path, say: Say = to_stderr) -> None:
        """say: told, in a sentence, what is wrong and does not end the training."""
        self.cast, self.folder = cast, folder
        self.settings, self.game, self.students = cast.settings, cast.game, cast.students
        self.device = checked_device(cast.settings.device)
        self.iteration, self.seconds = 0, 0.0
        self.log = TrainingLog(folder, COLUMNS, say)

    @property
    def rounds(self) -> int:
        """Rounds trained so far."""
        return self.iteration * self.settings.parallel_rounds

    @property
    def total_rounds(self) -> int:
        """Rounds of the whole training."""
        return self.cast.total_rounds

    @property
    def finished(self) -> bool:
        return self.rounds >= self.total_rounds

    def run(
        self,
        *,
        stop: Callable[[], bool] = lambda: False,
        report: Callable[[dict[str, float]], None] = lambda row: None,
        save_every: float = 300.0,
    ) -> None:
        """Train to the end, or until `stop` says so after an iteration; `report` gets each row of the log.

        save_every: seconds between checkpoints. Raises UserError where the disk is full.
        """
        saved = time.monotonic()
        while not self.finished and not stop():
            began = time.monotonic()
            matchup = self.cast.matchup(self.iteration)
            row = self.play(matchup)
            self.seconds += time.monotonic() - began
            row = {"iteration": self.iteration, "rounds": self.rounds, **row, "seconds": round(self.seconds, 2)}
            self.log.write(row)
            report(row)
            if matchup.reaches_norm and self.cast.start and not self.finished:
                self.log.copy_to(self._start)
                self._save_state(self._start)
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def play(self, matchup: Matchup) -> dict[str, float]:
        """Play a batch of rounds to their end, learning on the way; returns what its row of the log says."""
        s, game, players = self.settings, self.game, matchup.players
        noise = stream(s.seed, "policy", self.iteration)
        chance = Chance(
            draws=stream(s.seed, "replay", self.iteration),
            attack=torch_stream(s.seed, "attack", self.iteration, device=s.device),
        )
        seeds = stream(s.seed, "game", self.iteration).integers(0, 2**31 - 1, game.rounds)
        game.reset(seeds, matchup.swapped)
        rewards = np.zeros(len(players))
        metrics: list[dict[str, float]] = []
        seen = self._see_all(matchup)
        while game.active.any():
            with torch.no_grad():
                acted = [p.act(s.decisions.to(self.device), noise) for p, s in zip(players, seen, strict=True)]
            outcomes = game.step([a.actions for a in acted])
            after = self._see_all(matchup)
            for g, player in enumerate(players):
                rewards[g] += outcomes[g].rewards.sum(dtype=np.float64)
                if student := player.teaches:
                    brought = self._transitions(g, player, seen[g], acted[g], outcomes[g], after[g])
                    student.learner.remember(brought, matchup.phase)
            for student in self.students.values():
                metrics += student.learner.after_step(matchup.phase, chance)
            seen = after
        for student in self.students.values():
            metrics += student.learner.after_batch(matchup.phase, chance)
        self.iteration += 1
        for student in self.students.values():
            now = student.learner.policy.state_dict()
            if matchup.reaches_young:
                student.young.load_state_dict(now)
            if matchup.reaches_norm:
                student.past.load_state_dict(now)
        return self._row(rewards, matchup.phase, metrics)

    def _see_all(self, matchup: Matchup) -> list[Seen]:
        return [self._see(g, player, matchup.shown.get(g)) for g, player in enumerate(matchup.players)]

    def _see(self, group: int, player: Player, shown: Shown | None) -> Seen:
        decisions = self.game.observe(group)
        if shown:
            decisions = shown(decisions.to(self.device))
        if player.teaches is None:
            return Seen(decisions, np.empty(0, np.int64))
        return Seen(decisions, player.teaches.learner.see(decisions))

    def _transitions(
        self, group: int, player: Player, seen: Seen, acted: Acted, outcome: Outcome, after: Seen
    ) -> Transitions:
        """The group's transitions of this step: where each agent's next state is, or why it has none."""
        where = np.full((self.game.rounds, self.game.groups[group].size), -1)
        where[after.decisions.round, after.decisions.agent] = after.at
        following = where[seen.decisions.round, seen.decisions.agent]
        return Transitions(
            at=seen.at,
            actions=acted.taught,
            own=acted.own,
            rewards=player.sign * outcome.rewards,
            mean_actions=outcome.mean_actions,
            terminal=outcome.dead | self.game.ended[seen.decisions.round],
            following=np.where(following < 0, seen.at, following),
        )

    def _row(self, rewards: np.ndarray, phase: Phase, metrics: list[dict[str, float]]) -> dict[str, float]:
        """Round means of the play and update means of the learning, of one iteration."""
        game = self.game
        first = np.array([group.team == 0 for group in game.groups])
        dead = np.array([group.size for group in game.groups]) - game.alive.mean(0)
        own, other = (float(rewards[side].sum()) / game.rounds for side in (first, ~first))
        play = (
            own,
            other,
            dead[~first].sum(),
            dead[first].sum(),
            game.steps.mean(),
            phase.mu,
            phase.epsilon,
            len(metrics),
        )
        row = dict(zip(PLAY, play, strict=True))
        for name in METRICS:
            values = [m[name] for m in metrics]
            row[name] = float(np.mean(values)) if values else float("nan")
        return {k: round(float(v), 6) for k, v in row.items()}

    @property
    def _start(self) -> Path:
        """Where the rounds before M_norm are stored that trainings share."""
        return self.folder.parent / self.cast.start

    def resume(self) -> bool:
        """Go on from the state stored in the folder, or from the start that trainings share; False: from nothing."""
        for place in (self.folder, *([self._start] if self.cast.start else [])):
            if stored := load_state(place):
                tensors, numbers = stored
                try:
                    for name, student in self.students.items():
                        own = below(f"{name}/", tensors)
                        if own or place == self.folder:  # who joins later is not in the start that all share
                            student.restore(own)
                    self.iteration, self.seconds = numbers["iteration"], numbers["seconds"]
                except (LookupError, TypeError, ValueError, RuntimeError) as error:
                    raise damaged(place / STATE, error) from None
                self.log.continue_from(place, self.iteration)
                return True
        self.log.path.unlink(missing_ok=True)  # rows of a training that ended before its first checkpoint
        return False

    def stored_rounds(self) -> int:
        """Rounds that the policies stored in the folder were trained for; 0 where one is missing."""
        paths = [self.folder / f"{name}.safetensors" for name in self.students]
        return min(load_card(path).rounds if path.exists() else 0 for path in paths)

    def save(self) -> None:
        """Store the policies, and all that a resumed training needs; that is large, and goes when it is finished."""
        self.save_policies()
        if self.finished:
            (self.folder / STATE).unlink(missing_ok=True)
        else:
            self._save_state(self.folder)

    def _save_state(self, folder: Path) -> None:
        tensors = {f"{name}/{k}": v for name, student in self.students.items() for k, v in student.state().items()}
        save_state(folder, tensors, {"iteration": self.iteration, "seconds": self.seconds})

    def save_policies(self) -> None:
        """Store the students' policies, each with its card."""
        s, cast = self.settings, self.cast
        for name, student in self.students.items():
            policy = student.learner.policy
            card = Card(
                method=cast.method,
                scenario=s.scenario,
                role=name,
                network=policy.network,
                shape=policy.shape.model_dump(),
                critic=cast.critic,
                seed=s.seed,
                rounds=self.rounds,
                planned_rounds=self.total_rounds,
                seconds=round(self.seconds, 1),
                settings=s.model_dump(mode="json"),
                against=cast.against,
            )
            with storing(self.folder / f"{name}.safetensors"):
                save_policy(self.folder, policy, card)
