"""Tabular games as a scenario, attacks against the optimal adversary, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from marlrobust.attacks import ATTACKS
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.victims import FirstVictims
from marlrobust.cli.theory import command
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games import SCENARIOS
from marlrobust.policies.library import Library
from marlrobust.theory import figures
from marlrobust.theory.battle import SmallBattle
from marlrobust.theory.examples import EXAMPLES
from marlrobust.theory.game import random_games
from marlrobust.theory.known import known
from marlrobust.theory.perturbation import optimal
from marlrobust.theory.policies import Shown, TablePolicy, shown
from marlrobust.theory.rounds import TabularGame
from marlrobust.theory.run import page, table, write
from marlrobust.theory.scenario import Tabular
from marlrobust.theory.teams import cost
from marlrobust.theory.theorems import one_of, theorem_2, theorem_3, theorem_4
from marlrobust.theory.truth import Victim, corners, learned, shares, targets, trained
from marlrobust.theory.values import adversaries, clean_values

WHOLE = Threat(epsilon=1.0)


def rewards(name: str, policy: str, attack: Shown | None, count: int, **settings: object) -> np.ndarray:
    """Rewards of 300 rounds."""
    player = TablePolicy(EXAMPLES[name].policies[policy])
    game = Tabular.model_validate({"example": name, **settings}).make(300)
    adversary = Adversary(attack, count, FirstVictims()) if attack else None
    return np.array([r.reward for r in play_rounds(game, player, player, seed=3, adversary=adversary)])


@pytest.mark.parametrize(("name", "policy"), [("door", "as in the clean game"), ("door", "both always push")])
def test_rounds_are_worth_the_exact_values(name: str, policy: str) -> None:
    example = EXAMPLES[name]
    mdp = adversaries(example.game, example.policies[policy])
    best = optimal(mdp)
    attack = Shown(threat=WHOLE, shown=shown(best.v, mdp.choices, 2))
    clean = clean_values(example.game, example.policies[policy])
    for who, exact in ((None, clean), (attack, best.values)):
        for start in (0, 1):
            found = rewards(name, policy, who, 2, start=start)
            assert abs(found.mean() - exact[:, start].sum()) < 4 * found.std() / np.sqrt(300) + 1e-3


def test_a_round_without_chance_is_exact_to_the_step() -> None:
    found = rewards("same_or_different", "equilibrium", None, 0, max_steps=30, discounted=False)
    assert (found == 60).all()  # both agents, every step
    truth = Shown(threat=WHOLE, shown=np.tile([1, 0], (2, 1)))
    assert (rewards("same_or_different", "equilibrium", truth, 2, max_steps=30, discounted=False) == 0).all()
    one = rewards("same_or_different", "equilibrium", truth, 1, max_steps=30, discounted=False)
    assert (one == 60).all()  # the first agent does not look at the state


def test_the_same_seed_repeats_and_rounds_end_by_chance() -> None:
    first, again = (rewards("door", "both always push", None, 0) for _ in range(2))
    assert (first == again).all()
    game = Tabular(example="door", max_steps=3).make(400)
    player = TablePolicy(EXAMPLES["door"].policies["both always push"])
    rounds = play_rounds(game, player, player, seed=0)
    cut = np.mean([r.cut for r in rounds])
    assert {r.steps for r in rounds} == {1, 2, 3}
    assert abs(cut - 0.5**3) < 4 * np.sqrt(0.125 * 0.875 / 400)


def test_a_game_shows_one_hot_states_and_agents() -> None:
    game = Tabular(example="three_states", start=2).make(2)
    seen = game.observe(0)
    assert seen.dense.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert len(game.groups) == 1
    assert isinstance(game, TabularGame)


@pytest.mark.parametrize(("settings", "word"), [({"example": "dor"}, "did you mean 'door'"), ({"start": 7}, "0 to 1")])
def test_settings_that_no_game_has_are_refused(settings: dict[str, object], word: str) -> None:
    with pytest.raises(UserError, match=word):
        Tabular.model_validate(settings).make(1)


@pytest.fixture(scope="module")
def victim() -> Victim:
    games, _ = random_games(np.random.default_rng(1), 1, agents=2, states=3, actions=3, attacked=2, gamma=0.9)
    return trained(one_of(games, 0), epsilon=0.5, temperature=0.3, seed=0)


def test_a_trained_victim_plays_well(victim: Victim) -> None:
    clean = victim.value(victim.table(victim.decisions.dense))
    uniform = victim.value(np.full((2, 3, 3), 1 / 3))
    assert clean > uniform + 1


def test_shares_of_the_optimum_are_at_most_one(victim: Victim) -> None:
    attacks = {name: ATTACKS[name](threat=victim.threat) for name in ("random", "pgd", "critic")}
    found = shares(victim, {**attacks, "learned": learned(victim, rounds=32)})
    assert found.worst < found.clean
    assert max(found.damage.values()) <= 1 + 1e-9
    assert found.damage["targets, mildest"] <= found.damage["targets, exact"] + 1e-9
    assert found.damage["random"] < found.damage["learned"]


def test_the_ball_obeys_the_threat_and_leaves_the_agents_their_names(victim: Victim) -> None:
    states = victim.decisions.dense
    for ball in (corners(victim), targets(victim)):
        moved = ball - states
        assert moved.abs().max() <= 0.5
        assert (moved[..., 3:] == 0).all()
    assert len(torch.unique(corners(victim)[:, 0], dim=0)) == 27


def test_nothing_is_lost_without_a_ball(victim: Victim) -> None:
    still = Victim(victim.game, victim.policy, Threat(epsilon=0.0, features=victim.threat.features))
    clean = still.value(still.table(still.decisions.dense))
    attacked, _ = still.attacked(ATTACKS["pgd"](threat=still.threat))
    assert still.value(attacked) == pytest.approx(clean)
    assert optimal(still.adversaries(corners(still)[:3])).values[0].mean() == pytest.approx(clean)


@pytest.fixture(scope="module")
def small() -> SmallBattle:
    library = Library()
    scenario = SCENARIOS["battle"].model_validate({"map_size": 12, "max_steps": 20})
    policy, opponent = (library.policy(f"zoo:battle/{n}", "battle", "soldier").load() for n in ("romfac", "a2c"))
    return SmallBattle(scenario, policy, opponent, Threat(), 7, 1, 2)


def test_a_small_battle_is_solved(small: SmallBattle) -> None:
    solution, clean = small.solve(), small.clean()
    assert solution.worst < clean
    again = small.play(1, lambda seen, step: np.full(len(seen), solution.actions[step]))
    assert again[0] == pytest.approx(solution.worst)
    for name in ("pgd", "critic"):
        assert small.under(ATTACKS[name](threat=small.threat)) >= solution.worst - 1e-6
    assert small.under(ATTACKS["pgd"](threat=Threat(epsilon=0.0))) == clean


def test_no_attack_costs_nothing_and_moves_nothing(small: SmallBattle) -> None:
    attack = ATTACKS["pgd"](threat=Threat(epsilon=0.0))
    found = cost(small.scenario, small.policy, small.opponent, attack, (1, 2), rounds=2, seed=0)
    assert [(c.variation, c.lost) for c in found] == [(0, 0), (0, 0)]
    moved = cost(small.scenario, small.policy, small.opponent, ATTACKS["pgd"](threat=Threat()), (2,), rounds=2, seed=0)
    assert 0 < moved[0].variation <= moved[0].largest <= 1 + 1e-6


def test_the_page_is_one_file_and_the_values_are_json(tmp_path: Path) -> None:
    sections = [known(), theorem_2(0, games=5), theorem_4(0, games=40)]
    stored, shown_page = write(sections, tmp_path)
    content = json.loads(stored.read_text())
    assert content["known"]["three_states"]["A1 with 0.9"]["attacked"][0] == pytest.approx(60.88, abs=0.005)
    text = shown_page.read_text()
    assert text.count("<svg") == 4
    assert not re.search(r"(src|href)=.http", text)
    assert "two_optima: values of its fixed points" in text
    assert "fails" in table(sections[1])
    assert page(sections) == page(sections)


def test_figures_come_from_stored_values_alone() -> None:
    values = json.loads(json.dumps(theorem_3().json()))
    assert values["door"]["proof"]["gain"] == 0.02
    assert "push, push: 1" in figures.svg(figures.game_graph("door"))


def test_the_command_says_what_it_does() -> None:
    done = CliRunner().invoke(command, ["--help"])
    assert done.exit_code == 0
    assert "theory.html" in done.output
