"""Fills `marlrobust/zoo/`, the policies that come with the package.

python -m tools.zoo bundle runs                       # what was trained, rounded to float16
python -m tools.zoo results results/reproduction      # what an evaluation of it found
python -m tools.zoo results results/2026-01-31 --attack learned      # of adversaries
"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
import torch

from marlrobust.errors import UserError
from marlrobust.files import write_bytes
from marlrobust.games import SCENARIOS
from marlrobust.games.scenario import roles_of
from marlrobust.policies.card import Card, Results, load_card, save_card
from marlrobust.policies.checkpoint import load_policy, save_policy
from marlrobust.policies.library import LOG, ZOO, bundled
from marlrobust.training.state import STATE

MOST_BYTES = 40_000_000
MEASURED = ("rounds", "win_rate", "kills_mean", "reward_mean", "flip_rate")


def bundle(runs: Path, zoo: Path = ZOO) -> list[Path]:
    """Copy every trained policy under `runs` into `zoo`, its weights rounded to float16, with the log of its training;
    returns their files.

    Adversaries stay those of their policies, whose hashes change. Raises UserError where all of them together are above
    MOST_BYTES, one is not trained to its end, or there are none.
    """
    written = []
    hashes: dict[str, str] = {}
    for path, card in sorted(_trained(runs).items(), key=lambda item: (bool(item[1].against), item[0])):
        scenario, name, _ = path.relative_to(runs).parts
        policy, card = load_policy(path, scenario=scenario)
        if _is_spare(card):
            continue
        card = card.model_copy(update={"against": hashes.get(card.against, card.against)})
        folder = zoo / scenario / name
        hashes[card.hash] = save_policy(folder, policy, card, dtype=torch.float16).hash
        if (log := path.with_name(LOG)).is_file():
            write_bytes(folder / LOG, log.read_bytes())  # for a report's training curves
        written.append(folder / path.name)
    if not written:
        raise UserError(f"there are no policies under {runs}")
    size = sum(path.stat().st_size for path in zoo.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise UserError(f"{zoo} holds {size / 1e6:.1f} MB: at most {MOST_BYTES / 1e6:.0f} may come with the package")
    return written


def _trained(runs: Path) -> dict[Path, Card]:
    """Every policy under `runs` with its card; UserError where one is not trained to its end."""
    found = {}
    for path in sorted(runs.glob("*/[!.]*/*.safetensors")):
        if path.name == STATE or (card := load_card(path)).interrupted:
            raise UserError(f"{path.parent} is not trained to its end: go on with 'marlrobust train --resume'")
        found[path] = card
    return found


def _is_spare(card: Card) -> bool:
    """Whether nobody will play it: where the teams have policies of their own, the opponent's method plays the
    opponent and nothing else."""
    scenario = SCENARIOS[card.scenario]
    own, foes = (roles_of(scenario.teams, (0,), others=others) for others in (False, True))
    return own != foes and (card.role in foes) != (card.method == scenario.opponent)


def add_results(table: pd.DataFrame, attack: str = "pgd") -> int:
    """Write into the cards of the bundled policies what `attack` did to them, or if it is `learned` into those of its
    adversaries; returns how many cards there were.

    table: the lines of an evaluation's table.csv, of one epsilon. Each card gets, by count of attacked agents, the
    lines' MEASURED.
    """
    found = 0
    table = table[table["attack"].isin(("none", attack))]
    names = {stored.card.hash: stored.name for stored in bundled()}
    for stored in bundled():
        card = stored.card
        if bool(card.against) != (attack == "learned"):
            continue
        policy = names.get(card.against or card.hash)
        lines = table[(table["scenario"] == card.scenario) & (table["policy"] == policy)]
        if lines.empty:
            continue
        by_count = {
            str(int(line["attacked_agents"])): {k: round(float(line[k]), 3) for k in MEASURED if pd.notna(line[k])}
            for _, line in lines.iterrows()
        }
        results = Results(attack=attack, epsilon=float(lines["epsilon"].max()), attacked_agents=by_count)
        save_card(stored.path, card.model_copy(update={"results": results}))
        found += 1
    return found


@click.group()
def main() -> None:
    """Fill the zoo: first `bundle`, then an evaluation of what is bundled, then its `results`."""


@main.command("bundle")
@click.argument("runs", type=click.Path(exists=True, path_type=Path))
def _bundle(runs: Path) -> None:
    for path in bundle(runs):
        click.echo(path)


@main.command("results")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--attack", default="pgd", show_default=True)
def _results(folder: Path, attack: str) -> None:
    click.echo(f"{add_results(pd.read_csv(folder / 'table.csv'), attack)} cards")


if __name__ == "__main__":
    main()
