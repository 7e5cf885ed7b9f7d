"""Teams of several kinds of agents: each kind has its own policy, and all of them are one team."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marlrobust.attacks import Attack, Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.victims import CriticalVictims, NearestVictims, draw_victims
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import plan
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.run import evaluate
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.games import SCENARIOS
from marlrobust.games.game import Decisions, Game
from marlrobust.games.scenario import roles_of, team_numbers
from marlrobust.policies.card import Card
from marlrobust.policies.checkpoint import save_policy
from marlrobust.policies.library import Library
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.rows import Round
from marlrobust.streams import stream
from marlrobust.training.run import prepare
from marlrobust.training.settings import AdversarySettings, train_settings
from tests.conftest import TINY

ROUNDS, SEED = 3, 4
SIZES = {"melee": (2219, 9), "ranged": (2235, 25)}
SMALL: dict[str, Any] = {"map_size": 16, "max_steps": 25}  # 3 melee and 3 ranged soldiers on each side


def arms(rounds: int = ROUNDS) -> Game:
    return resolve(SCENARIOS["combined_arms"], SMALL).make(rounds)


def made(role: str, seed: int = 0) -> MeanFieldPolicy:
    torch.manual_seed(seed)
    policy = MeanFieldPolicy(*SIZES[role], hidden=16, embedding=8)
    with torch.no_grad():
        policy.actor.out.weight *= 20  # decisions that differ
    return policy


POLICIES = {role: made(role) for role in SIZES}


def outcome(rounds: list[Round]) -> list[tuple[object, ...]]:
    return [(r.win, r.kills, r.losses, r.reward, r.steps) for r in rounds]


def play(adversary: Adversary | None = None, **how: Any) -> list[Round]:
    return play_rounds(arms(), POLICIES, POLICIES, seed=SEED, adversary=adversary, **how)


class Seen(Observer):
    """Who is attacked in each step: (step, group, round, agent)."""

    def __init__(self) -> None:
        self.attacks: list[tuple[int, int, int, int]] = []

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        rows = zip(decisions.step.tolist(), decisions.round.tolist(), decisions.agent.tolist(), strict=True)
        self.attacks += [(step, decisions.group, r, agent) for step, r, agent in rows]


@dataclass(frozen=True, kw_only=True)
class Moved(Attack):
    """Moves every feature by epsilon."""

    def move(self, policy: object, decisions: Decisions, rng: torch.Generator) -> Tensor:
        return decisions.dense + self.threat.epsilon


@pytest.mark.parametrize("team", [0, 1])
def test_victims_are_drawn_from_all_kinds_of_the_team(team: int) -> None:
    """The count is the team's, and the agents are numbered through its groups."""
    seen = Seen()
    play(Adversary(Moved(threat=Threat(epsilon=0.5)), 4), tested=(team,), observers=[seen])
    first = {(group, r, agent) for step, group, r, agent in seen.attacks if step == 0}
    drawn = {
        (2 * team + i // 3, r, i % 3)
        for r in range(ROUNDS)
        for i in draw_victims(4, 6, stream(SEED, "victims", r)).tolist()
    }
    assert first == drawn
    assert {group for group, _, _ in first} == {2 * team, 2 * team + 1}


def test_nobody_attacked_or_no_epsilon_is_the_clean_round() -> None:
    clean = outcome(play())
    for count, epsilon in ((0, 0.5), (6, 0.0)):
        assert outcome(play(Adversary(PGD(threat=Threat(epsilon=epsilon), steps=2), count))) == clean
    assert outcome(play(Adversary(Moved(threat=Threat(epsilon=0.5)), 6))) != clean


def test_an_attack_may_differ_by_role() -> None:
    """One that moves nothing leaves its role alone, and a step with both is one attacked step."""
    idle, moved = Moved(threat=Threat(epsilon=0.0)), Moved(threat=Threat(epsilon=0.5))
    both = play(Adversary({"melee": moved, "ranged": moved}, 6))
    assert outcome(both) == outcome(play(Adversary(moved, 6)))
    assert all(r.attacked_steps == r.steps for r in both)
    assert outcome(play(Adversary({"melee": idle, "ranged": moved}, 6))) != outcome(both)
    with pytest.raises(UserError, match="no attack for the role 'ranged'"):
        play(Adversary({"melee": moved}, 6))


@pytest.mark.parametrize("victims", [NearestVictims(), CriticalVictims()])
def test_strategies_weigh_all_kinds_together(victims: Any) -> None:
    seen = Seen()
    play(Adversary(Moved(threat=Threat(epsilon=0.5)), 3, victims), observers=[seen])
    first = [(r, group, agent) for step, group, r, agent in seen.attacks if step == 0]
    assert np.bincount([r for r, _, _ in first]).tolist() == [3] * ROUNDS


def test_both_teams_may_be_under_test() -> None:
    """Then nobody is an opponent, and the game says nothing of who won."""
    seen = Seen()
    rounds = play_rounds(
        arms(), POLICIES, seed=SEED, tested=(0, 1), adversary=Adversary(Moved(threat=Threat()), 12), observers=[seen]
    )
    assert {group for _, group, _, _ in seen.attacks} == {0, 1, 2, 3}
    assert all(r.win is None and r.kills is None for r in rounds)
    with pytest.raises(UserError, match="this game has none"):
        play_rounds(
            arms(), POLICIES, seed=SEED, tested=(0, 1), adversary=Adversary(Moved(threat=Threat()), 2, NearestVictims())
        )


def test_what_one_team_wins_the_other_loses() -> None:
    policies = {"melee": made("melee", 1), "ranged": made("ranged", 1)}
    red, blue = (
        play_rounds(
            resolve(SCENARIOS["combined_arms"], {**SMALL, "max_steps": 80}).make(4), p, q, seed=1, tested=(team,)
        )
        for team, p, q in ((0, policies, policies), (1, policies, policies))
    )
    assert sum(r.kills or 0 for r in (*red, *blue)) > 0
    for r in (*red, *blue):
        assert r.win == ((r.kills or 0) > (r.losses or 0))


def test_a_role_without_a_policy_is_told() -> None:
    with pytest.raises(UserError, match="no policy for the role 'ranged'"):
        play_rounds(arms(), {"melee": POLICIES["melee"]}, POLICIES, seed=SEED)
    with pytest.raises(UserError, match="no opponent for the role 'melee'"):
        play_rounds(arms(), POLICIES, seed=SEED)


def test_teams_have_names_and_numbers() -> None:
    teams = SCENARIOS["tiger_deer"].teams
    assert team_numbers(teams, ()) == (0,)
    assert team_numbers(teams, ("deer", "tigers", "deer")) == (0, 1)
    assert (roles_of(teams, (0,)), roles_of(teams, (0,), others=True)) == (("tiger",), ("deer",))
    assert roles_of(SCENARIOS["combined_arms"].teams, (0, 1)) == ("melee", "ranged")
    with pytest.raises(UserError, match="no team 'lions' in this game: give one of tigers, deer"):
        team_numbers(teams, ("lions",))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A runs folder with two teams of combined arms."""
    for seed, name in enumerate(("mfac", "a2c")):
        for role in SIZES:
            policy = made(role, seed)
            card = Card(
                method=name, scenario="combined_arms", role=role, shape=policy.shape.model_dump(),
                seed=seed, rounds=1, planned_rounds=1, seconds=0.0,
            )  # fmt: skip
            save_policy(tmp_path / "combined_arms" / name, policy, card)
    return tmp_path


def settings(**layer: Any) -> SweepSettings:
    small = {"scenario": "combined_arms", "game": SMALL, "rounds": 2, "agents": (0, 4)}
    return resolve(SweepSettings, small, {"attacks": [{"name": "pgd", "parameters": {"steps": 2}}]}, layer)


def test_a_team_is_one_folder_with_a_policy_for_each_role(stored: Path) -> None:
    library = Library(stored)
    (team,) = library.choose(["mfac"], settings().roles())
    assert sorted(team.load()) == ["melee", "ranged"]
    (other,) = library.choose(["a2c"], settings().roles())
    assert len({team.hash, other.hash, *(p.card.hash for p in team.policies)}) == 4
    (stored / "combined_arms" / "mfac" / "ranged.safetensors").unlink()
    assert library.team("mfac", "combined_arms", ("melee", "ranged")) is None
    assert [t.name for t in library.tested("combined_arms", ("melee", "ranged"))] == ["a2c"]
    with pytest.raises(UserError, match="there is no policy 'mfac'"):
        library.choose(["mfac"], settings().roles())


@pytest.mark.parametrize(("team", "name"), [((), "red"), (("blue",), "blue"), (("blue", "red"), "red+blue")])
def test_rows_say_which_team_was_under_test(stored: Path, team: tuple[str, ...], name: str) -> None:
    done = evaluate(settings(team=team), Library(stored), stored / "out", command="", say=lambda sentence: None)
    rows = done.rows
    alone = len(team) < 2
    assert rows["team"].unique().tolist() == [name]
    assert rows["team_size"].unique().tolist() == [6 if alone else 12]
    assert rows["opponent"].unique().tolist() == ["a2c" if alone else ""]
    assert rows["win"].notna().all() == alone
    attacked = rows[rows["attacked_agents"] == 4]
    assert (attacked["decisions"] > 0).all()
    assert (attacked["probe_states"] > 0).all()
    assert json.loads(attacked["attack_parameters"].iloc[0])["steps"] == 2


def test_parts_of_a_state_are_masked_in_each_role(stored: Path) -> None:
    library = Library(stored)
    planned = plan(settings(features="view"), library.choose(["mfac"], settings().roles()), library)
    (cell,) = (cell for cell in planned.cells if cell.attacks)
    sizes = {role: len(attack.threat.features or ()) for role, attack in cell.attacks.items()}
    assert sizes == {role: d for role, (d, _) in SIZES.items()}


def test_an_adversary_learns_against_one_role(stored: Path) -> None:
    asked = {"scenario": "combined_arms", "against": "mfac", "game": SMALL}
    with pytest.raises(UserError, match="trained for one role"):
        prepare(resolve(AdversarySettings, asked), runs=stored)


def test_each_role_of_a_team_learns(tmp_path: Path) -> None:
    small = {k: v for k, v in TINY.items() if k != "game"} | {"batch_size": 32}
    told = {**small, "scenario": "combined_arms", "game": SMALL, "method": "mfac"}
    ready = prepare(train_settings({}, told), runs=tmp_path)
    before = {r: [p.clone() for p in s.learner.policy.parameters()] for r, s in ready.trainer.students.items()}
    ready.trainer.run()
    assert sorted(before) == ["melee", "ranged"]
    for role, student in ready.trainer.students.items():
        assert any(
            not torch.equal(a, b) for a, b in zip(before[role], student.learner.policy.parameters(), strict=True)
        )
    (team,) = Library(tmp_path).choose([], settings().roles())
    assert (team.name, team.card.rounds) == ("mfac", 16)


def test_a_policy_of_another_game_plays_where_it_fits(tmp_path: Path) -> None:
    """Battle's soldiers are battlefield's; a policy that sees something else is refused before a round is played."""
    library, asked = (
        Library(tmp_path),
        {"scenario": "battlefield", "rounds": 1, "agents": (0,), "game": {"max_steps": 3}},
    )
    sweep = resolve(SweepSettings, asked)
    (found,) = library.choose(["zoo:battle/mfac"], sweep.roles())
    (cell,) = plan(sweep, [found], library).cells
    assert (found.scenario, cell.policy.full_name) == ("battlefield", "zoo:battle/mfac")
    assert cell.opponent is not None
    assert cell.opponent.full_name == "zoo:battle/a2c"
    torch.manual_seed(0)
    small = MeanFieldPolicy(7, 21, hidden=8, embedding=8)
    card = Card(
        method="mfac", scenario="battlefield", role="soldier", shape=small.shape.model_dump(),
        seed=0, rounds=1, planned_rounds=1, seconds=0.0,
    )  # fmt: skip
    save_policy(tmp_path / "battlefield" / "mine", small, card)
    with pytest.raises(UserError, match="takes states of 7 numbers, a soldier here sees 1217"):
        plan(sweep, library.choose(["mine"], sweep.roles()), library)
