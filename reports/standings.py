"""What a policy is worth in one small record: clean, under its worst attack, what is proven, and what it cost.

Made from the rows of an evaluation by `submission`, by whoever played it; `board` puts many of them beside each other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marlrobust.config import reasons
from marlrobust.errors import UserError
from marlrobust.files import Damaged, read_sealed, write_sealed
from marlrobust.metrics import METRICS
from marlrobust.reports import statistics
from marlrobust.reports.labels import GROUP, attack_of
from marlrobust.reports.tables import Tables, by_training, most_attacked
from marlrobust.reports.verdict import WEIGHED, Line, left
from marlrobust.rows import PolicyFacts, Record, slug

VERSION: Literal[1] = 1

SUFFIX = ".record.json"
"""Ends the name of a record's file."""

PLACE = ["scenario", "setting"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Frozen):
    """A mean with its 95 % interval; None where there is none."""

    mean: float
    low: float | None = None
    high: float | None = None


class Standing(_Frozen):
    """One method, or policy, in one game, over its training runs.

    name: of the method, or of the policy; runs: the policies, one per training;
    over: what the intervals are over; protocol: what records have to share to
    stand in one table; attacks: what was tried; clean, worst: metric's column to its estimate, worst under
    `worst_attack`, the one of which least is left; kept: that share; proven: share of the attacked decisions, 0 to 1;
    doubts: names of the checks that were raised; seconds: one training took, None where it is not known; rounds: per
    cell; rows: SHA-256 of what was measured.
    """

    name: str
    runs: tuple[PolicyFacts, ...]
    over: Literal["trainings", "rounds"]
    protocol: dict[str, Any]
    attacks: tuple[str, ...]
    clean: dict[str, Estimate]
    worst_attack: str
    worst: dict[str, Estimate]
    kept: Estimate | None
    proven: float | None
    doubts: tuple[str, ...]
    seconds: float | None
    rounds: int
    rows: str


class Submission(_Frozen):
    """A standing with all that it takes to repeat it: settings of the evaluation, and the versions it was made with."""

    version: Literal[1] = VERSION
    standing: Standing
    settings: dict[str, Any]
    created: str
    versions: dict[str, str] = Field(default_factory=dict)
    note: Annotated[str, Field(max_length=500)] = ""

    @property
    def file(self) -> str:
        """A name for its file."""
        return f"{slug(str(self.standing.protocol['scenario']))}-{slug(self.standing.name)}{SUFFIX}"

    def write(self, folder: Path) -> Path:
        """Write it, with a checksum, and return its path."""
        write_sealed(folder / self.file, self.model_dump(mode="json"))
        return folder / self.file

    @classmethod
    def read(cls, path: Path) -> Submission:
        """The record in a file; raises UserError for anything else."""
        try:
            return cls.model_validate(read_sealed(path))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): give a file that 'submit' wrote") from None
        except Damaged as error:
            raise UserError(f"{path} is damaged, or was changed by hand ({error}): ask for it again") from None
        except ValidationError as error:
            raise UserError(f"{path} is no record of a policy: {reasons(error)}") from None


def submissions(tables: Tables, record: Record, note: str = "") -> list[Submission]:
    """A record per method and place; raises UserError where nobody was attacked, or nothing was played clean."""
    chosen, told = tables.halves or (most_attacked(tables.lines), most_attacked(tables.lines))
    shown = by_training(most_attacked(tables.lines))
    found = []
    for (*_, method), lines in shown.groupby([*PLACE, "method"], sort=False):
        standing = _standing(str(method), lines, chosen, told, tables.rows, record)
        settings = {**record.settings, "policies": _asked(record.settings, lines["policy"])}
        found.append(
            Submission(
                standing=standing, settings=settings, created=record.created, versions=record.versions, note=note
            )
        )
    return found


def _standing(
    method: str, lines: pd.DataFrame, chosen: pd.DataFrame, told: pd.DataFrame, rows: pd.DataFrame, record: Record
) -> Standing:
    hurt = lines[lines["attacked_agents"] > 0]
    if hurt.empty or len(hurt) == len(lines):
        raise UserError("a record tells of a policy with and without attack: give --agents 0,8, or the whole team")
    metrics = [m for m in METRICS if m.mean in lines and lines[m.mean].notna().any()]
    weighed = [m for m in metrics if m in WEIGHED]

    def rest(line: Any) -> tuple[float, float, float]:
        known = [share for m in weighed if not math.isnan((share := left(line, m))[0])]
        return min(known, default=(math.nan,) * 3)

    def of_cells(group: pd.DataFrame, half: pd.DataFrame) -> Sequence[Line]:
        return half[half["cell"].isin(group["cell"])].drop_duplicates("cell").to_dict("records")

    def least(group: pd.DataFrame) -> tuple[float, float]:
        own = of_cells(group, chosen)
        shares = [share for line in own if not math.isnan(share := rest(line)[0])]
        return (sum(shares) / len(shares) if shares else math.inf), sum(line["reward_mean"] for line in own)

    _, worst = min(hurt.groupby(GROUP, sort=False), key=lambda group: least(group[1]))
    clean = lines[(lines["attacked_agents"] == 0) & (lines[GROUP] == worst[GROUP].iloc[0]).all(axis=1)]
    after = of_cells(worst, told)
    shares = [rest(line) for line in after]
    known = [share for share in shares if not math.isnan(share[0])]
    cells = rows[rows["policy"].isin(lines["policy"]) & (rows["scenario"] == lines["scenario"].iloc[0])]
    policies = {facts.hash: facts for facts in record.policies}
    runs = tuple(policies[digest] for digest in dict.fromkeys(cells["policy_hash"]) if digest in policies)
    seconds = [run.seconds for run in runs if run.seconds]
    proven = hurt["proven_rate"].dropna() if "proven_rate" in hurt else pd.Series(dtype=float)
    first = worst.iloc[0]
    one = cells[cells["attacked_agents"] == first["attacked_agents"]].iloc[0]
    return Standing(
        name=method,
        runs=runs,
        over="trainings" if len(after) > 1 else "rounds",
        protocol={
            "scenario": str(first["scenario"]),
            "setting": str(first["setting"]),
            "game": str(one["game"]),
            "opponent_hash": str(one["opponent_hash"]),
            "attacked": int(first["attacked_agents"]),
            "of": int(first["team_size"]),
            "epsilon": float(first["epsilon"]),
            "norm": str(one["norm"]),
            "greedy": bool(first["greedy"]),
        },
        attacks=tuple(dict.fromkeys(attack_of(line) for line in hurt.to_dict("records"))),
        clean={m.column: _estimate(m, clean.to_dict("records")) for m in metrics},
        worst_attack=attack_of(first),
        worst={m.column: _estimate(m, after) for m in metrics},
        kept=_over([share[0] for share in known], known[0]) if known else None,
        proven=float(proven.mean()) if len(proven) else None,
        doubts=tuple(sorted({name for names in hurt["checks"] for name in str(names).split("; ") if name})),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        rounds=int(lines["rounds"].min()),
        rows=_digest(cells),
    )


def _estimate(metric: Any, lines: Sequence[Line]) -> Estimate:
    """Over the training runs, or of one over its rounds."""
    first = lines[0]
    own = tuple(first[f"{metric.short}_{end}"] for end in ("low", "high"))
    return _over([line[metric.mean] for line in lines], (first[metric.mean], *own), metric.ends(first))


def _over(
    means: Sequence[float], one: tuple[float, ...], within: statistics.Interval = (-math.inf, math.inf)
) -> Estimate:
    """The mean of several means, with the interval over them; of one, its own."""
    low, high = statistics.training_interval(means, within) if len(means) > 1 else one[1:]
    ends = [None if math.isnan(end) or math.isinf(end) else float(end) for end in (low, high)]
    return Estimate(mean=float(sum(means) / len(means)), low=ends[0], high=ends[1])


def _asked(settings: dict[str, Any], names: Iterable[str]) -> list[str]:
    """The policies of a record as they were named, or else by their own names."""
    given = list(settings.get("policies") or ())
    return [next((g for g in given if Path(g).name == name or g == name), name) for name in dict.fromkeys(names)]


def _digest(rows: pd.DataFrame) -> str:
    """Of what was measured, in an order that does not depend on names of cells."""
    about = ["policy_hash", "attack", "attack_parameters", "epsilon", "victims", "attacked_agents", "round"]
    measured = [*(m.column for m in METRICS), "steps", "flips", "decisions"]
    text = rows.sort_values(about)[[*about, *measured]].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(told: Standing, found: Standing) -> list[str]:
    """What of a record does not come out again, in sentences: a hash, or a mean outside the interval that was told."""
    sentences = []
    hashes = [sorted(run.hash for run in standing.runs) for standing in (told, found)]
    if hashes[0] != hashes[1]:
        sentences.append("the policies are other files than those of the record")
    for where in ("clean", "worst"):
        for name, estimate in getattr(told, where).items():
            again = getattr(found, where).get(name)
            if again is None:
                sentences.append(f"{name} ({where}) was not measured again")
            elif estimate.low is None or estimate.high is None:
                if not math.isclose(again.mean, estimate.mean, rel_tol=1e-6, abs_tol=1e-9):
                    sentences.append(f"{name} ({where}) is {again.mean:.4g}, and the record tells {estimate.mean:.4g}")
            elif not estimate.low - 1e-9 <= again.mean <= estimate.high + 1e-9:
                sentences.append(
                    f"{name} ({where}) is {again.mean:.4g}, outside of what the record tells: "
                    f"{estimate.mean:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"
                )
    if told.proven is not None and (found.proven is None or abs(found.proven - told.proven) > 0.01):
        sentences.append("the share of proven decisions is another one")
    return sentences
