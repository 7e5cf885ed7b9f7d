"""Copies of an environment in processes: the same rounds, nothing left behind, and every failure a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces

from marlrobust.attacks import Threat
from marlrobust.attacks.gradient import PGD
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games import make_scenario
from marlrobust.games.broken import GameError
from marlrobust.games.check import check_game
from marlrobust.games.copies import Spread
from tests.test_pettingzoo import Small
from tests.test_processes import alive, children, wait_for

HERE = "tests.test_copies"
SPREAD = "pettingzoo:mpe2.simple_spread_v3"


def mortal() -> Small:
    return Small(spaces.Box(-1, 1, (18,)), spaces.Discrete(5), names="ant_0,ant_1,ant_2,bee_0", mortal=True)


class Falls(Small):
    """Fails in its second step."""

    def step(self, actions: Any) -> Any:
        if self.step_number == 1:
            raise OverflowError("too far")
        return super().step(actions)


def falls() -> Falls:
    return Falls(spaces.Box(-1, 1, (18,)), spaces.Discrete(5))


class Ends(Small):
    """Takes its process with it."""

    def step(self, actions: Any) -> Any:
        os._exit(3)


def ends() -> Ends:
    return Ends(spaces.Box(-1, 1, (18,)), spaces.Discrete(5))


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Linear(18, 5)


def rows(name: str, processes: int, rounds: int, **options: Any) -> list[str]:
    game = make_scenario(name, {"max_steps": 12, "processes": processes, **options}).make(rounds)
    attack = Adversary(PGD(threat=Threat(epsilon=0.3), steps=3), 2)
    policies = {role: network() for role in ("agent", "ant", "bee")}
    return [str(r) for r in play_rounds(game, policies, seed=1, adversary=attack)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options"), [(SPREAD, {}), (SPREAD, {"continuous_actions": True}), (f"{HERE}:mortal", {})]
)
def test_rounds_are_the_same_in_processes(name: str, options: dict[str, Any]) -> None:
    """Bit for bit, with deaths, success and vectors, in shares of two copies and of one."""
    assert rows(name, 2, rounds=3, **options) == rows(name, 1, rounds=3, **options)


def test_it_is_a_game_and_no_part_of_what_is_played() -> None:
    made = make_scenario(SPREAD, {"processes": "2", "max_steps": 10})
    check_game(made)
    assert "processes" not in made.model_dump_json()
    assert not children(os.getpid()) & {worker.process.pid for worker in _crew(made.make(2))}


def _crew(game: Any) -> Any:
    assert isinstance(game._copies, Spread)
    return game._copies.crew


def test_what_an_environment_raises_there_is_told_here() -> None:
    game = make_scenario(f"{HERE}:falls", {"processes": 2}).make(2)
    for _ in range(2):  # the next round finds new processes
        with pytest.raises(
            GameError, match=r"falls raises OverflowError in step 2 of the round with the seed \d+: too"
        ) as told:
            play_rounds(game, network(), seed=0)  # type: ignore[arg-type]
        assert 'raise OverflowError("too far")' in told.value.details
        assert not _crew(game)


def test_a_process_that_dies_is_told() -> None:
    game = make_scenario(f"{HERE}:ends", {"processes": 2}).make(2)
    with pytest.raises(UserError, match=r"a process that steps copies of tests.test_copies:ends died.*fewer processes"):
        play_rounds(game, network(), seed=0)  # type: ignore[arg-type]


LONG = f"""
import torch
from marlrobust.games import make_scenario
from marlrobust.evaluation.rollout import play_rounds
if __name__ == "__main__":
    game = make_scenario({SPREAD!r}, {{"max_steps": 100000, "max_cycles": 100000, "processes": 2}}).make(2)
    print("begun", flush=True)
    play_rounds(game, torch.nn.Linear(18, 5), seed=0)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_a_script(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "long.py").write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "long.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: len(children(process.pid)) >= 2)
    time.sleep(1)  # while the second is being started a signal may meet neither of them
    below = children(process.pid)
    process.send_signal(number)
    process.communicate(timeout=30)
    wait_for(lambda: not any(map(alive, below)), 20)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_no_process_outlives_an_evaluation_whose_workers_have_some(tmp_path: Path) -> None:
    words = f"attack --game {SPREAD} --policy {HERE}:network --agents 0,1,2,3 --rounds 40 --steps 2000 --workers 2"
    more = ["--game-option", "max_cycles=2000", "--game-option", "processes=2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "marlrobust", *words.split(), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(children(process.pid)) >= 6)
    below = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    wait_for(lambda: not any(map(alive, below)), 20)
