"""Rounds of a game under attack: the only place where game, attack and policy meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.victims import RandomVictims, Scene, Victims
from marlrobust.evaluation.observer import Observer, Witness
from marlrobust.evaluation.side import Policies, Side, for_role
from marlrobust.games.broken import told
from marlrobust.games.game import Bools, Decisions, Game, Ints, can_swap
from marlrobust.policies.actions import Vectors
from marlrobust.policies.policy import checked
from marlrobust.rows import Round
from marlrobust.streams import stream, torch_stream

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Adversary:
    """Who moves what the teams under test see.

    attack: on all their agents, or one for each role; count: agents that are attacked, at most all of them; victims:
    how they are chosen; budget: steps of a round in which `attack` may change a state, the first ones in which it
    does; None for no limit.
    """

    attack: Attack | Mapping[str, Attack]
    count: int
    victims: Victims = field(default_factory=RandomVictims)
    budget: int | None = None


@torch.no_grad()
def play_rounds(
    game: Game,
    policy: Policies,
    opponent: Policies | None = None,
    *,
    seed: int,
    tested: Sequence[int] = (0,),
    adversary: Adversary | None = None,
    numbers: Sequence[int] | None = None,
    greedy: bool = False,
    device: str = "cpu",
    observers: Sequence[Observer] = (),
) -> list[Round]:
    """Play the game's R rounds, with the policy on the teams `tested`, which `adversary` attacks, and the opponent on
    all others.

    numbers: the rounds' own, 0 to R - 1 if not given. A round's start, random victims and all policies' noise depend
    on `seed` and its number alone, so that rounds with and without an attack are pairs. The attack sees the victims
    of all rounds at once, a call for each group. greedy: take the likeliest action, else sample. device: of the
    policies. Raises UserError for a group without a policy, and for a policy that does not answer with one finite
    logit per action.
    """
    numbers = range(game.rounds) if numbers is None else numbers
    may_swap = can_swap(game.groups)
    seeds = np.array([stream(seed, "game", r).integers(2**31 - 1) for r in numbers])
    swap = np.array([may_swap and stream(seed, "side", r).random() < 0.5 for r in numbers])
    own = [g for g, group in enumerate(game.groups) if group.team in tested]
    foes = [g for g in range(len(game.groups)) if g not in own]
    ours = Side(game, own, policy, seed, numbers, "policy")
    theirs = Side(game, foes, opponent, seed, numbers, "opponent")
    tally = _Tally(numbers, any(isinstance(kind, Vectors) for kind in ours.kinds))
    attacked = _Attacked(ours, adversary, seed, numbers, device) if adversary and adversary.count else None
    witnesses = [observer for observer in observers if isinstance(observer, Witness)]

    with told(game, "at a round's start"):
        game.reset(seeds, swap)
    ours.refuse_hidden_memory(device)
    theirs.refuse_hidden_memory(device)
    for witness in witnesses:
        witness.began(game, numbers)
    while game.active.any():
        seen, foes_seen = ours.observe(device), theirs.observe(device)
        logits = ours.logits(seen)
        clean = [x.clone() for x in logits] if witnesses else logits
        shown = seen if attacked is None else attacked.step(seen, logits, tally, observers)
        ours.remember(shown)
        theirs.remember(foes_seen)
        foes_logits = theirs.logits(foes_seen)
        chance = [None] * len(own) if greedy else ours.chance(seen)
        foes_chance = [None] * len(foes) if greedy else theirs.chance(foes_seen)
        actions = ours.choose(logits, chance) | theirs.choose(foes_logits, foes_chance)
        with told(game, f"in step {int(game.steps.max()) + 1}"):
            outcomes = game.step([actions[g] for g in range(len(game.groups))])
        for g, decisions in zip(own, seen, strict=True):
            tally.rewarded(decisions.round, outcomes[g].rewards)
        for observer in observers:
            observer.stepped(game)
        if witnesses:
            done = ours.acted(seen, clean, logits, chance, actions, outcomes)
            done += theirs.acted(foes_seen, foes_logits, foes_logits, foes_chance, actions, outcomes)
            for witness in witnesses:
                witness.acted(game, done)
    return tally.rounds(game, tested)


class _Attacked:
    """An adversary at work in one batch of rounds."""

    def __init__(self, side: Side, adversary: Adversary, seed: int, numbers: Sequence[int], device: str) -> None:
        self.side, self.game, self.adversary = side, side.game, adversary
        groups = [self.game.groups[g] for g in side.groups]
        self.attacks = [for_role(adversary.attack, group.role, "attack") for group in groups]
        self.starts = np.cumsum([0, *(group.size for group in groups)])  # of each group among all agents under test
        self.limit = np.inf if adversary.budget is None else adversary.budget
        self.rngs = [stream(seed, "victims", r) for r in numbers]
        part = [numbers[0]] if numbers[0] else []  # of rounds that are played in several batches
        self.victim_rng = torch_stream(seed, "victims", *part, device=device)
        self.attack_rng = torch_stream(seed, "attack", *part, device=device)
        self.chosen: Bools | None = None  # (R, all agents under test)

    def step(
        self, seen: Sequence[Decisions], logits: Sequence[Tensor], tally: _Tally, observers: Sequence[Observer]
    ) -> list[Decisions]:
        """Put the logits (n, a) of attacked agents in the place of their clean ones; what all agents are shown."""
        may, everyone = tally.attacked_steps < self.limit, list(seen)
        if not any(may[d.round].any() for d in seen):
            return everyone
        chosen = self._victims(seen, logits)
        found: list[tuple[Ints, Bools, Doubles]] = []  # rounds of the attacked rows, which changed, how far they moved
        for k, decisions in enumerate(seen):
            rows = np.flatnonzero(chosen[decisions.round, self.starts[k] + decisions.agent] & may[decisions.round])
            if len(rows):
                shown, changed, moved = self._attack(k, decisions, logits[k], torch.from_numpy(rows), observers)
                found.append((decisions.round[rows], changed, moved))
                if decisions.memory is not None:
                    everyone[k] = _with(decisions, rows, shown)
        if found:
            tally.attacked(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        return everyone

    def _victims(self, seen: Sequence[Decisions], logits: Sequence[Tensor]) -> Bools:
        a = self.adversary
        if self.chosen is None or a.victims.every_step:
            scene = Scene(
                game=self.game,
                own=self.side.groups,
                seen=seen,
                logits=logits,
                policies=self.side.policies,
                attacks=self.attacks,
                count=a.count,
                rngs=self.rngs,
                rng=self.victim_rng,
            )
            self.chosen = a.victims.choose(scene)
        return self.chosen

    def _attack(
        self, k: int, seen: Decisions, logits: Tensor, rows: Tensor, observers: Sequence[Observer]
    ) -> tuple[Tensor, Bools, Doubles]:
        """What the agents of some rows of group k are shown (m, d), whether each state changed, and how far each action
        moved (m,): by 1 where the likeliest of discrete ones is another.

        A state that comes back unchanged keeps its logits bit for bit.
        """
        policy, kind = self.side.policies[k], self.side.kinds[k]
        rows = rows.to(logits.device)
        clean = seen.take(rows)
        shown = self.attacks[k].perturb(policy, clean, self.attack_rng)
        for observer in observers:
            observer.attacked(clean, shown)
        changed = (shown != clean.dense).any(1)
        moved = rows[changed]
        ways = torch.zeros(len(rows), dtype=torch.float64, device=logits.device)
        if len(moved):
            attacked = policy.logits(clean.take(changed).showing(shown[changed]))
            checked(attacked, len(moved), logits.shape[1:], "the policy under attack")
            ways[changed] = kind.moved(logits[moved], attacked)
            logits[moved] = attacked
        return shown, changed.cpu().numpy(), ways.cpu().numpy()


def _with(seen: Decisions, rows: Ints, shown: Tensor) -> Decisions:
    """`seen` with other states (m, d) at some rows."""
    states = seen.dense.clone()
    states[torch.from_numpy(rows).to(states.device)] = shown
    return seen.showing(states)


class _Tally:
    """Sums by round."""

    def __init__(self, numbers: Sequence[int], continuous: bool) -> None:
        """continuous: whether actions under test are vectors, which do not flip but move."""
        self.numbers, self.continuous = numbers, continuous
        self.reward, self.moved = np.zeros((2, len(numbers)))
        self.decisions, self.attacked_steps = np.zeros((2, len(numbers)), np.int64)

    def rewarded(self, rounds: Ints, rewards: np.ndarray) -> None:
        self.reward += np.bincount(rounds, rewards, minlength=len(self.reward))

    def attacked(self, rounds: Ints, changed: Bools, moved: Doubles) -> None:
        self.attacked_steps[np.unique(rounds[changed])] += 1
        self.decisions += np.bincount(rounds, minlength=len(self.decisions))
        self.moved += np.bincount(rounds, moved, minlength=len(self.moved))

    def rounds(self, game: Game, tested: Sequence[int]) -> list[Round]:
        columns = {
            "round": np.asarray(self.numbers),
            "reward": self.reward,
            "steps": game.steps,
            "cut": ~game.ended,
            "swapped": game.swapped,
            "attacked_steps": self.attacked_steps,
            "decisions": self.decisions,
            **self._moves(),
            **(game.results(tested[0]) if len(tested) == 1 else {}),  # of several teams together a game says nothing
        }
        values = {name: column.tolist() for name, column in columns.items()}
        return [Round(**{name: column[r] for name, column in values.items()}) for r in range(game.rounds)]

    def _moves(self) -> dict[str, np.ndarray]:
        """What the attack did to the actions: how many flipped, or how far vectors moved."""
        if not self.continuous:
            return {"flips": self.moved.astype(np.int64)}
        ways = [moved / n if n else None for moved, n in zip(self.moved, self.decisions, strict=True)]
        return {"displacement": np.array(ways, object)}
