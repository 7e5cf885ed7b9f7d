"""Rows (one per round) to the lines of a table (one per cell), and what is made of these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.reports import doubts, labels, paper
from marlrobust.reports.cells import SETTING, Cell, Key, cells_of, clean_of, read
from marlrobust.reports.labels import GROUP, UNATTACKED, attack_label, method_order
from marlrobust.reports.statistics import (
    ANY,
    Interval,
    correlation_of_means,
    interval_of_mean,
    mean_interval,
    training_interval,
    wilson_interval,
)
from marlrobust.reports.verdict import kept
from marlrobust.rows import METRICS, WIN, Metric, Whole, flip_rate

LINE = ["scenario", "setting", "policy", "method", *GROUP, "attacked_agents"]
"""What a line is called; what it is, `cell` says."""

PANEL = ["scenario", "setting", *GROUP]
"""What the lines share that are drawn beside each other."""

COPIED = ["cell", "opponent", "greedy", "seed", "team_size", "opponents", "train_seed"]
"""Facts of the cell that a line repeats."""

KEPT = ("kept", "kept_low", "kept_high")


@dataclass(frozen=True)
class Tables:
    """All that a report shows, computed once.

    rows: one per round; lines: of `table`; metrics: those that any row has; trained: of `over_trainings`; strength: of
    `strength`, None where there is one attack at most.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    metrics: tuple[Metric, ...]
    trained: pd.DataFrame
    strength: pd.DataFrame | None


def of(rows: pd.DataFrame, wholes: Sequence[Whole] = ()) -> Tables:
    """The tables of `rows`; see `table`. Raises ValueError for no rows."""
    if rows.empty:
        raise ValueError("no rows to report: run an evaluation first")
    lines = table(rows, wholes)
    several = len(groups(lines[lines["attacked_agents"] > 0])) > 1
    return Tables(rows, lines, metrics_of(rows), over_trainings(lines), strength(lines) if several else None)


def metrics_of(rows: pd.DataFrame) -> tuple[Metric, ...]:
    """The metrics that any of `rows`, or of the lines of a table, has."""
    return tuple(
        m for m in METRICS if any(name in rows.columns and rows[name].notna().any() for name in (m.column, m.mean))
    )


def columns(metrics: Sequence[Metric]) -> list[str]:
    """Of `table`, for rows that have these metrics."""
    own = [name for m in metrics for name in (*measured(m), *(f"{m.short}_{name}" for name in KEPT))]
    theirs = [f"paper_{name}" for m in metrics for name in measured(m)[: 1 if m.share else 2]]
    draws = ["draw_rate"] if WIN in metrics else []
    return [*LINE, *COPIED, "rounds", *own, *draws, "decisions", "flip_rate", "steps_mean", *theirs, "checks", "passed"]


def measured(metric: Metric) -> list[str]:
    """Columns of a metric: mean, sample standard deviation (not of a share), ends of the 95 % interval."""
    spread = [] if metric.share else [f"{metric.short}_std"]
    return [metric.mean, *spread, f"{metric.short}_low", f"{metric.short}_high"]


def table(rows: pd.DataFrame, wholes: Sequence[Whole] = ()) -> pd.DataFrame:
    """One line per cell, with the `columns` of the metrics that the rows have.

    rows: with the columns of `rows.Facts` and `rows.Round`; wholes: counts above a team's size, for which the line of
    the whole team is repeated. A clean cell stands at count 0 of every `GROUP` that it is the clean part of.

    Shares are in [0, 1]; reward is the team's sum over a round; intervals are 95 %, over rounds, and hold only what is
    possible. kept: the attacked mean as a share of the clean one, see `verdict.kept`. flip_rate: of all decisions of
    attacked agents. paper_...: the paper's numbers, where the cell is what the paper ran. checks, passed: names of the
    checks that are raised, and that were made and are not raised, joined by "; ".
    """
    cells, metrics = cells_of(rows), metrics_of(rows)
    clean, answers = clean_of(cells), doubts.answers(cells)
    numbers = {str(cell.facts["cell"]): _numbers(cell, metrics) for cell in cells}
    called = _called(cells)
    lines = []
    for cell, group in [*((c, None) for c in cells if not c.clean), *_clean_places(cells, clean, called)]:
        digest = str(cell.facts["cell"])
        line = called[digest] | dict(zip(GROUP, group, strict=True)) if group else dict(called[digest])
        line |= {name: cell.facts[name] for name in COPIED} | numbers[digest]
        if digest in clean:
            partner = clean[digest]
            line |= _kept(metrics, cell, line, partner, numbers[str(partner.facts["cell"])])
        line |= {
            "checks": "; ".join(name for name, is_raised in answers[digest].items() if is_raised),
            "passed": "; ".join(name for name, is_raised in answers[digest].items() if not is_raised),
        }
        for count in _counts(cell, wholes):
            lines.append(line | {"attacked_agents": count} | _papers(cell, count, metrics))
    told = pd.DataFrame(lines, columns=columns(metrics))
    place = {method: index for index, method in enumerate(method_order(told["method"]))}
    order = ["scenario", "setting", *GROUP, "attacked_agents", "place", "policy"]
    return told.assign(place=told["method"].map(place)).sort_values(order, ignore_index=True).drop(columns="place")


def stored_table(path: Path) -> pd.DataFrame:
    """The lines that a report wrote into `path`, its table.csv: names stay text, and empty ones stay empty."""
    names = ["scenario", "setting", "policy", "method", "attack", "norm", "features", "victims"]
    texts = [*names, "cell", "opponent", "checks", "passed"]
    lines = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts, str))
    return lines.assign(**{name: lines[name].fillna("") for name in texts})


def _called(cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """Digest of each cell to the values of `LINE`."""
    policies, attacks, settings = labels.policy_names(cells), labels.attack_names(cells), labels.settings(cells)
    called = {}
    for cell in cells:
        digest = str(cell.facts["cell"])
        attack, victims = attacks[digest]
        line = {name: cell.facts[name] for name in LINE if name in cell.facts}
        line |= {"policy": policies[cell.facts["policy_hash"]], "setting": settings[digest]}
        called[digest] = line | {"attack": attack, "victims": victims}
    return called


def _clean_places(
    cells: Sequence[Cell], clean: dict[str, Cell], called: dict[str, dict[str, Any]]
) -> list[tuple[Cell, Key]]:
    """Every clean cell with each `GROUP` whose clean part it is.

    One whose policy nobody attacked joins the groups of the game, played the same way; any other stays alone.
    """
    own: dict[str, dict[Key, None]] = defaultdict(dict)
    alike: dict[Key, dict[Key, None]] = defaultdict(dict)
    attacked = {cell.side for cell in cells if not cell.clean}
    for cell in cells:
        digest = str(cell.facts["cell"])
        group = tuple(called[digest][name] for name in GROUP)
        if not cell.clean:
            alike[cell.key(["scenario", *SETTING])][group] = None
        if digest in clean:
            own[str(clean[digest].facts["cell"])][group] = None
    found = []
    for cell in (c for c in cells if c.clean):
        digest = str(cell.facts["cell"])
        groups = own[digest] or ({} if cell.side in attacked else alike[cell.key(["scenario", *SETTING])])
        alone: Key = (called[digest]["attack"], *UNATTACKED[1:])
        found += [(cell, group) for group in groups or {alone: None}]
    return found


def _counts(cell: Cell, wholes: Sequence[Whole]) -> list[int]:
    """The counts at which a cell stands: its own, and those that mean its whole team."""
    here = cell.facts["scenario"], cell.facts["team_size"]
    whole = cell.count == cell.facts["team_size"]
    return [cell.count, *(w.asked for w in wholes if whole and here == (w.scenario, w.team_size))]


def _numbers(cell: Cell, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What was measured in the cell's rounds."""
    rounds = cell.rounds
    found: dict[str, Any] = {"rounds": len(rounds), "decisions": int(rounds["decisions"].sum())}
    found |= {"flip_rate": flip_rate(rounds), "steps_mean": float(rounds["steps"].mean())}
    for metric in metrics:
        values = rounds[metric.column].astype("Float64").dropna().to_numpy(float)
        n, mean = len(values), float(values.mean()) if len(values) else np.nan
        std = float(values.std(ddof=1)) if n > 1 else np.nan
        if n and metric.share:
            ends = wilson_interval(int(values.sum()), n)
        else:
            ends = mean_interval(mean, std, n, within=possible(metric, cell.facts))
        spread = [] if metric.share else [std]
        found |= dict(zip(measured(metric), [mean, *spread, *ends], strict=True))
    if WIN in metrics:
        draws = rounds["draw"].dropna().to_numpy(bool)
        found["draw_rate"] = float(draws.mean()) if len(draws) else np.nan
    return found


def possible(metric: Metric, facts: Any) -> Interval:
    """The least and the largest value that a metric can have in rounds of these facts."""
    if metric.most is None:
        return ANY
    return 0.0, float(facts[metric.most] if isinstance(metric.most, str) else metric.most)


def _kept(
    metrics: Sequence[Metric], cell: Cell, line: dict[str, Any], partner: Cell, clean: dict[str, Any]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in metrics:
        correlation = correlation_of_means(cell.by_round(metric.column), partner.by_round(metric.column))
        shares = kept(metric, clean, line, correlation)
        found |= {f"{metric.short}_{name}": share for name, share in zip(KEPT, shares, strict=True)}
    return found


def _papers(cell: Cell, count: int, metrics: Sequence[Metric]) -> dict[str, float]:
    """The paper's numbers, where the cell is what the paper ran."""
    if not paper.played(cell.facts, read(cell.facts["game"]), cell.parameters):
        return {}
    return {
        f"paper_{name}": value
        for name, value in paper.numbers(cell.facts["scenario"], count, cell.facts["method"]).items()
    }


def groups(lines: pd.DataFrame, names: Sequence[str] = GROUP) -> list[Key]:
    """The values of `names` in `lines`, each once, in order."""
    return sorted(lines[list(names)].drop_duplicates().itertuples(index=False, name=None))


def one_epsilon(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of one epsilon per attack: the paper's where it was played, else the largest.

    Epsilon is an axis; what is shown for one value of it is shown for this one.
    """
    same = [name for name in PANEL if name != "epsilon"]
    chosen = lines.groupby(same)["epsilon"].transform(
        lambda e: paper.EPSILON if (e == paper.EPSILON).any() else e.max()
    )
    return lines[lines["epsilon"] == chosen]


def over_trainings(lines: pd.DataFrame) -> pd.DataFrame:
    """One line per method, from the lines of `table`: policies with different training seeds are its training runs.

    trainings: how many; means: over the runs of each one's mean over rounds, rounds of several runs are never
    pooled. win_low, win_high …: 95 % interval over rounds, of the mean of just these runs; win_train_low,
    win_train_high …: over training runs (t interval of their means), NaN for one run. Policies of a method whose
    seeds are equal, or not known, are no runs of one training: each is a method of its own here, by its name.
    """
    key, metrics = ["scenario", "setting", "method"], metrics_of(lines)
    runs = lines.drop_duplicates([*key, "policy"]).groupby(key)
    several = runs["policy"].nunique()
    alike = several[(several > 1) & (runs["train_seed"].nunique() < several)].index
    apart = pd.MultiIndex.from_frame(lines[key]).isin(alike)
    named = lines.assign(method=lines["policy"].where(apart, lines["method"]))
    shared = [*PANEL, "method", "attacked_agents"]
    told = []
    for about, part in named.groupby(shared, sort=False):
        line = dict(zip(shared, about, strict=True)) | {"trainings": len(part), "team_size": part["team_size"].iloc[0]}
        line |= {name: part[name].iloc[0] for name in lines.columns if name.startswith("paper_")}
        for metric in metrics:
            line |= _of_runs(metric, part)
        told.append(line)
    return pd.DataFrame(told)


def _of_runs(metric: Metric, part: pd.DataFrame) -> dict[str, float]:
    """A metric's mean over training runs, and its two intervals."""
    means = part[metric.mean].astype(float).tolist()
    low, high, train_low, train_high = (f"{metric.short}{by}_{end}" for by in ("", "_train") for end in ("low", "high"))
    ends = interval_of_mean(means, part[low].tolist(), part[high].tolist())
    over = training_interval(means, within=possible(metric, part.iloc[0]))
    return {
        metric.mean: float(np.mean(means)),
        **dict(zip((low, high, train_low, train_high), ends + over, strict=True)),
    }


def strength(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean reward, one row per (scenario, setting, attacked_agents, method, policy), one column per `attack_label`.

    lines: of `table`. What was not played is NaN.
    """
    attacked = lines[lines["attacked_agents"] > 0]
    rows = ["scenario", "setting", "attacked_agents", "method", "policy"]
    named = attacked.assign(label=[attack_label(*way) for way in attacked[GROUP].itertuples(index=False, name=None)])
    wide = named.set_index([*rows, "label"])["reward_mean"].unstack("label", sort=False)
    names: Iterable[str] = dict.fromkeys(attack_label(*way) for way in groups(attacked))
    return wide[list(names)].rename_axis(columns=None).reset_index()
