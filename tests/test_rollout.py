"""An attacked round is its clean pair but for what the victims see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marlrobust.attacks import Attack, Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.victim_search import FixedVictims
from marlrobust.attacks.victims import CriticalVictims, NearestVictims
from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Decisions
from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.engine import MagentGame
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.rows import Round

ROUNDS, SEED = 5, 3


@pytest.fixture(scope="module")
def policy(runs: Path) -> MeanFieldPolicy:
    loaded: MeanFieldPolicy = load_policy(runs / "battle" / "mfac" / "soldier.safetensors", scenario="battle")[0]
    return loaded


@pytest.fixture(scope="module")
def other() -> MeanFieldPolicy:
    torch.manual_seed(5)
    return MeanFieldPolicy(1217, 21, hidden=16, embedding=8)


@pytest.fixture
def game() -> MagentGame:
    return Battle(map_size=16, max_steps=50, attack_penalty=0.0).make(ROUNDS)


def text(rounds: list[Round]) -> list[str]:
    return [str(r) for r in rounds]


def unattacked(rounds: list[Round]) -> list[tuple[object, ...]]:
    return [(r.win, r.draw, r.kills, r.losses, r.reward, r.steps) for r in rounds]


@dataclass(frozen=True, kw_only=True)
class Watched(Attack):
    """Moves every feature by epsilon, and keeps what it was shown."""

    seen: list[Tensor]

    def move(self, policy: object, decisions: Decisions, rng: torch.Generator) -> Tensor:
        self.seen.append(decisions.dense.clone())
        return decisions.dense + self.threat.epsilon


def watched(epsilon: float = 0.5) -> Watched:
    return Watched(threat=Threat(epsilon=epsilon), seen=[])


def test_the_same_seed_repeats_a_round(game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    attack = PGD(threat=Threat(), steps=2, start="uniform")
    first, second = (play_rounds(game, policy, other, seed=SEED, adversary=Adversary(attack, 3)) for _ in range(2))
    assert text(first) == text(second)
    assert text(first) != text(play_rounds(game, policy, other, seed=SEED + 1, adversary=Adversary(attack, 3)))


@pytest.mark.parametrize(("count", "epsilon"), [(0, 0.075), (6, 0.0)])
def test_no_victims_or_no_epsilon_is_the_clean_round_bit_for_bit(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy, count: int, epsilon: float
) -> None:
    clean = play_rounds(game, policy, other, seed=SEED)
    attack = PGD(threat=Threat(epsilon=epsilon), steps=2, start="uniform")
    attacked = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(attack, count))
    assert unattacked(attacked) == unattacked(clean)
    assert all(r.flips == 0 and r.decisions > 0 for r in attacked if count)


def test_an_attack_changes_the_round(game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    clean = play_rounds(game, policy, other, seed=SEED)
    assert unattacked(play_rounds(game, policy, other, seed=SEED, adversary=Adversary(watched(), 6))) != unattacked(
        clean
    )


class Spy:
    """The policy that shows which states it was asked about, after two calls that look for a hidden memory."""

    def __init__(self, policy: MeanFieldPolicy) -> None:
        self.policy, self.calls = policy, list[Tensor]()

    def logits(self, decisions: Decisions) -> Tensor:
        self.calls.append(decisions.dense.clone())
        return self.policy.logits(decisions)

    @property
    def played(self) -> list[Tensor]:
        """The states of the rounds."""
        return self.calls[2:]


def test_only_the_victims_states_are_changed_and_the_dead_are_never_attacked(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    """The attack is shown two living agents a round at most; the policy sees them, moved, and nobody else."""
    attack, spy = watched(), Spy(policy)
    play_rounds(game, spy, other, seed=SEED, adversary=Adversary(attack, 2))
    clean, moved = spy.played[0::2], spy.played[1::2]
    assert len(attack.seen) == len(moved) > 0
    for all_states, victims, perturbed in zip(clean, attack.seen, moved, strict=False):
        assert len(victims) <= 2 * ROUNDS
        rows = {row.numpy().tobytes() for row in all_states}
        assert all(row.numpy().tobytes() in rows for row in victims)
        assert torch.equal(perturbed, victims + 0.5)
    assert len(attack.seen[0]) == 2 * ROUNDS


def test_victims_die_and_are_dropped(fighters: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    """Every agent of the losing team is a victim: just its living ones are shown, step by step."""
    arena = Battle(map_size=16, max_steps=100).make(4)
    attack, spy = watched(0.0), Spy(other)
    rounds = play_rounds(arena, spy, fighters, seed=0, adversary=Adversary(attack, 6))
    assert sum(r.losses or 0 for r in rounds) > 5
    assert [len(states) for states in attack.seen] == [len(states) for states in spy.played]
    assert len(attack.seen[-1]) < len(attack.seen[0]) == 6 * 4


def test_smaller_counts_are_part_of_larger_ones(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    first = {}
    for count in (2, 4):
        attack = watched()
        play_rounds(game, policy, other, seed=SEED, adversary=Adversary(attack, count))
        first[count] = {row.numpy().tobytes() for row in attack.seen[0]}
    assert first[2] < first[4]


def test_a_budget_ends_the_attack_of_each_round(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    attack = watched()
    rounds = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(attack, 2, budget=3))
    assert [r.attacked_steps for r in rounds] == [3] * ROUNDS
    assert len(attack.seen) == 3
    free = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(watched(), 2))
    assert all(3 < r.attacked_steps <= r.steps for r in free)
    enough = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(watched(), 2, budget=50))
    assert text(enough) == text(free)
    idle = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(watched(0.0), 2, budget=3))
    assert [r.attacked_steps for r in idle] == [0] * ROUNDS  # a step in which nothing is changed costs nothing


@dataclass(frozen=True, kw_only=True)
class Wavering(Watched):
    """Acts every second time it is asked."""

    def move(self, policy: object, decisions: Decisions, rng: torch.Generator) -> Tensor:
        moved = super().move(policy, decisions, rng)
        return moved if len(self.seen) % 2 else decisions.dense


def test_a_budget_counts_the_steps_at_which_the_attack_acts(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    attack = Wavering(threat=Threat(epsilon=0.5), seen=[])
    rounds = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(attack, 2, budget=3))
    assert [r.attacked_steps for r in rounds] == [3] * ROUNDS
    assert len(attack.seen) == 5


def test_victims_are_those_of_the_strategy_and_stay_so(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    """Rounds on the other side have its victims."""
    attack = watched()
    victims = FixedVictims(((0, 1), (5,)))
    rounds = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(attack, 2, victims))
    swapped = sum(r.swapped for r in rounds)
    assert 0 < swapped < ROUNDS
    assert len(attack.seen[0]) == 2 * (ROUNDS - swapped) + swapped


def test_the_nearest_stand_in_front(game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    """On a map of 16 each side starts as two columns of three: the three of the column in front are nearest."""
    front: list[set[bytes]] = []

    @dataclass(frozen=True)
    class Looking(NearestVictims):
        def choose(self, scene: Any) -> Any:
            mask = super().choose(scene)
            own, foes = scene.game.positions(0), scene.game.positions(1)
            gap = np.abs(own[:, None, 0] - foes[scene.game.observe(1).round == 0][None, :, 0]).min(1)
            (seen,) = scene.seen
            rows, chosen = seen.round == 0, mask[seen.round, seen.agent]
            assert gap[rows & chosen].max() <= gap[rows & ~chosen].min()
            assert own.shape == (6 * ROUNDS, 2)
            assert (own >= 0).all()
            assert (own < 16).all()
            front.append({p.tobytes() for p in own[rows]})
            return mask

    play_rounds(game, policy, other, seed=SEED, adversary=Adversary(watched(), 3, Looking()))
    assert len(front) == 1  # asked once
    assert len(front[0]) == 6


def test_critical_victims_are_chosen_among_the_living_at_each_step(
    fighters: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    """As long as two of a team live, two are attacked."""
    arena = Battle(map_size=16, max_steps=100).make(4)
    asked: list[tuple[int, int]] = []

    @dataclass(frozen=True)
    class Counted(CriticalVictims):
        def choose(self, scene: Any) -> Any:
            mask = super().choose(scene)
            living = np.bincount(scene.seen[0].round, minlength=4)
            asked.extend(zip(living.tolist(), mask.sum(1).tolist(), strict=True))
            return mask

    attack = PGD(threat=Threat(), steps=1)
    play_rounds(arena, other, fighters, seed=0, adversary=Adversary(attack, 2, Counted()))
    assert min(living for living, _ in asked if living) < 6
    assert all(chosen == min(living, 2) for living, chosen in asked)


def test_numbered_rounds_are_those_of_the_whole(
    game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy
) -> None:
    whole = play_rounds(game, policy, other, seed=SEED)
    two = play_rounds(
        Battle(map_size=16, max_steps=50, attack_penalty=0.0).make(2), policy, other, seed=SEED, numbers=[3, 1]
    )
    assert text(two) == text([whole[3], whole[1]])


def test_a_draw_is_no_win_and_all_rounds_count(policy: MeanFieldPolicy) -> None:
    """Nobody fights in three steps: every round that was started is a draw."""
    arena = Battle(map_size=16, max_steps=3).make(ROUNDS)
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
    arena = Battle(map_size=16, max_steps=20).make(2)
    rounds = play_rounds(arena, waiting, waiting, seed=SEED, greedy=True)
    assert [r.reward for r in rounds] == pytest.approx([-0.005 * 6 * 20] * 2, rel=1e-5)


def test_sides_are_swapped_at_random(policy: MeanFieldPolicy) -> None:
    rounds = play_rounds(Battle(map_size=16, max_steps=1).make(20), policy, policy, seed=SEED)
    assert 3 <= np.sum([r.swapped for r in rounds]) <= 17


class Odd:
    """A policy that answers with something else than one finite logit per action."""

    def __init__(self, n_actions: int, value: float) -> None:
        self.n_actions, self.value = n_actions, value

    def logits(self, decisions: Decisions) -> Tensor:
        return torch.full((len(decisions), self.n_actions), self.value)


@pytest.mark.parametrize(("n_actions", "value", "words"), [(5, 0.0, "5"), (21, float("nan"), "finite")])
def test_a_policy_with_odd_logits_is_refused(
    game: MagentGame, other: MeanFieldPolicy, n_actions: int, value: float, words: str
) -> None:
    """5 logits for 21 actions, or NaN, would be played as if they were decisions."""
    for sides in ((Odd(n_actions, value), other), (other, Odd(n_actions, value))):
        with pytest.raises(UserError, match=words):
            play_rounds(game, *sides, seed=SEED)


def test_decisions_keep_whose_they_are(game: MagentGame, policy: MeanFieldPolicy, other: MeanFieldPolicy) -> None:
    """An attack sees which round, agent and step each row is of, and an observer what was shown in its place."""
    seen: list[Decisions] = []

    class Looking(Observer):
        def attacked(self, decisions: Decisions, shown: Tensor) -> None:
            assert torch.equal(shown, decisions.dense + 0.5)
            seen.append(decisions)

    rounds = play_rounds(game, policy, other, seed=SEED, adversary=Adversary(watched(), 2), observers=[Looking()])
    assert [int(d.step[0]) for d in seen] == list(range(len(seen)))
    assert all((d.step == d.step[0]).all() for d in seen)
    for r in rounds:
        agents = {int(a) for d in seen for a in d.agent[d.round == r.round]}
        assert len(agents) == 2
        assert sum(int((d.round == r.round).sum()) for d in seen) == r.decisions
