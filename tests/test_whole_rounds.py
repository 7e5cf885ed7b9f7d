"""Proven rounds: no attack changes anything in them, and their share is counted as by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from marlrobust.attacks.victims import Scene, Victims
from marlrobust.cli import main
from marlrobust.evaluation.observer import Acted, Witness
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.evaluation.whole_rounds import _Proving
from marlrobust.games.game import Bools, Game
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.checkpoint import load_policy
from marlrobust.reports.whole_rounds import terminal, whole_rounds_figure, whole_rounds_table
from tests.test_attacks import TABLE, make

EPSILON = 0.03
ROUNDS = 4


@dataclass(frozen=True)
class Given(Victims):
    """The agents that are named: (R, size)."""

    mask: Any = None

    def choose(self, scene: Scene) -> Bools:
        mask: Bools = self.mask
        return mask


class Actions(Witness):
    """Every action of everybody, in the order of play."""

    def __init__(self) -> None:
        self.all: list[tuple[bytes, ...]] = []
        self.turned = 0

    def acted(self, game: Game, groups: Sequence[Acted]) -> None:
        self.all += [(g.round.tobytes(), g.agent.tobytes(), np.asarray(g.action).tobytes()) for g in groups]
        self.turned += sum(int(g.turned.sum()) for g in groups)


@pytest.fixture(scope="module")
def played(runs: Path) -> tuple[Any, Any, Bools, list[tuple[bytes, ...]], list[Any]]:
    """A team and its opponent; whose decisions are all proven in its greedy rounds, their actions, and their rows."""
    own, _ = load_policy(runs / "battle" / "mfac" / "soldier.safetensors")
    foe, _ = load_policy(runs / "battle" / "a2c" / "soldier.safetensors")
    actions, proving = Actions(), _Proving(own, EPSILON, 6)
    everyone = Adversary(make("random", {}, epsilon=0.0), 6)
    how: dict[str, Any] = {"seed": 5, "greedy": True, "adversary": everyone, "observers": [actions, proving]}
    rows = play_rounds(Battle(map_size=16, max_steps=30).make(ROUNDS), own, foe, **how)
    return own, foe, proving.proven, actions.all, rows


def test_some_agents_are_proven_and_some_are_not(played: Any) -> None:
    proven = played[2]
    assert 0 < proven.sum() < proven.size
    assert proven.any(1).all()


@pytest.mark.parametrize(("name", "parameters"), TABLE, ids=str)
def test_no_attack_changes_anything_in_a_proven_round(name: str, parameters: dict[str, Any], played: Any) -> None:
    """Action by action, and in what comes of them. `learned` and `transfer` are driven by the team's own network."""
    own, foe, proven, clean, rows = played
    parameters = {k: own if k in ("source", "adversary") else v for k, v in parameters.items()}
    adversary = Adversary(make(name, parameters, epsilon=EPSILON), 6, Given(proven))
    actions = Actions()
    how: dict[str, Any] = {"seed": 5, "greedy": True, "adversary": adversary, "observers": [actions]}
    attacked = play_rounds(Battle(map_size=16, max_steps=30).make(ROUNDS), own, foe, **how)
    assert actions.all == clean
    assert actions.turned == 0
    assert [r.reward for r in attacked] == [r.reward for r in rows]
    assert sum(r.attacked_steps for r in attacked) > 0 or name in ("timed", "targeted")


def test_a_strong_attack_on_the_others_does_change_their_rounds(played: Any) -> None:
    """So that the test above could fail."""
    own, foe, proven, clean, _ = played
    actions = Actions()
    adversary = Adversary(make("pgd", {"steps": 40}, epsilon=0.3), 6, Given(~proven))
    how: dict[str, Any] = {"seed": 5, "greedy": True, "adversary": adversary, "observers": [actions]}
    play_rounds(Battle(map_size=16, max_steps=30).make(ROUNDS), own, foe, **how)
    assert actions.all != clean


def rows_of(proven: list[int], agents: int) -> pd.DataFrame:
    about = {"scenario": "battle", "policy": "p", "method": "mfac", "opponent": "a2c", "epsilon": 0.01, "cell": "1"}
    return pd.DataFrame([about | {"round": i, "agents": agents, "proven_agents": g} for i, g in enumerate(proven)])


def test_the_share_is_that_of_all_sets_of_victims() -> None:
    """By going through all of them."""
    proven, agents = [5, 3, 0, 4], 5
    table = whole_rounds_table(rows_of(proven, agents))
    assert table["attacked_agents"].tolist() == [1, 2, 3, 4, 5]
    for k, share in zip(table["attacked_agents"], table["proven"], strict=True):
        of_each = [np.mean([max(some) < g for some in combinations(range(agents), k)]) for g in proven]
        assert share == pytest.approx(np.mean(of_each))
    assert table["any"].tolist() == [0.25] * 5
    assert ((table["low"] <= table["proven"]) & (table["proven"] <= table["high"])).all()
    assert table["proven"].is_monotonic_decreasing
    assert max(map(len, terminal(table).splitlines())) <= 80
    assert len(whole_rounds_figure(table).axes) == 1


def test_the_command_counts_them_and_keeps_what_is_stored(runs: Path, tmp_path: Path) -> None:
    arguments = ["certify", "--runs", str(runs), "--scenario", "battle", "--policy", "mfac", "--out", str(tmp_path)]
    arguments += ["--game-option", "map_size=16", "--steps", "10", "--rounds", "5", "--decisions", "4"]
    arguments += ["--attack", "random", "--eps", "0.0001,0.01", "--whole-rounds"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "share of rounds that are proven" in done.output
    table = pd.read_csv(tmp_path / "whole_rounds.csv")
    assert table["rounds"].tolist() == [5] * 12
    small, large = (table[table["epsilon"] == epsilon]["proven"].to_numpy() for epsilon in (0.0001, 0.01))
    assert (small >= large).all()
    assert small[0] > 0
    assert (tmp_path / "whole_rounds.png").exists()
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0, again.output
    assert "whole rounds" not in again.output.replace("whole_rounds", "")  # nothing was left to do
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "whole_rounds.csv"))
