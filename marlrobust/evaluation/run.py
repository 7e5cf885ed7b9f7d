"""A whole evaluation: choose the policies, plan the cells, play those that are not stored, gather the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from filelock import FileLock, Timeout

from marlrobust.attacks import ATTACKS, VICTIMS
from marlrobust.config import dump
from marlrobust.errors import UserError
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.evaluation.store import Store
from marlrobust.files import write_bytes
from marlrobust.games.broken import GameError
from marlrobust.policies.library import Library, StoredPolicy, StoredTeam
from marlrobust.progress import Progress
from marlrobust.recorded import Recorded, Replays
from marlrobust.rows import RECORD, Batch, Facts, PolicyFacts, Record, Round, frame, joined, slug

if TYPE_CHECKING:
    from marlrobust.evaluation.plan import Cell

RESULTS = Path("results")
CELLS, LOGS = "cells", "training"
"""Folders of an evaluation's rows, and of how its policies were trained, in its own."""

TRACE = "error.log"
"""File of what a game raised."""

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
    from marlrobust.evaluation.plan import plan
    from marlrobust.evaluation.recording import worth_watching
    from marlrobust.evaluation.until import bounded, grow
    from marlrobust.evaluation.until import told as until_told

    checked_device(settings.device)
    planned = plan(settings, policies, library)
    if settings.shard:
        from marlrobust.evaluation.shards import part_of

        planned = part_of(planned, settings.shard)
    folder = out or own_folder(planned.id, [*dict.fromkeys(p.scenario for p in policies), *_words(settings, policies)])
    for note in planned.notes:
        say(note)
    if planned.until:
        for cell in planned.cells:
            bounded(cell)  # said before anything is played: a game that has nothing to narrow
    told = {p.path: p for cell in planned.cells for side in cell.sides for p in side.policies}
    record = Record(
        id=planned.id,
        created=datetime.now().isoformat(timespec="minutes"),
        command=command,
        settings=settings.model_dump(mode="json"),
        cells={cell.name: cell.rounds for cell in planned.cells},
        wholes=planned.wholes,
        policies=tuple(map(_policy_facts, told.values())),
        notes=planned.notes,
    )
    watched = worth_watching(planned.cells) if settings.replays else {}
    work = _Work(Store(folder / CELLS, say), Replays(folder, say), settings.workers, watched)
    with locked(folder), traced(folder):
        record.write(folder)
        write_bytes(folder / "config.yaml", dump(settings).encode())
        for stored, facts in zip(told.values(), record.policies, strict=True):
            if facts.log:
                write_bytes(folder / facts.log, stored.log.read_bytes())
        work.play(planned.cells)
        if planned.until:

            def add(wave: Sequence[Cell], batches: Mapping[str, Batch]) -> None:
                nonlocal record
                record = record.model_copy(update={"batches": dict(batches)})
                record.write(folder)
                work.play(wave)

            grow(planned.cells, work.stored, *planned.until, add)
        rows = joined(work.stored, record.batches)
        if planned.until:
            say(note := until_told(planned.cells, rows, *planned.until))
            record = record.model_copy(update={"notes": (*record.notes, note)})
            record.write(folder)
    return Evaluation(rows, record, folder, work.played, work.kept)


class _Work:
    """What of an evaluation is stored, and the playing of what is not. stored: by the cell's name."""

    def __init__(self, store: Store, replays: Replays, workers: int, watched: Mapping[str, Sequence[int]]) -> None:
        self.store, self.replays, self.workers, self.watched = store, replays, workers, watched
        self.stored: dict[str, pd.DataFrame] = {}
        self.played = self.kept = 0

    def play(self, cells: Sequence[Cell]) -> None:
        """Play and store those that are not stored."""
        from marlrobust.evaluation.processes import play_all  # only now: it takes seconds to import

        found = {cell.name: self.store.read(cell.name, cell.rounds, cell.first) for cell in cells}
        missing = [cell for cell in cells if found[cell.name] is None]
        new: dict[str, pd.DataFrame] = {}

        def keep(cell: Cell, facts: Facts, rounds: list[Round], seen: list[Recorded]) -> None:
            for round in seen:
                self.replays.write(round)
            self.store.write(cell.name, facts, rounds)
            new[cell.name] = frame(facts, rounds)

        with Progress("attack", "rounds", sum(c.work for c in missing), sum(c.cost for c in missing)) as progress:

            def advance(cell: Cell, rounds: float) -> None:
                progress.advance(rounds, cell.name.rpartition("-")[0], rounds * cell.cost / cell.work)

            # the longest first, so that no worker is left alone with one at the end
            order = sorted(missing, key=lambda cell: (-cell.cost, cell.name))
            play_all(order, self.workers, keep, advance, self.watched)
        self.played, self.kept = self.played + len(missing), self.kept + len(cells) - len(missing)
        for name, rows in found.items():
            self.stored[name] = new[name] if rows is None else rows


def stored_evaluation(folder: Path, say: Say) -> Evaluation:
    """The rows that an evaluation left in `folder`, without playing any; UserError where there are none."""
    record = Record.read(folder)
    store = Store(folder / CELLS, say)
    whole = {name: store.read(name, rounds) for name, rounds in record.cells.items()}
    frames = {name: rows for name, rows in whole.items() if rows is not None}
    if not frames:
        raise UserError(f"{folder} holds no rows yet: run 'marlrobust attack' with --out {folder} again")
    for name, batch in record.batches.items():
        if batch.of in frames and (rows := store.read(name, batch.rounds, batch.first)) is not None:
            frames[name] = rows
    if (absent := len(record.cells) + len(record.batches) - len(frames)) > 0:
        note = f"{absent} of {len(record.cells) + len(record.batches)} cells are not stored, and not in this report."
        say(note)
        record = record.model_copy(update={"notes": (*record.notes, note)})
    return Evaluation(joined(frames, record.batches), record, folder, 0, len(frames))


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


@contextmanager
def traced(folder: Path) -> Iterator[None]:
    """While it lasts, the traceback of a game that fails goes into `folder`, and the sentence says where."""
    try:
        yield
    except GameError as error:
        write_bytes(folder / TRACE, error.details.encode())
        raise UserError(f"{error}; its traceback is in {folder / TRACE}") from error


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
        seconds=card.seconds,
        log=f"{LOGS}/{slug(f'{card.scenario}-{p.name}')}.csv" if p.log.is_file() else "",
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
        names = [*record.cells, *record.batches]
        done = sum(store.holds(name) for name in names)
        state = "complete" if done == len(names) else f"{done} of {len(names)} cells: go on with '{record.command}'"
        rounds = sum(record.cells.values()) + sum(batch.rounds for batch in record.batches.values())
        lines.append((str(path.parent), f"{record.created.replace('T', ' ')}, {rounds} rounds, {state}"))
    return lines
