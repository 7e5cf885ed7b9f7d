"""What settings of the training lead to: policies trained by `marlrobust train --config`, played on the search's seed.

    python -m benchmarks.search --opponent runs/search/a2c runs/search/A/battle/romfac ...

Appends to docs/reproduction-search.csv a line a policy: what its settings have that the presets have not, and what
came of it. The seed is the search's own: what is reported is played on others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch

from marlrobust import config
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.evaluation.sweep import make_attack
from marlrobust.files import write_atomically
from marlrobust.games.scenarios import make_game
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.runs import find

SEED = 12345
RESULTS = Path("docs/reproduction-search.csv")


def played(policy: Path, opponent: Path, counts: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """The line of one policy: `<measure>_<count>` for each count of attacked agents."""
    trained = config.resolve(config.TrainSettings, config.load(policy / "config.yaml"))
    scenario = trained.game.scenario
    settings = config.SweepSettings()
    log = pd.read_csv(policy / "train.csv")
    line: dict[str, Any] = {
        "scenario": scenario,
        "method": trained.method,
        "seed": trained.seed,
        "settings": json.dumps(_changed(trained)),
        "rounds_trained": int(log["rounds"].iloc[-1]),
        "minutes": round(log["seconds"].iloc[-1] / 60, 1),
        "entropy": round(log["entropy"].tail(10).mean(), 3),
    }
    for count in counts:
        game = make_game(settings.game(scenario), rounds)
        sides = []
        for folder, team, other in zip((policy, opponent), game.teams, (False, True), strict=True):
            stored = find(str(folder), Path(), scenario, opponent=other)
            assert stored is not None, folder
            sides.append(load_policy(stored.path, scenario=scenario, role=team.role)[0])
        attack = make_attack(settings.attacks[0], settings.norm, settings.epsilons[0], "all", game.teams[0])
        came = play_rounds(game, *sides, seed=SEED, attack=attack, count=count)
        for name in ("win", "kills", "reward", "steps", "flip_rate"):
            line[f"{name}_{count}"] = round(float(np.mean([getattr(r, name) for r in came])), 3)
    return line


def _changed(trained: config.TrainSettings) -> dict[str, Any]:
    """The settings that are not the preset's."""
    scenario = trained.game.scenario
    game = {"game": {"scenario": scenario}, "method": trained.method, "seed": trained.seed}
    preset = config.resolve(config.TrainSettings, config.PRESETS[scenario], game)
    usual = preset.model_dump(mode="json")
    return {k: v for k, v in trained.model_dump(mode="json").items() if v != usual[k]}


@click.command()
@click.argument("policies", type=click.Path(exists=True, path_type=Path), nargs=-1)
@click.option("--opponent", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--agents", default="0,32,64")
@click.option("--rounds", default=20)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS)
def main(policies: tuple[Path, ...], opponent: Path, agents: str, rounds: int, out: Path) -> None:
    torch.set_num_threads(1)
    lines = [pd.read_csv(out)] if out.exists() else []
    for policy in policies:
        lines.append(pd.DataFrame([played(policy, opponent, tuple(map(int, agents.split(","))), rounds)]))
        click.echo(lines[-1].to_string(index=False))
        table = pd.concat(lines, ignore_index=True)
        write_atomically(out, lambda temporary, table=table: table.to_csv(temporary, index=False))


if __name__ == "__main__":
    main()
