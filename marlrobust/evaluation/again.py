"""A stored round, played again from its row: found, rebuilt, watched, and compared with what was stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marlrobust.attacks.victim_search import FixedVictims
from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.plan import Cell, plan
from marlrobust.evaluation.play import facts_of, play_again
from marlrobust.evaluation.probes import together
from marlrobust.evaluation.provenance import computed_by, instructions
from marlrobust.evaluation.recording import Recorder, by_crown, by_intervals, recorded
from marlrobust.evaluation.run import CELLS, Say
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.evaluation.store import Store
from marlrobust.files import read_sealed
from marlrobust.policies.library import Library
from marlrobust.recorded import Recorded
from marlrobust.registry import nearest
from marlrobust.rows import Batch, Facts, Record, Round, parts

SAME = (
    *("scenario", "team", "policy", "opponent", "attack", "attack_parameters", "epsilon", "norm", "features"),
    *("attacked_agents", "victims", "budget", "game", "seed", "greedy", "in_range"),
)
"""In what a cell that is planned again agrees with the stored one."""

PAIR = ("scenario", "team", "policy", "policy_hash", "opponent_hash", "game", "seed", "greedy")
"""In what the clean and the attacked rounds of a pair agree."""


@dataclass(frozen=True)
class Stored:
    """A cell of a result folder, or rounds that were added to one: what the cell's rows share, and the rows."""

    facts: Facts
    rounds: tuple[Round, ...]

    @property
    def attacked(self) -> bool:
        """Whether anybody is attacked in it."""
        return self.facts.attacked_agents > 0

    @property
    def numbers(self) -> range:
        """The numbers of its rounds."""
        return range(self.rounds[0].round, self.rounds[-1].round + 1)


def stored_cells(folder: Path, say: Say) -> list[Stored]:
    """The cells in `folder`; raises UserError where there are none."""
    record, store = Record.read(folder), Store(folder / CELLS, say)
    known = {name: Batch(of=name, first=0, rounds=rounds) for name, rounds in record.cells.items()} | record.batches
    whole = {name: of for name, of in known.items() if store.read(name, of.rounds, of.first) is not None}
    if not whole:
        raise UserError(f"{folder} holds no rows yet: run 'marlrobust attack' with --out {folder} again")
    found = {name: parts(read_sealed(store.path(name)), Facts, Round) for name in whole}
    return [Stored(found[of.of][0], tuple(found[name][1])) for name, of in whole.items() if of.of in found]


def choose(cells: Sequence[Stored], number: int, asked: Mapping[str, Any]) -> list[Stored]:
    """The clean and the attacked cell that are meant: of those that have the round of this number and what is `asked`,
    by column, the one with the most attacked agents and the largest epsilon, and before it the clean one of the same
    policy, where it is stored. Only a clean one where nobody is attacked in any. Raises UserError for what no cell
    has."""
    found = cells = [cell for cell in cells if number in cell.numbers]
    if not found:
        raise UserError(f"no round {number} is stored here: give a smaller --round")
    for column, value in asked.items():
        if value is None:
            continue
        there = {getattr(cell.facts, column) for cell in found}
        if value not in there:
            raise UserError(
                f"no {column.replace('_', ' ')} {value} is stored here{nearest(str(value), sorted(map(str, there)))}"
            )
        found = [cell for cell in found if getattr(cell.facts, column) == value]
    best = max(found, key=lambda cell: (cell.facts.attacked_agents, cell.facts.epsilon))
    if not best.attacked:
        return [best]
    clean = [cell for cell in cells if not cell.attacked and _told(cell.facts, PAIR) == _told(best.facts, PAIR)]
    return [*clean[:1], best]


def _told(facts: Facts, columns: Sequence[str]) -> list[Any]:
    return [getattr(facts, column) for column in columns]


def rebuilt(folder: Path, stored: Stored, library: Library) -> Cell:
    """The cell that left these rows, made again from what the folder holds. Raises UserError where a policy is not
    there, or is another one now."""
    settings, facts = resolve(SweepSettings, Record.read(folder).settings), stored.facts
    planned = plan(settings, library.choose(settings.policies, settings.roles()), library).cells
    alike = [c for c in planned if _told(facts_of(c, together([]), None), SAME) == _told(facts, SAME)]
    if not alike:
        raise UserError(f"{folder} does not tell how the rounds of {facts.policy} under {facts.attack} were played")
    cell = alike[0]
    for side, hash in ((cell.policy, facts.policy_hash), (cell.opponent, facts.opponent_hash)):
        if side is not None and side.hash != hash:
            raise UserError(f"{side.full_name} is another policy than the one that was tested: its file has changed")
    cell = replace(cell, first=stored.numbers.start, rounds=len(stored.rounds))
    if facts.victims_found:
        first, second = json.loads(facts.victims_found)
        cell = replace(cell, victims=FixedVictims((tuple(first), tuple(second))))
    return cell


def replay(cell: Cell, stored: Stored, number: int, prove: bool, watching: Observer) -> tuple[Recorded, str]:
    """The round of this number, played again and recorded, and in a sentence whether it came out as it is stored.

    prove: ask of every attacked decision by CROWN too whether an attack can turn it; watching: sees all that is
    played. Raises UserError for a game that cannot be shown.
    """
    row = stored.rounds[number - stored.numbers.start]
    recorder = Recorder({number}, cell.team, by_crown(cell) if prove and cell.attacks else by_intervals(cell))
    again = play_again(cell, number, [watching, recorder])
    if recorder.refused:
        raise UserError(recorder.refused)
    (found,) = recorded(cell, stored.facts, [again], recorder)
    return found, _compared(stored.facts, row, again)


def _compared(facts: Facts, row: Round, again: Round) -> str:
    """How a round that was played again differs from its row, and what may be the reason."""
    what = f"round {row.round} of {facts.policy}" + (f" under {facts.attack}" if facts.attacked_agents else ", clean")
    differs = [name for name, value in row if getattr(again, name) != value]
    if not differs:
        return f"{what}: the same as its row, number by number"
    told = ", ".join(f"{name} {getattr(again, name)} instead of {getattr(row, name)}" for name in differs[:3])
    reasons = []
    if facts.instructions != instructions():
        reasons.append(f"another processor computed it ({facts.instructions})")
    if json.loads(facts.versions).get("source") != computed_by()["source"]:
        reasons.append("another version of marlrobust computed it")
    return f"{what}: not the same as its row ({told}); " + (" and ".join(reasons) or "no reason is known")
