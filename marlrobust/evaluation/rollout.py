"""Rounds of a game under attack: the only place where game, attack and policy meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.victims import RandomVictims, Scene, Victims
from marlrobust.games.game import Bools, Game, Ints, Observation
from marlrobust.policies.networks import MeanFieldPolicy, Policy
from marlrobust.policies.sampling import sample_actions
from marlrobust.streams import stream, torch_stream


@dataclass(frozen=True)
class Round:
    """What came of one round, seen from team 0, the one under test.

    win, draw: more, or as many, survivors than the opponent; kills, losses: opponents and own agents that died;
    reward: summed over the team and the round; flip_rate: share of attacked decisions whose most likely action
    changed, NaN where none was attacked; swapped: whether the team played the other side; attacked_steps: steps in
    which a victim's state was changed.
    """

    round: int
    win: bool
    draw: bool
    kills: int
    losses: int
    reward: float
    steps: int
    flip_rate: float
    swapped: bool
    attacked_steps: int


@torch.no_grad()
def play_rounds(
    game: Game,
    policy: Policy,
    opponent: Policy,
    *,
    seed: int,
    attack: Attack | None = None,
    count: int = 0,
    victims: Victims | None = None,
    budget: int | None = None,
    numbers: Sequence[int] | None = None,
    greedy: bool = False,
    device: str = "cpu",
    on_end: Callable[[int], None] = lambda rounds: None,
    on_attack: Callable[[Tensor, Tensor], None] = lambda states, mean_actions: None,
) -> list[Round]:
    """Play the game's R rounds with `count` agents of team 0 under `attack` in each.

    victims: chooses those agents, at random if not given. budget: steps of a round in which the attack may change a
    state, the first ones in which it does; None for no limit. numbers: the rounds' own, 0 to R - 1 if not given.
    A round's start, random victims and both policies' noise depend on `seed` and its number alone, so that rounds
    with and without an attack are pairs. The attack sees the victims of all rounds at once. greedy: take the most
    likely action, else sample. on_end: called with the number of rounds that ended in a step; on_attack: with the
    states (n, d) about to be attacked and their mean actions (n, a).
    """
    team = game.teams[0]
    numbers = range(game.rounds) if numbers is None else numbers
    seeds = np.array([stream(seed, "game", r).integers(2**31 - 1) for r in numbers])
    may_swap = team.role == game.teams[1].role
    swap = np.array([may_swap and stream(seed, "side", r).random() < 0.5 for r in numbers])
    strategy = RandomVictims() if victims is None else victims
    chosen: Bools | None = None
    victim_rngs = [stream(seed, "victims", r) for r in numbers]
    victim_rng = torch_stream(seed, "victims", device=device)
    attack_rng = torch_stream(seed, "attack", device=device)
    noise = [_Noise(seed, name, numbers, game.teams[i].size) for i, name in enumerate(("policy", "opponent"))]
    tally = _Tally(numbers)
    limit = np.inf if budget is None else budget

    game.reset(seeds, swap)
    while game.active.any():
        seen, foe = game.observe(0), game.observe(1)
        logits = _logits(policy, seen, device)
        may = (tally.attacked_steps < limit)[seen.round]
        if attack is not None and count and may.any():
            if chosen is None or strategy.every_step:
                chosen = strategy.choose(
                    Scene(
                        count=count,
                        size=team.size,
                        swapped=swap,
                        policy=policy,
                        attack=attack,
                        round=seen.round,
                        agent=seen.agent,
                        mean_actions=torch.from_numpy(seen.mean_actions).to(device),
                        logits=logits,
                        states=seen.compressed.dense,
                        places=lambda: (game.positions(0), game.positions(1)),
                        foe_round=foe.round,
                        rngs=victim_rngs,
                        rng=victim_rng,
                    )
                )
            rows = np.flatnonzero(chosen[seen.round, seen.agent] & may)
            if len(rows):
                changed, flipped = _attack(policy, attack, seen, logits, torch.from_numpy(rows), attack_rng, on_attack)
                tally.attacked(seen.round[rows], changed, flipped)
        actions = _choose(logits, None if greedy else noise[0].draw(seen, game.active))
        foe_logits = _logits(opponent, foe, device)
        foe_actions = _choose(foe_logits, None if greedy else noise[1].draw(foe, game.active))
        before = np.count_nonzero(game.active)
        outcome, _ = game.step((actions, foe_actions))
        tally.rewarded(seen.round, outcome.rewards)
        on_end(int(before - np.count_nonzero(game.active)))
    return tally.rounds(game, swap)


def _attack(
    policy: Policy,
    attack: Attack,
    seen: Observation,
    logits: Tensor,
    rows: Tensor,
    rng: torch.Generator,
    on_attack: Callable[[Tensor, Tensor], None],
) -> tuple[Bools, Bools]:
    """Put the logits of the attacked `rows` in their place; (len(rows),) whether each state, and argmax, changed.

    A state that comes back unchanged keeps its logits bit for bit.
    """
    clean = seen.compressed.dense(rows).to(logits.device)
    mean_actions = torch.from_numpy(seen.mean_actions).to(logits.device)
    rows = rows.to(logits.device)
    on_attack(clean, mean_actions[rows])
    adversarial = attack.perturb(policy, clean, mean_actions[rows], rng)
    changed = (adversarial != clean).any(1)
    moved = rows[changed]
    flipped = torch.zeros(len(rows), dtype=torch.bool, device=logits.device)
    if len(moved):
        attacked = policy.logits(adversarial[changed], mean_actions[moved])
        flipped[changed] = attacked.argmax(1) != logits[moved].argmax(1)
        logits[moved] = attacked
    return changed.cpu().numpy(), flipped.cpu().numpy()


def _logits(policy: Policy, seen: Observation, device: str) -> Tensor:
    """Logits (n, a); our own policies read compressed states, others get them dense."""
    mean_actions = torch.from_numpy(seen.mean_actions).to(device)
    if type(policy) is MeanFieldPolicy:  # a subclass may read its states otherwise
        return policy.logits(seen.compressed.to(device), mean_actions)
    return policy.logits(torch.from_numpy(seen.states).to(device), mean_actions)


def _choose(logits: Tensor, uniforms: Tensor | None) -> Ints:
    chosen = logits.argmax(1) if uniforms is None else sample_actions(logits, uniforms.to(logits.device))
    actions: Ints = chosen.cpu().numpy()
    return actions


class _Noise:
    """One uniform number an agent and step, from each round's own stream: a death shifts nobody's numbers."""

    def __init__(self, seed: int, name: str, rounds: Sequence[int], size: int) -> None:
        self.streams = [stream(seed, name, r) for r in rounds]
        self.numbers = np.zeros((len(rounds), size), np.float32)

    def draw(self, seen: Observation, active: Bools) -> Tensor:
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

    def rounds(self, game: Game, swap: Bools) -> list[Round]:
        own, foe = game.alive.T
        killed = [team.size - alive for team, alive in zip(game.teams, (own, foe), strict=True)]
        return [
            Round(
                round=int(self.numbers[r]),
                win=bool(own[r] > foe[r]),
                draw=bool(own[r] == foe[r]),
                kills=int(killed[1][r]),
                losses=int(killed[0][r]),
                reward=float(self.reward[r]),
                steps=int(game.steps[r]),
                flip_rate=self.flips[r] / self.decisions[r] if self.decisions[r] else float("nan"),
                swapped=bool(swap[r]),
                attacked_steps=int(self.attacked_steps[r]),
            )
            for r in range(game.rounds)
        ]
