"""Rounds of a game under attack: the only place where game, attack and policy meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.victims import RandomVictims, Scene, Victims
from marlrobust.games.game import Bools, Decisions, Game, Ints
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.policy import Policy, checked, sample_actions
from marlrobust.rows import Round
from marlrobust.streams import stream, torch_stream


@dataclass(frozen=True)
class Adversary:
    """Who moves what a team sees.

    count: agents of the team that are attacked, at most its size; victims: how they are chosen; budget: steps of a
    round in which `attack` may change a state, the first ones in which it does; None for no limit.
    """

    attack: Attack
    count: int
    victims: Victims = field(default_factory=RandomVictims)
    budget: int | None = None


class Observer:
    """Watches a rollout; a subclass writes what it wants to see. It must copy what it keeps."""

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """Decisions of attacked agents, with their true states (n, d), and the states that they are shown (n, d)."""

    def stepped(self, game: Game) -> None:
        """A step was played."""


@torch.no_grad()
def play_rounds(
    game: Game,
    policy: Policy,
    opponent: Policy,
    *,
    seed: int,
    adversary: Adversary | None = None,
    numbers: Sequence[int] | None = None,
    greedy: bool = False,
    device: str = "cpu",
    observers: Sequence[Observer] = (),
) -> list[Round]:
    """Play the game's R rounds, with the policy on team 0, which `adversary` attacks, and the opponent on team 1.

    numbers: the rounds' own, 0 to R - 1 if not given. A round's start, random victims and both policies' noise depend
    on `seed` and its number alone, so that rounds with and without an attack are pairs. The attack sees the victims
    of all rounds at once. greedy: take the likeliest action, else sample. device: of the policies.
    Raises UserError for a policy that does not answer with one finite logit per action.
    """
    numbers = range(game.rounds) if numbers is None else numbers
    may_swap = game.teams[0].role == game.teams[1].role
    seeds = np.array([stream(seed, "game", r).integers(2**31 - 1) for r in numbers])
    swap = np.array([may_swap and stream(seed, "side", r).random() < 0.5 for r in numbers])
    noise = [_Noise(seed, name, numbers, game.teams[i].size) for i, name in enumerate(("policy", "opponent"))]
    tally = _Tally(numbers)
    attacked = _Attacked(game, policy, adversary, seed, numbers, device) if adversary and adversary.count else None

    game.reset(seeds, swap)
    while game.active.any():
        seen, foes = game.observe(0).to(device), game.observe(1).to(device)
        logits = _logits(policy, seen, game.teams[0].n_actions, "the policy")
        if attacked is not None:
            attacked.step(seen, logits, tally, observers)
        actions = _choose(logits, None if greedy else noise[0].draw(seen, game.active))
        foe_logits = _logits(opponent, foes, game.teams[1].n_actions, "the opponent")
        foe_actions = _choose(foe_logits, None if greedy else noise[1].draw(foes, game.active))
        outcome, _ = game.step((actions, foe_actions))
        tally.rewarded(seen.round, outcome.rewards)
        for observer in observers:
            observer.stepped(game)
    return tally.rounds(game)


class _Attacked:
    """An adversary at work in one batch of rounds."""

    def __init__(
        self, game: Game, policy: Policy, adversary: Adversary, seed: int, numbers: Sequence[int], device: str
    ) -> None:
        self.game, self.policy, self.adversary = game, policy, adversary
        self.limit = np.inf if adversary.budget is None else adversary.budget
        self.rngs = [stream(seed, "victims", r) for r in numbers]
        part = [numbers[0]] if numbers[0] else []  # of rounds that are played in several batches
        self.victim_rng = torch_stream(seed, "victims", *part, device=device)
        self.attack_rng = torch_stream(seed, "attack", *part, device=device)
        self.chosen: Bools | None = None  # (R, size)

    def step(self, seen: Decisions, logits: Tensor, tally: _Tally, observers: Sequence[Observer]) -> None:
        """Put the logits (n, a) of attacked agents in the place of their clean ones."""
        may = (tally.attacked_steps < self.limit)[seen.round]
        if not may.any():
            return
        rows = np.flatnonzero(self._victims(seen, logits)[seen.round, seen.agent] & may)
        if len(rows):
            changed, flipped = self._attack(seen, logits, torch.from_numpy(rows), observers)
            tally.attacked(seen.round[rows], changed, flipped)

    def _victims(self, seen: Decisions, logits: Tensor) -> Bools:
        a = self.adversary
        if self.chosen is None or a.victims.every_step:
            scene = Scene(
                game=self.game,
                decisions=seen,
                logits=logits,
                policy=self.policy,
                attack=a.attack,
                count=a.count,
                rngs=self.rngs,
                rng=self.victim_rng,
            )
            self.chosen = a.victims.choose(scene)
        return self.chosen

    def _attack(
        self, seen: Decisions, logits: Tensor, rows: Tensor, observers: Sequence[Observer]
    ) -> tuple[Bools, Bools]:
        """(len(rows),) whether each state, and argmax, changed.

        A state that comes back unchanged keeps its logits bit for bit.
        """
        rows = rows.to(logits.device)
        clean = seen.take(rows)
        shown = self.adversary.attack.perturb(self.policy, clean, self.attack_rng)
        for observer in observers:
            observer.attacked(clean, shown)
        changed = (shown != clean.dense).any(1)
        moved = rows[changed]
        flipped = torch.zeros(len(rows), dtype=torch.bool, device=logits.device)
        if len(moved):
            attacked = self.policy.logits(clean.take(changed).showing(shown[changed]))
            checked(attacked, len(moved), logits.shape[1], "the policy under attack")
            flipped[changed] = attacked.argmax(1) != logits[moved].argmax(1)
            logits[moved] = attacked
        return changed.cpu().numpy(), flipped.cpu().numpy()


def _logits(policy: Policy, seen: Decisions, n_actions: int, who: str) -> Tensor:
    """Logits (n, a); our own policies read compressed states, others get them dense."""
    if type(policy) is not MeanFieldPolicy:  # a subclass may read its states otherwise
        seen = seen.showing(seen.dense)
    return checked(policy.logits(seen), len(seen), n_actions, who)


def _choose(logits: Tensor, uniforms: Tensor | None) -> Ints:
    chosen = logits.argmax(1) if uniforms is None else sample_actions(logits, uniforms.to(logits.device))
    actions: Ints = chosen.cpu().numpy()
    return actions


class _Noise:
    """One uniform number per agent and step, from each round's own stream: a death shifts nobody's numbers."""

    def __init__(self, seed: int, name: str, rounds: Sequence[int], size: int) -> None:
        self.streams = [stream(seed, name, r) for r in rounds]
        self.numbers = np.zeros((len(rounds), size), np.float32)

    def draw(self, seen: Decisions, active: Bools) -> Tensor:
        for r in np.flatnonzero(active).tolist():
            self.streams[r].random(out=self.numbers[r], dtype=np.float32)
        return torch.from_numpy(self.numbers[seen.round, seen.agent])


class _Tally:
    """Sums by round."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.reward = np.zeros(len(numbers))
        self.decisions, self.flips, self.attacked_steps = np.zeros((3, len(numbers)), np.int64)

    def rewarded(self, rounds: Ints, rewards: np.ndarray) -> None:
        self.reward += np.bincount(rounds, rewards, minlength=len(self.reward))

    def attacked(self, rounds: Ints, changed: Bools, flipped: Bools) -> None:
        self.attacked_steps[np.unique(rounds[changed])] += 1
        self.decisions += np.bincount(rounds, minlength=len(self.decisions))
        self.flips += np.bincount(rounds[flipped], minlength=len(self.flips))

    def rounds(self, game: Game) -> list[Round]:
        columns = {
            "round": np.asarray(self.numbers),
            "reward": self.reward,
            "steps": game.steps,
            "cut": ~game.extinct,
            "swapped": game.swapped,
            "attacked_steps": self.attacked_steps,
            "decisions": self.decisions,
            "flips": self.flips,
            **game.results(),
        }
        values = {name: column.tolist() for name, column in columns.items()}
        return [Round(**{name: column[r] for name, column in values.items()}) for r in range(game.rounds)]
