"""Every example runs, and shows what it says that it shows."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from marlrobust.attacks import ATTACKS

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Runs an example as a script in an empty folder, and returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))  # what an example registers is forgotten

    def script(name: str) -> str:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return script


def numbers(output: str, after: str) -> list[float]:
    """Of each line, the number that stands after a word."""
    return [float(found) for found in re.findall(rf"{after} +(-?[\d.]+)", output)]


def test_more_attacked_agents_cost_a_team_more(run: Callable[[str], str]) -> None:
    rewards = numbers(run("attack_a_team"), "reward")
    assert len(rewards) == 3
    assert rewards == sorted(rewards, reverse=True)
    assert rewards[-1] < 0.6 * rewards[0]


@pytest.mark.parametrize("name", ["bring_a_game", "bring_a_policy", "wrap_your_loop"])
def test_a_foreign_game_and_policy_are_harmed_by_pgd(name: str, run: Callable[[str], str]) -> None:
    rewards = numbers(run(name), "reward")[-4:]
    assert rewards == sorted(rewards, reverse=True)
    assert rewards[-1] < rewards[0] - 10


def test_an_attack_of_one_s_own_beats_noise(run: Callable[[str], str]) -> None:
    noise, own, _ = numbers(run("write_an_attack"), "reward")
    assert own < noise - 100


def test_the_notebook_runs_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(EXAMPLES / "evaluate_and_plot.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "reward.png").stat().st_size > 0


def test_each_example_is_run() -> None:
    """A script that no test names would break unseen."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    for path in EXAMPLES.glob("*.*"):
        assert path.stem in tests, path
