"""An evaluation in parts that know nothing of each other, one per task of a cluster; then all of them in one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlrobust.config import dump
from marlrobust.errors import UserError
from marlrobust.evaluation.run import CELLS, LOGS, locked
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.evaluation.store import Store
from marlrobust.files import digest, write_bytes
from marlrobust.recorded import FOLDER as REPLAYS
from marlrobust.rows import Record

if TYPE_CHECKING:
    from marlrobust.evaluation.plan import Plan

ALONE = ("shard", "workers", "device")
"""Settings that may differ from part to part."""


def part_of(plan: Plan, shard: tuple[int, int]) -> Plan:
    """Part i of n, from 1, of a plan: the cells are dealt out by what they cost, the same way on every machine."""
    i, n = shard
    order = sorted(range(len(plan.cells)), key=lambda c: (-plan.cells[c].cost, c))
    own = sorted(order[i - 1 :: n])
    if not own:
        raise UserError(f"there are {len(plan.cells)} cells for {n} shards: give --shard a second number up to that")
    return replace(plan, cells=tuple(plan.cells[c] for c in own))


def merge(folders: Sequence[Path], out: Path, *, command: str, say: Callable[[str], object]) -> Record:
    """Put the parts of one evaluation into the folder `out`; its record.

    Raises UserError, before anything is written, for folders that are no parts of one evaluation, and where one of
    the parts is missing or not played to its end.
    """
    records = {folder: Record.read(folder) for folder in folders}
    shards = {folder: _shard(folder, record) for folder, record in records.items()}
    first = records[folders[0]]
    for folder, record in records.items():
        if _shared(record) != _shared(first) or record.wholes != first.wholes:
            raise UserError(f"{folder} is no part of the same evaluation as {folders[0]}: their settings differ")
    n = shards[folders[0]][1]
    numbers = sorted(i for i, _ in shards.values())
    if missing := sorted(set(range(1, n + 1)) - set(numbers)):
        raise UserError(f"{len(missing)} of {n} shards are not given, the first of them {missing[0]}/{n}")
    if len(numbers) > n:
        raise UserError("a shard is given twice: give the folder of each once")
    for folder, record in records.items():
        store = Store(folder / CELLS, say)
        if lost := [name for name, rounds in record.cells.items() if store.read(name, rounds) is None]:
            raise UserError(f"{folder} lacks {len(lost)} of {len(record.cells)} cells: run '{record.command}' again")
    cells = {name: rounds for record in records.values() for name, rounds in record.cells.items()}
    merged = first.model_copy(
        update={
            "id": digest(sorted(cells))[:16],
            "command": command,
            "settings": {**first.settings, "shard": None},
            "cells": cells,
            "policies": tuple({p.hash: p for record in records.values() for p in record.policies}.values()),
            "notes": tuple(dict.fromkeys(note for record in records.values() for note in record.notes)),
        }
    )
    with locked(out):
        for folder in folders:
            for kind in (CELLS, REPLAYS, LOGS):
                for file in sorted((folder / kind).glob("*.*")):
                    (out / kind).mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, out / kind / file.name)
        write_bytes(out / "config.yaml", dump(SweepSettings.model_validate(merged.settings)).encode())
        merged.write(out)
    return merged


def _shard(folder: Path, record: Record) -> tuple[int, int]:
    shard = record.settings.get("shard")
    if not shard:
        raise UserError(f"{folder} is a whole evaluation, and no shard of one: 'marlrobust report' tells of it")
    return shard[0], shard[1]


def _shared(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(record.settings))
    return {name: value for name, value in plain.items() if name not in ALONE}
