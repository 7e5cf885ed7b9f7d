"""A whole evaluation: find the policies, plan the cells, play those that are not stored, gather the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from marlrobust.attacks import ATTACKS, VICTIMS
from marlrobust.config import CertifySettings, SweepSettings, dump
from marlrobust.errors import UserError
from marlrobust.evaluation.store import Store
from marlrobust.evaluation.sweep import Cell, Sweep, plan, rows_as_asked
from marlrobust.evaluation.workers import play_all
from marlrobust.files import write_atomically
from marlrobust.policies.checkpoint import load_card, versions
from marlrobust.policies.runs import RUNS, TESTED, ZOO, StoredPolicy, every, find
from marlrobust.progress import Progress

RECORD = "run.json"


@dataclass(frozen=True)
class Evaluation:
    """rows: one a round; about: what was run, for the report; played, kept: cells now, and from before."""

    rows: pd.DataFrame
    about: dict[str, Any]
    played: int
    kept: int


def run_sweep(
    settings: SweepSettings, runs: Path, folder: Path, *, command: str, say: Callable[[str], None]
) -> Evaluation:
    """Play the sweep that `settings` describe and store it under `folder`; what is stored there is not played again.

    Raises UserError before anything is written where a policy, an opponent or an attack is not there.
    """
    for attack in settings.attacks:
        ATTACKS[attack.name]  # said before anything else: an unknown name
    for victims in settings.victims:
        VICTIMS[victims.name]
    policies = choose(settings, runs)
    sweep = plan(settings, policies)
    about = _about(settings, policies, sweep, command)
    for note in about["notes"]:
        say(note)
    store = Store(folder / "cells", say)
    stored = {cell.name: store.read(cell.name, cell.rounds) for cell in sweep.cells}
    missing = [cell for cell in sweep.cells if stored[cell.name] is None]
    _record(folder, sweep, about, settings)
    total = sum(map(sweep.work, sweep.cells))
    done = total - sum(map(sweep.work, missing))
    with Progress(total, "rounds", "attack", done=done) as progress:

        def keep(cell: Cell, rows: pd.DataFrame) -> None:
            store.write(cell.name, rows)
            stored[cell.name] = rows

        # the longest first, so that no worker is left alone with one at the end
        missing.sort(key=lambda cell: (-sweep.work(cell), -cell.agents))
        play_all(missing, settings.workers, keep, progress.advance)
    rows = pd.concat([rows for rows in stored.values() if rows is not None], ignore_index=True)
    return Evaluation(rows_as_asked(rows, sweep.counts), about, len(missing), len(sweep.cells) - len(missing))


def stored_sweep(folder: Path, say: Callable[[str], None]) -> Evaluation:
    """The rows that an evaluation left in `folder`, without playing any; UserError where there are none."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
        cells, counts, about = record["cells"], record["counts"], record["about"]
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no evaluation ({RECORD} is not there): make one with 'marlrobust attack'"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): run 'marlrobust attack' with this --out again") from None
    store = Store(folder / "cells", say)
    frames = [rows for name, rounds in cells.items() if (rows := store.read(name, rounds)) is not None]
    if not frames:
        raise UserError(f"{folder} holds no rows yet: run 'marlrobust attack' with this --out again")
    if len(frames) < len(cells):
        about["notes"].append(
            f"{len(cells) - len(frames)} of {len(cells)} cells are not stored, and not in this report."
        )
        say(about["notes"][-1])
    rows = pd.concat(frames, ignore_index=True)
    return Evaluation(rows_as_asked(rows, [tuple(c) for c in counts]), about, 0, len(frames))


def choose(settings: SweepSettings | CertifySettings, runs: Path) -> list[tuple[StoredPolicy, StoredPolicy]]:
    """The policies that the settings name, or all under `runs`, each with its scenario's opponent."""
    scenarios: list[str] = [settings.scenario] if settings.scenario else list(TESTED)
    chosen: list[StoredPolicy] = []
    for name in settings.policies:
        found = [p for scenario in scenarios if (p := find(name, runs, scenario))]
        if not found:
            raise UserError(_why_not(name, scenarios))
        chosen += found
    if not settings.policies:
        folders = (runs, ZOO) if runs == RUNS else (runs,)  # a folder that was named is meant
        for folder in folders:
            stored = [p for scenario in scenarios for p in every(folder, scenario)]
            chosen = chosen or [p for p in stored if p.name != settings.opponent]
    if not chosen:
        where = f"for {settings.scenario} " if settings.scenario else ""
        raise UserError(f"there are no policies {where}under {runs}: train one with 'marlrobust train --method mfac'")
    own_names = {(p.card.scenario, p.name) for p in chosen if not p.bundled}
    chosen = [
        replace(p, name=f"zoo-{p.name}") if p.bundled and (p.card.scenario, p.name) in own_names else p for p in chosen
    ]
    hashes: dict[tuple[str, str], str] = {}
    for p in chosen:
        if hashes.setdefault((p.card.scenario, p.name), p.card.hash) != p.card.hash:
            raise UserError(
                f"two policies are called '{p.name}', and one table cannot tell them apart: rename a folder"
            )
    return [(policy, _opponent(settings.opponent, runs, policy.card.scenario)) for policy in chosen]


def sides(policy: str, opponent: str, runs: Path, scenario: str) -> tuple[StoredPolicy, StoredPolicy]:
    """The policy called `policy`, under `runs` or bundled, and its opponent; UserError for one that there is not."""
    found = find(policy, runs, scenario)
    if found is None:
        raise UserError(_why_not(policy, [scenario]))
    return found, _opponent(opponent, runs, scenario)


def _why_not(name: str, scenarios: list[str]) -> str:
    """Why `name` is no policy of these scenarios."""
    if Path(name).is_file():
        card = load_card(Path(name))
        return f"{name} is a {card.role}'s policy for {card.scenario}: it cannot be tested on {' or '.join(scenarios)}"
    return f"there is no policy '{name}': see 'marlrobust list policies', or give the path of its file"


def _opponent(name: str, runs: Path, scenario: str) -> StoredPolicy:
    found = find(name, runs, scenario, opponent=True)
    if found is None:
        train = f"marlrobust train --method {name} --scenario {scenario}"
        raise UserError(f"there is no opponent '{name}' for {scenario} under {runs}: train it with '{train}'")
    return found


def _about(
    settings: SweepSettings, policies: list[tuple[StoredPolicy, StoredPolicy]], sweep: Sweep, command: str
) -> dict[str, Any]:
    notes = [
        f"{scenario} has {size} agents under test: a count of {count} is the whole team, played once."
        for scenario, count, size in sweep.counts
    ]
    told = {stored.path: stored for pair in policies for stored in pair}
    bundled = dict.fromkeys(p.name for p in told.values() if p.bundled)
    if bundled:
        notes.append(f"Policies that come with marlrobust: {', '.join(bundled)}.")
    return {
        "date": datetime.now().isoformat(timespec="minutes"),
        "command": command,
        "seeds": settings.seed,
        "rounds": settings.rounds,
        "steps": f"{settings.max_steps} at most",
        "config": dump(settings),
        "notes": notes,
        "policies": [
            {"scenario": p.card.scenario, "name": p.name, "role": p.card.role, "method": p.card.method,
             "rounds": p.card.rounds, "seed": p.card.seed, "hash": p.card.hash}
            for p in told.values()
        ],
        "versions": versions(),
    }  # fmt: skip


def _record(folder: Path, sweep: Sweep, about: dict[str, Any], settings: SweepSettings) -> None:
    """What was run, before it is: the resolved settings, and which cells the report is made of."""
    record = {"about": about, "cells": {c.name: c.rounds for c in sweep.cells}, "counts": sweep.counts}
    write_atomically(folder / RECORD, lambda temporary: temporary.write_text(json.dumps(record, indent=1)))
    write_atomically(folder / "config.yaml", lambda temporary: temporary.write_text(dump(settings)))
