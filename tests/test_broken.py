"""A game that fails in the middle of a round is told in a sentence: which one, what it raised, when, and what to do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from gymnasium import spaces

from marlrobust.cli import main
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.evaluation.run import TRACE
from marlrobust.games import make_scenario
from marlrobust.games.broken import GameError, of_environment
from marlrobust.games.check import check_game
from marlrobust.games.magent.battle import Battle
from tests.test_pettingzoo import Small

HERE = "tests.test_broken"


class Falls(Small):
    """Divides by zero in its third step, or at reset."""

    def __init__(self, when: int = 3) -> None:
        super().__init__(spaces.Box(-1, 1, (4,)), spaces.Discrete(3))
        self.when = when

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed, options) if self.when else 1 // 0

    def step(self, actions: Any) -> Any:
        return super().step(actions) if self.step_number + 1 < self.when else 1 // 0


def falls() -> Falls:
    return Falls()


def never_starts() -> Falls:
    return Falls(0)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


SENTENCE = (
    rf"{HERE}:falls raises ZeroDivisionError in step 3 of the round with the seed \d+: integer .*check_game\(.*\)"
)


def test_in_python_it_is_a_sentence_with_its_cause() -> None:
    with pytest.raises(UserError, match=SENTENCE) as told:
        play_rounds(make_scenario(f"{HERE}:falls").make(2), network(), seed=0)  # type: ignore[arg-type]
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    with pytest.raises(UserError, match="never_starts raises ZeroDivisionError when it is reset with the seed 0"):
        make_scenario(f"{HERE}:never_starts").make(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_on_the_command_line_its_traceback_is_in_a_file(workers: int, tmp_path: Path) -> None:
    """Also out of a worker process."""
    out = tmp_path / "out"
    command = f"attack --game {HERE}:falls --policy {HERE}:network --agents 0,1 --rounds 1 --workers {workers}"
    told = CliRunner().invoke(main, [*command.split(), "--out", str(out)])
    assert told.exit_code == 2
    said = " ".join(told.output.split())
    assert "falls raises ZeroDivisionError in step 3" in said
    assert "Traceback" not in said
    assert "1 // 0" in (out / TRACE).read_text()


def test_a_game_of_ours_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever class it is."""
    made = Battle(map_size=16, max_steps=5).make(1)

    def fails(actions: Any) -> Any:
        raise KeyError("where")

    monkeypatch.setattr(made, "step", fails)
    policy = torch.nn.Linear(1217, 21)
    with pytest.raises(UserError, match=r"MagentGame raises KeyError in step 1: 'where'.*check_game on it"):
        play_rounds(made, policy, policy, seed=0)  # type: ignore[arg-type]


def test_check_game_tells_it_among_the_faults() -> None:
    with pytest.raises(UserError, match=r"cannot be played: it raises ZeroDivisionError in step 3"):
        check_game(make_scenario(f"{HERE}:falls"))


def test_it_comes_whole_through_a_pipe() -> None:
    made = of_environment("mine:make", ValueError("a\nb"), "in step 1")
    again = pickle.loads(pickle.dumps(made))  # as multiprocessing does
    assert isinstance(again, GameError)
    assert (str(again), again.fault, again.details) == (str(made), made.fault, made.details)
    assert "\n" not in str(made)
