"""Policies that a user brings to the command line: by a name in Python, or in a file of another library."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.errors import UserError
from marlrobust.policies.brought import BroughtPolicy, brought, is_brought
from marlrobust.policies.library import Library

GAME = "pettingzoo:mpe2.simple_spread_v3"
MODULE = """
import torch
from torch import nn
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(18, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))
each = [network, nn.Linear(18, 5), network]
roles = {"agent": network, "other": nn.Linear(3, 5)}
class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)  # made anew by every process: it must be the same
        self.cell, self.out = nn.GRUCell(18, 8), nn.Linear(8, 5)
    def initial_memory(self, n):
        return torch.zeros(n, 8)
    def step(self, states, memory):
        memory = self.cell(states, memory)
        return self.out(memory), memory
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.before = 0.0
    def forward(self, states):
        self.before += 1
        return network(states) + self.before * torch.arange(5)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of policies, where one stands."""
    (tmp_path / "mine_here.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine_here", None)
    return tmp_path


def run(*arguments: str) -> str:
    """What a command prints; 2 is the code of a user's mistake."""
    pytest.importorskip("mpe2")
    done = CliRunner().invoke(main, [*arguments])
    assert done.exit_code in (0, 2), done.output
    return done.output


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["network", "each", "Gated"])
def test_any_game_is_played_by_a_policy_that_is_named(mine: Path, name: str) -> None:
    small = ("--rounds", "2", "--agents", "0,2", "--workers", "1", "--out", "out")
    output = run("attack", "--game", GAME, "--policy", f"mine_here:{name}", *small)
    rows = pd.read_csv(mine / "out" / "rows.csv")
    assert set(rows["policy"]) == {f"mine_here:{name}"}
    assert set(rows["method"]) == set(rows["policy"])
    assert len(rows) == 4
    assert rows["flips"].sum() > 0
    assert (mine / "out" / "report.html").is_file()
    assert "win" not in output


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("mine_here:Hidden", "remembers what it was asked"),
        ("mine_here:networt", "there is no policy 'networt' in mine_here: did you mean 'network'"),
        ("no_such_module:net", "there is no module no_such_module"),
        ("model.zip", "give --trust"),
        ("model.pt", "can run any code"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_played_is_told_in_a_sentence(mine: Path, policy: str, words: str) -> None:
    for name in ("model.zip", "model.pt"):
        (mine / name).write_bytes(b"")
    output = run("attack", "--game", GAME, "--policy", policy, "--rounds", "1", "--workers", "1", "--agents", "0")
    assert words.lower() in " ".join(output.split()).lower()
    assert "Traceback" not in output


def test_without_a_game_nobody_knows_which_is_meant(mine: Path) -> None:
    assert "say which one by --game" in run("attack", "--policy", "mine_here:network")


def test_a_hash_follows_weights_and_code(mine: Path) -> None:
    first = brought("mine_here:network", GAME, "agent", False).card.hash
    assert brought("mine_here:network", GAME, "agent", False).card.hash == first
    with torch.no_grad():
        sys.modules["mine_here"].network[0].weight[0, 0] += 1e-6
    second = brought("mine_here:network", GAME, "agent", False).card.hash
    (mine / "mine_here.py").write_text(MODULE + "# changed\n")
    third = brought("mine_here:network", GAME, "agent", False).card.hash
    assert len({first, second, third}) == 3
    assert brought("mine_here:each", GAME, "agent", False).card.hash != third


def test_roles_have_their_own(mine: Path) -> None:
    team = Library(mine).team("mine_here:roles", GAME, ["agent", "other"], of_any_game=True)
    assert team is not None
    assert {role: type(p).__name__ for role, p in team.load().items()} == {"agent": "Sequential", "other": "Linear"}
    with pytest.raises(UserError, match="none for the role 'tank'"):
        brought("mine_here:roles", GAME, "tank", False)


def test_our_own_names_are_not_taken_for_others(mine: Path) -> None:
    assert not any(map(is_brought, ("romfac", "zoo:battle/romfac", "runs/battle/mfac", "battle/mfac", ".")))
    assert is_brought("mine_here:network")
    assert not isinstance(Library(mine).find("zoo:battle/mfac", "battle", "soldier"), BroughtPolicy)


def test_weights_that_differ_in_each_process_are_refused(mine: Path) -> None:
    """Three processes would play three policies under one name."""
    (mine / "drawn_here.py").write_text("from torch import nn\nnetwork = nn.Linear(18, 5)\n")
    stored = brought("drawn_here:network", "pettingzoo:mpe2.simple_spread_v3", "agent", trust=False)
    assert stored.load() is stored.load()
    sys.modules.pop("drawn_here")  # as in another process
    with pytest.raises(UserError, match="another policy each time"):
        stored.load()
    sys.modules.pop("drawn_here")


TRAINED = """
import torch
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(18, 256), torch.nn.ReLU(), torch.nn.Linear(256, 5))
optimizer = torch.optim.Adam(network.parameters(), 1e-2)
for _ in range(20):
    optimizer.zero_grad()
    network(torch.randn(512, 18)).square().mean().backward()
    optimizer.step()
"""


def test_what_is_trained_on_the_way_is_the_same_in_every_process(mine: Path) -> None:
    """Whatever threads a process has: sums of several add up to other weights."""
    (mine / "trained_here.py").write_text(TRAINED)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        stored = brought("trained_here:network", "pettingzoo:mpe2.simple_spread_v3", "agent", trust=False)
        assert torch.get_num_threads() == 2
        sys.modules.pop("trained_here")
        torch.set_num_threads(1)
        stored.load()
    finally:
        torch.set_num_threads(threads)
        sys.modules.pop("trained_here")


def test_a_file_of_python_is_told_how_to_name_what_it_holds(mine: Path) -> None:
    with pytest.raises(UserError, match="did you mean mine_here:NAME"):
        Library().find("mine_here.py", "battle", "soldier")


def test_a_brought_game_s_missing_policies_are_to_be_brought_too(mine: Path) -> None:
    """Not trained by a method for other games."""
    tag = ("--game", "pettingzoo:mpe2.simple_tag_v3", "--game-option", "sides={a: [adversary], b: [agent]}")
    for output in (run("attack", *tag), run("attack", *tag, "--policy", "mine_here:network", "--workers", "1")):
        words = " ".join(output.split())
        assert "MODULE:ATTRIBUTE (a policy, or a dict from each role to its own)" in words
        assert "train --learner ippo --game pettingzoo:mpe2.simple_tag_v3" in words


def test_one_policy_for_two_roles_is_told_by_the_role_that_it_does_not_fit(mine: Path) -> None:
    game = ("--game", "pettingzoo:mpe2.simple_tag_v3", "--rounds", "1", "--agents", "0", "--workers", "1")
    output = " ".join(run("attack", *game, "--policy", "mine_here:network").split())
    told = r"the policy of the role '(adversary|agent)' \(a dict gives each role a policy of its own\) fails when it is"
    assert re.search(told, output)
