"""An attacked round is its clean pair but for what the victims see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from marlrobust.attacks import Attack, Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.evaluation.rollout import Round, play_rounds
from marlrobust.games.magent import MagentGame, battle
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.networks import MeanFieldPolicy

ROUNDS, SEED = 5, 3


@pytest.fixture(scope="module")
def policy(runs: Path) -> MeanFieldPolicy:
    return load_policy(runs / "battle" / "mfac" / "soldier.safetensors", scenario="battle")[0]


@pytest.fixture(scope="module")
def other() -> MeanFieldPolicy:
    torch.manual_seed(5)
    return MeanFieldPolicy(1217, 21, hidden=16, embedding=8)


@pytest.fixture
def game() -> MagentGame:
    return battle(rounds=ROUNDS, map_size=16, max_steps=50, attack_penalty=0.0)


def text(rounds: list[Round]) -> list[str]:
    return [str(r) for r in rounds]


def unattacked(rounds: list[Round]) -> list[tuple[object, ...]]:
    return [(r.win, r.draw, r.kills, r.losses, r.reward, r.steps) for r in rounds]


@dataclass(frozen=True, kw_only=True)
class Watched(Attack):
    """Moves every feature by epsilon, and keeps what it was shown."""

    seen: list[Tensor]

    def perturb(self, policy: object, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        self.seen.append(states.clone())
        return states + self.threat.epsilon


def watched(epsilon: float = 0.5) -> Watched:
    return Watched(threat=Threat(epsilon=epsilon), seen=[])


def test_the_same_seed_repeats_a_round(game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    attack = PGD(threat=Threat(), steps=2, start="uniform")
    first, second = (play_rounds(game, policy, other, seed=SEED, attack=attack, count=3) for _ in range(2))
    assert text(first) == text(second)
    assert text(first) != text(play_rounds(game, policy, other, seed=SEED + 1, attack=attack, count=3))


@pytest.mark.parametrize(("count", "epsilon"), [(0, 0.075), (6, 0.0)])
def test_no_victims_or_no_epsilon_is_the_clean_round_bit_for_bit(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy, count: int, epsilon: float
) -> None:
    clean = play_rounds(game, policy, other, seed=SEED)
    attack = PGD(threat=Threat(epsilon=epsilon), steps=2, start="uniform")
    attacked = play_rounds(game, policy, other, seed=SEED, attack=attack, count=count)
    assert unattacked(attacked) == unattacked(clean)
    assert all(r.flip_rate == 0 for r in attacked if count)


def test_an_attack_changes_the_round(game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    clean = play_rounds(game, policy, other, seed=SEED)
    assert unattacked(play_rounds(game, policy, other, seed=SEED, attack=watched(), count=6)) != unattacked(clean)


class Spy:
    """The policy that shows which states it was asked about."""

    def __init__(self, policy: MeanFieldPolicy) -> None:
        self.policy, self.calls = policy, list[Tensor]()

    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        self.calls.append(states.clone())
        return self.policy.logits(states, mean_actions)


def test_only_the_victims_states_are_changed_and_the_dead_are_never_attacked(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    """The attack is shown two living agents a round at most; the policy sees them, moved, and nobody else."""
    attack, spy = watched(), Spy(policy)
    play_rounds(game, spy, other, seed=SEED, attack=attack, count=2)
    clean, moved = spy.calls[0::2], spy.calls[1::2]
    assert len(attack.seen) == len(moved) > 0
    for all_states, victims, perturbed in zip(clean, attack.seen, moved, strict=False):
        assert len(victims) <= 2 * ROUNDS
        rows = {row.numpy().tobytes() for row in all_states}
        assert all(row.numpy().tobytes() in rows for row in victims)
        assert torch.equal(perturbed, victims + 0.5)
    assert len(attack.seen[0]) == 2 * ROUNDS


def test_victims_die_and_are_dropped(fighters: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    """Every agent of the losing team is a victim: just its living ones are shown, step by step."""
    arena = battle(rounds=4, map_size=16, max_steps=100)
    attack, spy = watched(0.0), Spy(other)
    rounds = play_rounds(arena, spy, fighters, seed=0, attack=attack, count=6)
    assert sum(r.losses for r in rounds) > 10
    assert [len(states) for states in attack.seen] == [len(states) for states in spy.calls]
    assert len(attack.seen[-1]) < len(attack.seen[0]) == 6 * 4


def test_smaller_counts_are_part_of_larger_ones(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    first = {}
    for count in (2, 4):
        attack = watched()
        play_rounds(game, policy, other, seed=SEED, attack=attack, count=count)
        first[count] = {row.numpy().tobytes() for row in attack.seen[0]}
    assert first[2] < first[4]


def test_a_draw_is_no_win_and_all_rounds_count(policy: MeanFieldPolicy) -> None:
    """Nobody fights in three steps: every round that was started is a draw."""
    arena = battle(rounds=ROUNDS, map_size=16, max_steps=3)
    rounds = play_rounds(arena, policy, policy, seed=SEED)
    assert [r.round for r in rounds] == list(range(ROUNDS))
    assert all(r.draw and not r.win and r.kills == r.losses == 0 and r.steps == 3 for r in rounds)


def test_the_reward_is_the_teams_sum(policy: MeanFieldPolicy) -> None:
    """6 agents that only wait pay 0.005 a step."""
    with torch.no_grad():
        waiting = MeanFieldPolicy(1217, 21, hidden=8, embedding=4)
        waiting.actor.out.weight.zero_()
        waiting.actor.out.bias.zero_()
        waiting.actor.out.bias[6] = 50.0  # the middle of the 13 moves is to stay
    arena = battle(rounds=2, map_size=16, max_steps=20)
    rounds = play_rounds(arena, waiting, waiting, seed=SEED, greedy=True)
    assert [r.reward for r in rounds] == pytest.approx([-0.005 * 6 * 20] * 2, rel=1e-5)


def test_sides_are_swapped_at_random(policy: MeanFieldPolicy) -> None:
    rounds = play_rounds(battle(rounds=20, map_size=16, max_steps=1), policy, policy, seed=SEED)
    assert 3 <= np.sum([r.swapped for r in rounds]) <= 17
