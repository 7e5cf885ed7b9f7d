"""Fills `marlrobust/zoo/`, the policies that come with the package.

python -m marlrobust.policies.zoo bundle runs                       # what was trained, rounded to float16
python -m marlrobust.policies.zoo results results/reproduction      # what an evaluation of it found
python -m marlrobust.policies.zoo results results/2026-01-31 --attack learned      # of adversaries
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import torch

from marlrobust.errors import UserError
from marlrobust.policies.checkpoint import ADVERSARY, file_hash, load_policy, save_card, save_policy
from marlrobust.policies.runs import TESTED, ZOO, bundled

MOST_BYTES = 25_000_000
MEASURED = ("rounds", "win_rate", "kills_mean", "reward_mean", "flip_rate")


def bundle(runs: Path, zoo: Path = ZOO) -> list[Path]:
    """Copy every trained policy under `runs` into `zoo`, its weights rounded to float16; returns their files.

    Adversaries stay those of their policies, whose hashes change. Raises UserError where all of them together are above
    MOST_BYTES, or there are none.
    """
    written = []
    hashes: dict[str, str] = {}
    for path in sorted(runs.glob("*/[!.]*/*.safetensors"), key=lambda path: (path.stem == ADVERSARY, path)):
        if path.name == "state.safetensors":
            raise UserError(f"{path.parent} is not trained to its end: go on with 'marlrobust train --resume'")
        scenario, name, _ = path.relative_to(runs).parts
        policy, card = load_policy(path, scenario=scenario)
        own, other = TESTED[scenario]
        if own != other and card.role == (other if card.mean_field else own):
            continue  # opponents are a2c's, and a2c is nothing else
        card = replace(card, against=hashes.get(card.against, card.against))
        save_policy(zoo / scenario / name, policy, card, dtype=torch.float16)
        written.append(zoo / scenario / name / path.name)
        hashes[card.hash] = file_hash(written[-1])
    if not written:
        raise UserError(f"there are no policies under {runs}")
    size = sum(path.stat().st_size for path in zoo.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise UserError(f"{zoo} holds {size / 1e6:.1f} MB: at most {MOST_BYTES / 1e6:.0f} may come with the package")
    return written


def add_results(table: pd.DataFrame, attack: str = "pgd") -> int:
    """Write into the cards of the bundled policies what `attack` did to them, or if it is `learned` into those of its
    adversaries; returns how many cards there were.

    table: the lines of an evaluation's table.csv, of one epsilon. Each card gets, by count of attacked agents, the
    lines' MEASURED.
    """
    found = 0
    table = table[table["attack"].isin(("none", attack))]
    for stored in bundled():
        if (stored.card.role == ADVERSARY) != (attack == "learned"):
            continue
        policy = stored.name.removeprefix(f"{ADVERSARY}-")
        lines = table[(table["scenario"] == stored.card.scenario) & (table["policy"] == policy)]
        if lines.empty:
            continue
        by_count = {
            str(line["attacked_agents"]): {k: round(float(line[k]), 3) for k in MEASURED if pd.notna(line[k])}
            for _, line in lines.iterrows()
        }
        results = {"attack": attack, "epsilon": float(lines["epsilon"].max()), "attacked_agents": by_count}
        save_card(stored.path, replace(stored.card, results=results))
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
