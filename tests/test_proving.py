"""The share of proven decisions beside an attack: what intervals certify, and no attack turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.bounds import Prover, certify
from tests.test_bounds import batch, network

SMALL = ["--scenario", "battle", "--policy", "mfac", "--game-option", "map_size=16", "--steps", "10", "--rounds", "2"]


@pytest.mark.parametrize("mean_field", [True, False])
def test_it_says_what_certificates_by_intervals_say(mean_field: bool) -> None:
    net, (states, mean_actions) = network(20, mean_field=mean_field, hidden=24, scale=1.0), batch(300, 20)
    states[:, 5:] = 0  # compressed
    for epsilon in (0.0, 0.01, 0.05, 0.2):
        found = Prover(net, epsilon)(states, mean_actions)
        assert torch.equal(found, certify(net, states, mean_actions, epsilon).intervals)
        assert torch.equal(found, certify(net, states, mean_actions, epsilon, by="intervals").certified)
    assert 0 < Prover(net, 0.01)(states, mean_actions).float().mean() < 1


def test_networks_of_others_are_proven_too() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5), torch.nn.ReLU())
    net.append(torch.nn.Linear(5, 3))
    states = torch.randn(50, 6)
    prover = Prover(as_policy(net), 0.01)
    assert torch.equal(
        prover(states, torch.zeros(50, 0)), certify(as_policy(net), states, torch.zeros(50, 0), 0.01).intervals
    )


def attacked(runs: Path, out: Path, *more: str) -> pd.DataFrame:
    arguments = ["attack", *SMALL, "--runs", str(runs), "--out", str(out), "--workers", "1", *more]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return pd.read_csv(out / "rows.csv")


def test_proven_decisions_stand_beside_every_attacked_round(runs: Path, tmp_path: Path) -> None:
    rows = attacked(runs, tmp_path, "--agents", "0,3", "--eps", "0.0001,0.3", "--attack", "pgd", "--attack", "random")
    clean = rows["attacked_agents"] == 0
    assert rows["proven"].isna().equals(clean)
    sums = rows[~clean].groupby(["attack", "epsilon"])[["proven", "flips", "decisions"]].sum()
    assert (sums["proven"] + sums["flips"] <= sums["decisions"]).all()
    shares = {key: line for key, line in sums.iterrows()}
    for attack in ("pgd", "random"):
        small, large = (shares[attack, epsilon] for epsilon in (0.0001, 0.3))
        assert small["proven"] / small["decisions"] > large["proven"] / large["decisions"]
    table = pd.read_csv(tmp_path / "table.csv")
    line = table[(table["attack"] == "pgd") & (table["epsilon"] == 0.0001) & (table["attacked_agents"] == 3)].iloc[0]
    assert line["proven_rate"] == pytest.approx(shares["pgd", 0.0001]["proven"] / line["decisions"])


@pytest.mark.parametrize("threat", [["--norm", "l_2"], ["--features", "view"]])
def test_where_nothing_is_proven_nothing_is_said(threat: list[Any], runs: Path, tmp_path: Path) -> None:
    rows = attacked(runs, tmp_path, "--agents", "3", "--attack", "random", *threat)
    assert rows["proven"].isna().all()
    assert "proven_rate" not in pd.read_csv(tmp_path / "table.csv")
