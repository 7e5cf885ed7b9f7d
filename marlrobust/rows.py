"""What an evaluation leaves behind: the schema of a row, of a decision, and of the evaluation's own record.

Everything that reads results reads this, and nothing else: no torch, no game. `dictionary` is the data dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marlrobust.config import reasons
from marlrobust.errors import UserError
from marlrobust.files import Damaged, read_sealed, write_sealed
from marlrobust.metrics import METRICS

SCHEMA: Literal[2] = 2
"""Version of everything below: what another version wrote is not read."""

RECORD = "run.json"
"""The file of an evaluation's record, in its folder."""

NOT_ATTACKED = "none"
"""Stands for an attack where there is none."""

NAME = re.compile(r"[\w+.,=-]{1,200}", re.ASCII)
"""What a cell may be called: a name, never a path."""


def slug(text: str) -> str:
    """`text` as a part of a file's name."""
    return re.sub(r"[^\w+.,=-]+", "-", text, flags=re.ASCII)[:150]


@dataclass(frozen=True)
class Column:
    """unit, and what the column says."""

    unit: str
    meaning: str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Facts(_Part):
    """What all rows of a cell share."""

    scenario: Annotated[str, Column("name", "the game")]
    team: Annotated[str, Column("name", "the team under test; empty in rows from before teams had names")] = ""
    policy: Annotated[str, Column("name", "the policy under test, as tables show it")]
    method: Annotated[str, Column("name", "how that policy was trained")]
    opponent: Annotated[str, Column("name", "whom it plays; never attacked; empty where there is nobody")]
    attack: Annotated[str, Column("name", "the attack; 'none' in clean rounds")]
    epsilon: Annotated[float, Column("state units", "radius of the ball in which a state may be moved")]
    attacked_agents: Annotated[int, Column("agents", "agents of the team that are attacked")]
    victims: Annotated[str, Column("name", "how the attacked agents are chosen")]
    budget: Annotated[int, Column("steps", "attacked steps per round, at most; 0 is no limit")]
    seed: Annotated[int, Column("number", "the evaluation's seed: a round repeats from it and the round's number")]
    cell: Annotated[str, Column("digest", "identity of what was run: rows of one cell differ in their round alone")]
    norm: Annotated[str, Column("name", "norm of the radius")]
    features: Annotated[str, Column("name", "part of the state that may be moved: all, view or features")]
    in_range: Annotated[
        bool, Column("yes or no", "whether moved states were kept inside the limits of the game's observations")
    ] = False
    greedy: Annotated[bool, Column("yes or no", "whether agents take their likeliest action instead of sampling")]
    attack_parameters: Annotated[str, Column("JSON", "every parameter of the attack, defaults included")]
    victims_parameters: Annotated[str, Column("JSON", "every parameter of the choice of victims")]
    victims_found: Annotated[str, Column("JSON", "the agents that a search chose, for either side; else empty")]
    search_rounds: Annotated[int, Column("rounds", "rounds that were played, beside these, to search for victims")]
    game: Annotated[str, Column("JSON", "every setting of the game")]
    team_size: Annotated[int, Column("agents", "agents under test at the start of a round")]
    opponents: Annotated[int, Column("agents", "opponents at the start of a round")]
    policy_hash: Annotated[str, Column("SHA-256", "of the policy's file; of several roles a digest of all")]
    opponent_hash: Annotated[str, Column("SHA-256", "of the opponent's file")]
    opponent_method: Annotated[str, Column("name", "how the opponent was trained")]
    train_seed: Annotated[int, Column("number", "seed of the policy's training")]
    train_rounds: Annotated[int, Column("rounds", "length of the policy's training")]
    probe_states: Annotated[int, Column("states", "attacked states that were looked at for the probes below")]
    probe_noise: Annotated[float | None, Column("share of probe_states", "two forward passes differ")]
    probe_probabilities: Annotated[
        float | None, Column("share of probe_states", "the outputs are probabilities where logits are expected")
    ]
    probe_zero_gradients: Annotated[
        float | None,
        Column("share of probe_states", "the gradient of the cross-entropy, or of each number of a vector, is zero"),
    ]
    probe_loss_rises: Annotated[
        float | None, Column("share of probe_states", "the attack ends with a higher loss than it found")
    ]
    instructions: Annotated[str, Column("name", "the processor's instructions that computed this")]
    versions: Annotated[str, Column("JSON", "of the packages that computed this, and a digest of our own source")]


class Round(_Part):
    """What came of one round, seen from the team under test; None where the game has no such thing."""

    round: Annotated[int, Column("number", "the round's own, from 0; rounds of one seed and number are pairs")]
    win: Annotated[bool | None, Column("yes or no", "more agents than the opponent were left at the end")] = None
    draw: Annotated[bool | None, Column("yes or no", "as many were left; a draw is no win")] = None
    kills: Annotated[int | None, Column("agents", "opponents that died")] = None
    losses: Annotated[int | None, Column("agents", "agents of the team that died")] = None
    captures: Annotated[int | None, Column("agents", "what the team caught: deer, food")] = None
    success: Annotated[bool | None, Column("yes or no", "the game says that the team did its task")] = None
    reward: Annotated[float, Column("reward", "summed over the team and the round")]
    steps: Annotated[int, Column("steps", "length of the round")]
    cut: Annotated[bool, Column("yes or no", "ended by the step limit, not by the game")]
    swapped: Annotated[bool, Column("yes or no", "the team played the other side")]
    attacked_steps: Annotated[int, Column("steps", "steps in which the state of at least one agent was moved")]
    decisions: Annotated[int, Column("decisions", "decisions of attacked agents")]
    flips: Annotated[
        int | None,
        Column("decisions", "of those, how many had another likeliest action than without the attack; for choices"),
    ] = None
    displacement: Annotated[
        float | None,
        Column("half ranges", "how far their mean action moved, for vectors: mean over decisions and over its numbers"),
    ] = None
    proven: Annotated[
        int | None,
        Column(
            "decisions",
            "of those, how many intervals prove: no state within epsilon has another likeliest action",
        ),
    ] = None


LEADING = (
    *("scenario", "policy", "method", "opponent", "attack", "epsilon", "attacked_agents", "round", "seed"),
    *("win", "draw", "kills", "losses", "reward", "steps", "decisions", "flips"),
)
"""The columns that a reader looks for, first."""


class DecisionFacts(_Part):
    """What all rows of one policy and epsilon share in a certification."""

    scenario: Annotated[str, Column("name", "the game")]
    policy: Annotated[str, Column("name", "the policy, as tables show it")]
    method: Annotated[str, Column("name", "how it was trained")]
    opponent: Annotated[str, Column("name", "whom it plays")]
    epsilon: Annotated[float, Column("state units", "l_inf radius")]
    attack: Annotated[str, Column("name", "the attack that tries to turn the decision")]
    attack_parameters: Annotated[str, Column("JSON", "every parameter of the attack")]
    rounds: Annotated[int, Column("rounds", "rounds from which the decisions were drawn")]
    seed: Annotated[int, Column("number", "of those rounds and of the draw")]
    cell: Annotated[str, Column("digest", "identity of what was run")]
    game: Annotated[str, Column("JSON", "every setting of the game")]
    policy_hash: Annotated[str, Column("SHA-256", "of the policy's file; of several roles a digest of all")]
    opponent_hash: Annotated[str, Column("SHA-256", "of the opponent's file")]
    instructions: Annotated[str, Column("name", "the processor's instructions that computed this")]
    versions: Annotated[str, Column("JSON", "of the packages that computed this, and a digest of our own source")]


class Decision(_Part):
    """What was found of one decision."""

    decision: Annotated[int, Column("number", "the decision's own, from 0")]
    flipped: Annotated[bool, Column("yes or no", "the attack changed the likeliest action")]
    certified: Annotated[bool, Column("yes or no", "proven: no state within epsilon changes the likeliest action")]
    by_intervals: Annotated[bool, Column("yes or no", "proven by intervals alone")]
    margin: Annotated[float, Column("logits", "lower bound of the likeliest action's lead over every other")]


class WholeRound(_Part):
    """A round without an attack, in which agents took their likeliest action, and what is proven of all of it."""

    round: Annotated[int, Column("number", "the round's own, from 0")]
    win: Annotated[bool | None, Column("yes or no", "more agents than the opponent were left at the end")] = None
    reward: Annotated[float, Column("reward", "summed over the team and the round")]
    steps: Annotated[int, Column("steps", "length of the round")]
    swapped: Annotated[bool, Column("yes or no", "the team played the other side")]
    agents: Annotated[int, Column("agents", "agents of the team at the start")]
    proven_agents: Annotated[
        int, Column("agents", "of those, how many made no decision that is not proven: attacked, they change nothing")
    ]


class PolicyFacts(_Part):
    """A policy that took part, as the report lists it."""

    scenario: str
    name: str
    role: str
    method: str
    rounds: int
    planned_rounds: int
    seed: int
    hash: str
    seconds: float = 0.0  # that its training took; 0 where it is not known
    log: str = Field(
        "", pattern=r"^(training/[\w+.,=-]+)?$"
    )  # a copy of its training's log, in the evaluation's folder


class Whole(_Part):
    """A count that was asked for above the team's size. It means the whole team, whose rows stand there once.

    own: whether the team's size itself was asked for too.
    """

    scenario: str
    asked: int
    team_size: int
    own: bool = True


class Batch(_Part):
    """Rounds that were added to a cell. of: the cell's name; first: number of the first of them; rounds: how many."""

    of: str
    first: int
    rounds: int


class Record(_Part):
    """What an evaluation is: written before its first round."""

    schema_version: Literal[2] = SCHEMA
    id: str  # digest of all its cells: the same evaluation, the same id
    created: str  # ISO 8601, local time, to the minute
    command: str
    settings: dict[str, Any]
    cells: dict[str, int]  # name to number of rounds
    batches: dict[str, Batch] = Field(default_factory=dict)  # by name, in the order in which they were added
    wholes: tuple[Whole, ...] = ()
    policies: tuple[PolicyFacts, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        write_sealed(folder / RECORD, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Record:
        """The record in `folder`; raises UserError where there is none that can be used."""
        path = folder / RECORD
        try:
            content = read_sealed(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder} holds no evaluation ({RECORD} is not there): see 'marlrobust list results', "
                "or make one with 'marlrobust attack'"
            ) from None
        except Damaged as error:
            raise UserError(f"{path} is damaged ({error}): run 'marlrobust attack' with --out {folder} again") from None
        if content.get("schema_version") != SCHEMA:
            raise UserError(f"{folder} was written by another version of marlrobust: evaluate again")
        try:
            record = cls.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{path} is no record of an evaluation: {reasons(error)}") from None
        if odd := [name for name in (*record.cells, *record.batches) if not NAME.fullmatch(name)]:
            raise UserError(f"{path} names a cell {odd[0]!r}: that is no name, and nothing of it is read")
        return record


Shared = Facts | DecisionFacts
Item = Round | Decision | WholeRound
P = TypeVar("P", bound=_Part)
Q = TypeVar("Q", bound=_Part)


def pack(facts: Shared, items: Sequence[Item]) -> dict[str, Any]:
    """A cell as JSON-able values: what its rows share, and a column of values for the rest."""
    columns = {name: [getattr(item, name) for item in items] for name in type(items[0]).model_fields}
    return {"schema_version": SCHEMA, "facts": facts.model_dump(mode="json"), "items": columns}


def parts(content: dict[str, Any], facts: type[P], item: type[Q]) -> tuple[P, list[Q]]:
    """What `pack` was given of these two; raises ValueError where `content` holds something else."""
    if content.get("schema_version") != SCHEMA:
        raise ValueError("another version of marlrobust wrote it")
    shared = facts.model_validate(content.get("facts"))
    columns = content.get("items")
    if not isinstance(columns, dict) or not all(isinstance(column, list) for column in columns.values()):
        raise ValueError("it has no rows")
    lines = zip(*columns.values(), strict=True)
    return shared, [item.model_validate(dict(zip(columns, line, strict=True))) for line in lines]


def unpack(content: dict[str, Any], facts: type[Shared], item: type[Item]) -> pd.DataFrame:
    """The rows of a cell, see `parts`."""
    shared, items = parts(content, facts, item)
    try:
        return frame(shared, items)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def frame(facts: Shared, items: Sequence[Item]) -> pd.DataFrame:
    """One row per item, every column of the schema."""
    columns: dict[str, Any] = {name: [value] * len(items) for name, value in facts}
    for name in type(items[0]).model_fields if items else ():
        columns[name] = [getattr(item, name) for item in items]
    return typed(pd.DataFrame(columns))


def joined(frames: Mapping[str, pd.DataFrame], batches: Mapping[str, Batch]) -> pd.DataFrame:
    """The rows of all cells, by name: those of a batch belong to the cell to which it was added, and have its facts."""
    parts = []
    for name, rows in frames.items():
        if name in batches:
            head = frames[batches[name].of]
            rows = typed(rows.assign(**{fact: head[fact].iloc[0] for fact in Facts.model_fields}))
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the schema's types and in its order: empty cells stay empty, whole numbers whole."""
    known = {k: v for part in (DecisionFacts, Decision, WholeRound, Facts, Round) for k, v in _types(part).items()}
    rows = rows.astype({name: known[name] for name in rows.columns if name in known})
    return rows[[*(c for c in LEADING if c in rows.columns), *(c for c in rows.columns if c not in LEADING)]]


def _types(part: type[_Part]) -> dict[str, str]:
    """Column to pandas' type; columns that may be empty have one that says so."""
    found = {}
    for name, field in part.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        empty = type(None) in kinds
        found[name] = {
            bool: "boolean" if empty else "bool",
            int: "Int64" if empty else "int64",
            float: "float64",
            str: "str",
        }[kinds[0]]
    return found


def dictionary(*parts: type[_Part]) -> pd.DataFrame:
    """The data dictionary of `parts` (Facts and Round, if none is given): column, unit, meaning; and of what a game
    measures its direction and its range."""
    metrics = {metric.column: metric for metric in METRICS}
    lines = []
    for part in parts or (Facts, Round):
        for name, field in part.model_fields.items():
            column = next(mark for mark in field.metadata if isinstance(mark, Column))
            line = {"column": name, "unit": column.unit, "meaning": column.meaning}
            if not parts:
                metric = metrics.get(name)
                least, most = metric.range if metric else ("", "")
                line |= {"better": metric.better if metric else "", "least": least, "most": most}
            lines.append(line)
    order = {name: i for i, name in enumerate(LEADING)}
    lines.sort(key=lambda line: order.get(line["column"], len(order)))
    return pd.DataFrame(lines)


def read_rows(path: Path) -> pd.DataFrame:
    """Rows that stand in one file, CSV or parquet; raises UserError where the file holds none."""
    try:
        rows = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else pd.read_csv(path, keep_default_na=False, na_values=[""])
        )
        for name, field in (Facts.model_fields | Round.model_fields).items():
            if name not in rows.columns:
                if field.is_required():
                    raise ValueError(f"it has no column {name}")
                rows[name] = field.default
        return typed(rows)
    except (OSError, ValueError, TypeError, ArithmeticError) as error:
        raise UserError(f"cannot read rows from {path}: {' '.join(str(error).split())}") from None


def flip_rate(rows: pd.DataFrame) -> float:
    """Share of all attacked decisions in `rows` whose likeliest action changed; NaN where none was attacked, or
    actions are vectors."""
    return share_of_decisions(rows, "flips")


def share_of_decisions(rows: pd.DataFrame, column: str) -> float:
    """Share of all attacked decisions in `rows` that `column` counts, in rounds that have it; NaN where none has."""
    decisions = int(rows.loc[rows[column].notna(), "decisions"].sum())
    return float(rows[column].sum()) / decisions if decisions else float(np.nan)


def per_decision(rows: pd.DataFrame, column: str) -> float:
    """The mean of a round's mean over all attacked decisions in `rows` that have one; NaN where none has."""
    told = rows[rows[column].notna() & (rows["decisions"] > 0)]
    return float(np.average(told[column], weights=told["decisions"].astype(float))) if len(told) else float(np.nan)
