"""A whole evaluation: choose the policies, plan the cells, play those that are not stored, gather the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from marlrobust.attacks import ATTACKS, VICTIMS
from marlrobust.config import dump
from marlrobust.errors import UserError
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.evaluation.store import Store
from marlrobust.files import write_bytes
from marlrobust.policies.library import Library, StoredPolicy, StoredTeam
from marlrobust.progress import Progress
from marlrobust.recorded import Recorded, Replays
from marlrobust.rows import RECORD, Facts, PolicyFacts, Record, Round, frame, slug

RESULTS = Path("results")
CELLS = "cells"
"""Folder of an evaluation's rows, in its own."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Evaluation:
    """rows: one per round; record: what was run; folder: where; played, kept: cells now, and from before."""

    rows: pd.DataFrame
    record: Record
    folder: Path
    played: int
    kept: int


def evaluate(settings: SweepSettings, library: Library, out: Path | None, *, command: str, say: Say) -> Evaluation:
    """Play the evaluation that `settings` describe, and store it; what is stored of it is not played again.

    out: its folder; if None, the one that the same evaluation had before, or a new one under results/.
    Raises UserError before anything is written where a policy, an opponent or an attack is not there.
    """
    for attack in settings.attacks:  # said before anything else: an unknown name
        ATTACKS.check(attack.name)
    for victims in settings.victims:
        VICTIMS.check(victims.name)
    policies = library.choose(settings.policies, settings.roles())

    from marlrobust.devices import checked_device  # only now: these take seconds to import
    from marlrobust.evaluation.plan import Cell, plan
    from marlrobust.evaluation.processes import play_all
    from marlrobust.evaluation.recording import worth_watching

    checked_device(settings.device)
    planned = plan(settings, policies, library)
    folder = out or own_folder(planned.id, [*dict.fromkeys(p.scenario for p in policies), *_words(settings, policies)])
    for note in planned.notes:
        say(note)
    cells = {cell.name: cell for cell in planned.cells}
    told = {p.path: p for cell in planned.cells for side in cell.sides for p in side.policies}
    record = Record(
        id=planned.id,
        created=datetime.now().isoformat(timespec="minutes"),
        command=command,
        settings=settings.model_dump(mode="json"),
        cells={name: cell.rounds for name, cell in cells.items()},
        wholes=planned.wholes,
        policies=tuple(map(_policy_facts, told.values())),
        notes=planned.notes,
    )
    store, replays = Store(folder / CELLS, say), Replays(folder, say)
    watched = worth_watching(planned.cells) if settings.replays else {}
    with locked(folder):
        stored = {name: store.read(name, cell.rounds) for name, cell in cells.items()}
        record.write(folder)
        write_bytes(folder / "config.yaml", dump(settings).encode())
        missing = [cell for name, cell in cells.items() if stored[name] is None]
        kept = [cell for name, cell in cells.items() if stored[name] is not None]
        with Progress("attack", "rounds", sum(c.work for c in missing), sum(c.cost for c in missing)) as progress:

            def keep(cell: Cell, facts: Facts, rounds: list[Round], seen: list[Recorded]) -> None:
                for round in seen:
                    replays.write(round)
                store.write(cell.name, facts, rounds)
                stored[cell.name] = frame(facts, rounds)

            def advance(cell: Cell, rounds: float) -> None:
                progress.advance(rounds, cell.name.rpartition("-")[0], rounds * cell.cost / cell.work)

            # the longest first, so that no worker is left alone with one at the end
            missing.sort(key=lambda cell: (-cell.cost, cell.name))
            play_all(missing, settings.workers, keep, advance, watched)
    rows = pd.concat([rows for rows in stored.values() if rows is not None], ignore_index=True)
    return Evaluation(rows, record, folder, len(missing), len(kept))


def stored_evaluation(folder: Path, say: Say) -> Evaluation:
    """The rows that an evaluation left in `folder`, without playing any; UserError where there are none."""
    record = Record.read(folder)
    store = Store(folder / CELLS, say)
    frames = [rows for name, rounds in record.cells.items() if (rows := store.read(name, rounds)) is not None]
    if not frames:
        raise UserError(f"{folder} holds no rows yet: run 'marlrobust attack' with --out {folder} again")
    if (absent := len(record.cells) - len(frames)) > 0:
        note = f"{absent} of {len(record.cells)} cells are not stored, and not in this report."
        say(note)
        record = record.model_copy(update={"notes": (*record.notes, note)})
    return Evaluation(pd.concat(frames, ignore_index=True), record, folder, 0, len(frames))


def own_folder(id: str, words: list[str]) -> Path:
    """The folder of the evaluation `id`: the one that it has under results/, or a new one named by date and `words`."""
    short = id[:8]
    for folder in sorted(RESULTS.glob(f"*-{short}")):
        return folder
    name = slug("-".join([datetime.now().date().isoformat(), *words]))
    return RESULTS / f"{name[:100]}-{short}"


def _words(settings: SweepSettings, policies: list[StoredTeam]) -> list[str]:
    """What a person would call the evaluation: its policies and attacks, few of each."""
    names = dict.fromkeys(p.name for p in policies)
    attacks = dict.fromkeys(a.name for a in settings.attacks)
    return [*_few(list(names), "policies"), *_few(list(attacks), "attacks")]


def _few(names: list[str], plural: str) -> list[str]:
    return names if len(names) <= 3 else [f"{len(names)}-{plural}"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While it lasts no other process writes into `folder`; UserError where one does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise UserError(
            f"another process is working on this evaluation in {folder}: wait for its end, or choose another --out"
        ) from None


def _policy_facts(p: StoredPolicy) -> PolicyFacts:
    card = p.card
    return PolicyFacts(
        scenario=card.scenario,
        name=p.name,
        role=card.role,
        method=card.method,
        rounds=card.rounds,
        planned_rounds=card.planned_rounds,
        seed=card.seed,
        hash=card.hash,
    )


def list_results(root: Path) -> list[tuple[str, str]]:
    """Each evaluation under `root`: its folder, and a line of what it is and how much of it is stored."""
    lines = []
    for path in sorted(root.glob(f"*/{RECORD}")):
        try:
            record = Record.read(path.parent)
        except UserError as error:
            lines.append((str(path.parent), str(error)))
            continue
        store = Store(path.parent / CELLS, print)
        done = sum(store.holds(name) for name in record.cells)
        state = (
            "complete"
            if done == len(record.cells)
            else f"{done} of {len(record.cells)} cells: go on with '{record.command}'"
        )
        rounds = sum(record.cells.values())
        lines.append((str(path.parent), f"{record.created.replace('T', ' ')}, {rounds} rounds, {state}"))
    return lines
