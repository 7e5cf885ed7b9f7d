"""What the settings of a training lead to: a grid around the presets, a training and a line each.

    python -m benchmarks.search

Trains into runs/search, one scenario a process, and goes on where it was interrupted; then plays what came of it on a
seed of its own, on which nothing is reported, and writes docs/reproduction-search.csv.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch

from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.threat import Threat
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.files import write_atomically
from marlrobust.games import SCENARIOS
from marlrobust.games.scenario import roles_of
from marlrobust.policies.library import Library

TRAINING_SEED, EVALUATION_SEED = 90, 12345
ROUNDS = 20
RUNS, RESULTS = Path("runs/search"), Path("docs/reproduction-search.csv")
SHARED: dict[str, dict[str, Any]] = {"battle": {"loop_rounds": 100}, "pursuit": {}}
"""Battle's loops are half as long as the preset's."""
LESS = {"mu_max": 0.15, "robust_entropy": 0.05}
GRID: dict[str, tuple[dict[str, Any], ...]] = {
    "battle": (
        {},
        {"mu_max": 0.3, "robust_entropy": 0.03},
        {"robust_replay_ratio": 1.0},
        {"gamma": 0.95},
    ),
    "pursuit": (
        {},
        {"method": "mfac"},
        {"robust_entropy": 0.05},
        {"attack_steps": 5},
        LESS,
        {**LESS, "epsilon": 0.1},
        {**LESS, "loop_rounds": 120},
    ),
}
"""What differs from the preset, RoMFAC's, in each training."""


def folder(scenario: str, changes: dict[str, Any]) -> Path:
    name = ",".join(f"{k}={v}" for k, v in changes.items())
    return RUNS / scenario / (name or "preset")


def train(scenario: str) -> None:
    """All trainings of a scenario, one after the other: the first leaves the others its rounds before M_norm."""
    for changes in GRID[scenario]:
        out = folder(scenario, changes)
        out.mkdir(parents=True, exist_ok=True)
        settings = {"scenario": scenario, "seed": TRAINING_SEED, **SHARED[scenario], **changes}
        asked = out / "asked.yaml"
        asked.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "marlrobust", "train", "--config", str(asked), "--out", str(out), "--resume"]
        click.echo(f"{out} ...", err=True)
        with open(out / "output.log", "a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)


def played(scenario: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The line of one training: played against the bundled opponent, clean and with the whole team attacked."""
    out = folder(scenario, changes)
    log = pd.read_csv(out / "train.csv")
    line: dict[str, Any] = {
        "scenario": scenario,
        "changed": json.dumps(changes),
        "trained_rounds": int(log["rounds"].iloc[-1]),
        "minutes": round(log["seconds"].iloc[-1] / 60, 1),
        "entropy": round(log["entropy"].tail(10).mean(), 3),
    }
    game = SCENARIOS[scenario]().make(ROUNDS)
    teams = SCENARIOS[scenario].teams
    own, foes = (roles_of(teams, (0,), others=others) for others in (False, True))
    policy = Library().policy(str(out), scenario, own[0]).load()
    opponent = Library().opponent("zoo:a2c", scenario, foes).load()
    whole = Adversary(PGD(threat=Threat()), game.groups[0].size)
    for name, adversary in (("clean", None), ("attacked", whole)):
        rounds = play_rounds(game, policy, opponent, seed=EVALUATION_SEED, adversary=adversary)
        wins = [r.win for r in rounds if r.win is not None]
        decisions = sum(r.decisions for r in rounds)
        line[f"win_{name}"] = round(float(np.mean(wins)), 3) if wins else np.nan
        line[f"reward_{name}"] = round(float(np.mean([r.reward for r in rounds])), 3)
        line[f"flip_rate_{name}"] = round(sum(r.flips or 0 for r in rounds) / decisions, 3) if decisions else np.nan
    return line


@click.command()
def main() -> None:
    """Train the grid, play what came of it, write the table."""
    torch.set_num_threads(1)
    with ThreadPoolExecutor() as pool:
        list(pool.map(train, GRID))
    lines = [played(scenario, changes) for scenario, grid in GRID.items() for changes in grid]
    table = pd.DataFrame(lines).assign(train_seed=TRAINING_SEED, seed=EVALUATION_SEED, rounds=ROUNDS)
    write_atomically(RESULTS, lambda temporary: table.to_csv(temporary, index=False))
    click.echo(table.to_string(index=False))


if __name__ == "__main__":
    main()
