"""Rows (one per round) to the lines of a table (one per cell), and what is made of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.metrics import METRICS, WIN, Metric
from marlrobust.reports import comparisons, doubts, labels, paired, paper, statistics
from marlrobust.reports.cells import SETTING, Cell, Key, cells_of, clean_of, grouped
from marlrobust.reports.labels import GROUP, UNATTACKED, attack_label
from marlrobust.rows import Whole, flip_rate, per_decision, share_of_decisions
from marlrobust.sequence import confidence_sequence

PANEL = ["scenario", "setting", *GROUP]
"""What the lines share that are drawn beside each other."""

COPIED = ["cell", "opponent", "greedy", "seed", "team_size", "opponents", "train_seed"]
"""Other facts of the cell that a line repeats."""


@dataclass(frozen=True)
class Tables:
    """All that a report shows, computed once.

    rows: one per round; lines: of `table`; metrics: those that any row has; trained: of `over_trainings`; strength: of
    `strength`, None where there is one attack at most; halves: where there are several, the lines of rounds with even
    numbers and of those with odd ones: the worst is chosen on the first and told of the second, since the worst of
    several is in part the unluckiest. None where that cannot be, see `LEAST`.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    metrics: tuple[Metric, ...]
    trained: pd.DataFrame
    strength: pd.DataFrame | None
    halves: tuple[pd.DataFrame, pd.DataFrame] | None


LEAST = 8
"""Rounds of a cell, at least, to choose on half of them and tell of the other half."""


def of(rows: pd.DataFrame, wholes: Sequence[Whole] = (), until: float | None = None) -> Tables:
    """The tables of `rows`; see `table`. Raises ValueError for no rows."""
    if rows.empty:
        raise ValueError("no rows to report: run an evaluation first")
    lines = table(rows, wholes, until)
    several = len(groups(lines[lines["attacked_agents"] > 0])) > 1
    halves = _halves(rows, lines, wholes, until) if several else None
    return Tables(rows, lines, metrics_of(rows), over_trainings(lines), strength(lines) if several else None, halves)


def most_attacked(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines with the most agents attacked, of one epsilon, and the clean ones: what a verdict looks at."""
    shown = one_epsilon(lines)
    most = shown.groupby(["scenario", "setting"])["attacked_agents"].transform("max")
    return shown[shown["attacked_agents"].isin((0,)) | (shown["attacked_agents"] == most)]


def _halves(
    rows: pd.DataFrame, lines: pd.DataFrame, wholes: Sequence[Whole], until: float | None
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    shown = most_attacked(lines)
    if shown["rounds"].min() < LEAST:
        return None
    rows = rows[rows["cell"].isin(shown["cell"])]
    metrics = metrics_of(lines)  # a half may have rounds that tell less
    chosen, told = (table(rows[rows["round"] % 2 == odd], wholes, until, metrics) for odd in (0, 1))
    return chosen, told


def metrics_of(rows: pd.DataFrame) -> tuple[Metric, ...]:
    """The metrics that any of `rows`, or of the lines of a table, has."""
    return tuple(
        m for m in METRICS if any(name in rows.columns and rows[name].notna().any() for name in (m.column, m.mean))
    )


def columns(metrics: Sequence[Metric], vectors: bool = False, proven: bool = False) -> list[str]:
    """Of `table`, for rows that have these metrics; vectors: whether any have actions that are; proven:
    whether proofs were asked for."""
    own = [name for m in metrics for name in (*measured(m), *comparisons.loss_columns(m), f"{m.short}_p")]
    marks = [f"{m.short}_mark" for m in metrics]
    theirs = [f"paper_{name}" for m in metrics for name in measured(m)[: 1 if m.share else 2]]
    draws = ["draw_rate"] if WIN in metrics else []
    line = ["scenario", "setting", "policy", "method", *GROUP, "attacked_agents"]
    counted = [
        "decisions",
        "flip_rate",
        *(["displacement"] if vectors else []),
        *(["proven_rate"] if proven else []),
        "steps_mean",
    ]
    return [*line, *COPIED, "rounds", *own, *draws, *counted, *theirs, *marks, *doubts.STATES]


def measured(metric: Metric) -> list[str]:
    """Columns of a metric: mean, sample standard deviation (not of a share), ends of the 95 % interval."""
    spread = [] if metric.share else [f"{metric.short}_std"]
    return [metric.mean, *spread, f"{metric.short}_low", f"{metric.short}_high"]


def table(
    rows: pd.DataFrame,
    wholes: Sequence[Whole] = (),
    until: float | None = None,
    metrics: Sequence[Metric] | None = None,
) -> pd.DataFrame:
    """One line per cell, with the `columns` of `metrics`, or of those that the rows have.

    rows: with the columns of `rows.Facts` and `rows.Round`; wholes: counts above a team's size, for which the line of
    the whole team is repeated; until: how far the interval of a mean was to reach, where rounds were added until it
    did: those of numbers that have a smallest and a largest value are confidence sequences then. A clean cell stands at
    count 0 of every `GROUP` that it is the clean part of.

    Shares are in [0, 1]; reward is the team's sum over a round; intervals are 95 %, over rounds, and hold only what is
    possible. kept, change, scale: see `comparisons.losses`. p: of the rounds with and without the attack being alike,
    corrected for all lines of the scenario (Holm). flip_rate: of all decisions of attacked agents; displacement: of
    vectors, where there are any, the mean over decisions, in halves of their range; proven_rate: of the same decisions,
    those that intervals prove, where that was asked. paper_...: the paper's numbers, where the cell is what the paper
    ran. mark: see `comparisons.marks`, of the policies under one
    attack. checks, unclear, passed: names of the checks that are raised, for which there are too few rounds to tell,
    and that are passed, joined by "; ".
    """
    cells, metrics = cells_of(rows), metrics_of(rows) if metrics is None else metrics
    clean, answers, names = clean_of(cells), doubts.answers(cells), labels.names_of(cells)
    same = _p_values(clean, metrics)
    numbers = {cell: _numbers(cell, metrics, until) for cell in cells}
    lines = []
    for cell, group in _places(cells, clean, names):
        line = cell.facts | names[cell] | group | numbers[cell]
        if cell in clean:
            for m in metrics:
                line |= comparisons.losses(cell, clean[cell], numbers[cell], numbers[clean[cell]], m)
        line |= same.get(cell, {})
        for column, state in doubts.STATES.items():
            line[column] = "; ".join(name for name, told in answers[cell].items() if told == state)
        for count in _counts(cell, wholes):
            lines.append(line | {"attacked_agents": count} | paper.numbers_of(cell, count))
    told = pd.DataFrame(
        lines, columns=columns(metrics, *(bool(rows[c].notna().any()) for c in ("displacement", "proven")))
    )
    told = labels.in_order(told, [*PANEL, "attacked_agents", "method", "policy"])
    by_name = {cell["cell"]: cell for cell in cells}
    beside = [*PANEL, "attacked_agents"]
    for m in metrics:
        parts = [comparisons.marked(part, by_name, beside, m) for _, part in told.groupby("scenario", sort=False)]
        told[f"{m.short}_mark"] = pd.concat([pd.Series(dtype=object), *parts])
    return told


def _counts(cell: Cell, wholes: Sequence[Whole]) -> list[int]:
    """The counts at which a cell stands: its own, if it was asked for, and those that mean the same."""
    own = cell.key(["scenario", "team_size", "attacked_agents"])
    meant = [w for w in wholes if (w.scenario, w.team_size, w.team_size) == own]
    return [*([own[2]] if all(w.own for w in meant) else []), *(w.asked for w in meant)]


def _p_values(clean: dict[Cell, Cell], metrics: Sequence[Metric]) -> dict[Cell, dict[str, float]]:
    """Of each attacked cell and its clean one, by the column of a table."""
    found: dict[Cell, dict[str, float]] = {cell: {} for cell in clean}
    for own in grouped(clean, lambda cell: cell["scenario"]).values():
        for m in metrics:
            corrected = paired.holm([comparisons.p_value(m, cell, clean[cell]) for cell in own])
            for cell, p in zip(own, corrected, strict=True):
                found[cell][f"{m.short}_p"] = p
    return found


def _places(
    cells: Sequence[Cell], clean: dict[Cell, Cell], names: dict[Cell, dict[str, str]]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The cells, each clean one with every `GROUP` whose clean part it is.

    One whose policy nobody attacked joins the groups of the game, played the same way; any other stays alone.
    """
    attacked = [cell for cell in cells if not cell.clean]
    sides = {cell.side for cell in attacked}
    partners = grouped((cell for cell in attacked if cell in clean), clean.__getitem__)
    of_game = grouped(attacked, lambda cell: cell.key(["scenario", *SETTING]))
    yield from ((cell, {}) for cell in attacked)
    for cell in (cell for cell in cells if cell.clean):
        others = [] if cell.side in sides else of_game.get(cell.key(["scenario", *SETTING]), [])
        shown = [one.facts | names[one] for one in partners.get(cell, others)]
        alone = UNATTACKED | {"attack": names[cell]["attack"]}
        ways = dict.fromkeys(tuple(one[name] for name in GROUP) for one in shown or [alone])
        yield from ((cell, dict(zip(GROUP, way, strict=True))) for way in ways)


def _numbers(cell: Cell, metrics: Sequence[Metric], until: float | None) -> dict[str, Any]:
    """What was measured in the cell's rounds."""
    rounds = cell.rounds
    found: dict[str, Any] = {"rounds": len(rounds), "decisions": int(rounds["decisions"].sum())}
    found |= {"flip_rate": flip_rate(rounds), "steps_mean": rounds["steps"].mean(), "draw_rate": rounds["draw"].mean()}
    found |= {"displacement": per_decision(rounds, "displacement"), "proven_rate": share_of_decisions(rounds, "proven")}
    for metric in metrics:
        values = cell.values(metric.column)
        n = len(values)
        mean, std = (values.mean() if n else np.nan), (values.std(ddof=1) if n > 1 else np.nan)
        least, most = metric.ends(cell)
        if n and until is not None and math.isfinite(most - least):
            shares = confidence_sequence((values - least) / (most - least), until)
            ends = least + shares[0] * (most - least), least + shares[1] * (most - least)
        elif n and metric.share:
            ends = statistics.wilson_interval(int(values.sum()), n)
        else:
            ends = statistics.mean_interval(mean, std, n, within=(least, most))
        spread = [] if metric.share else [std]
        found |= dict(zip(measured(metric), [mean, *spread, *ends], strict=True))
    return found


def groups(lines: pd.DataFrame) -> list[Key]:
    """The values of `GROUP` in `lines`, each once, in order."""
    return sorted(lines[GROUP].drop_duplicates().itertuples(index=False, name=None))


def one_epsilon(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of one epsilon per attack: the paper's where it was played, else the largest.

    Epsilon is an axis; what is shown for one value of it is shown for this one.
    """
    epsilons = lines.groupby([name for name in PANEL if name != "epsilon"])["epsilon"]
    chosen = epsilons.transform(lambda e: paper.EPSILON if (e == paper.EPSILON).any() else e.max())
    return lines[lines["epsilon"] == chosen]


def by_training(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of `table`, with the policy's name for a method where its policies are no runs of one training."""
    key = ["scenario", "setting", "method"]
    runs = lines.drop_duplicates([*key, "policy"]).groupby(key)
    several = runs["policy"].nunique()
    alike = several[(several > 1) & (runs["train_seed"].nunique() < several)].index
    apart = pd.MultiIndex.from_frame(lines[key]).isin(alike)
    return lines.assign(method=lines["policy"].where(apart, lines["method"]))


def over_trainings(lines: pd.DataFrame) -> pd.DataFrame:
    """One line per method, from the lines of `table`: policies with different training seeds are its training runs.

    trainings: how many; means: over the runs of each one's mean over rounds, rounds of several runs are never
    pooled. win_low, win_high …: 95 % interval over rounds, of the mean of just these runs; win_train_low,
    win_train_high …: over training runs (t interval of their means), NaN for one run. Policies of a method whose
    seeds are equal, or not known, are no runs of one training: each is a method of its own here, by its name.
    """
    named, metrics = by_training(lines), metrics_of(lines)
    shared = [*PANEL, "method", "attacked_agents"]
    same = ["team_size", *(name for name in lines.columns if name.startswith("paper_"))]
    told = []
    for about, part in named.groupby(shared, sort=False):
        first = part.iloc[0]
        line = dict(zip(shared, about, strict=True)) | {"trainings": len(part)} | first[same].to_dict()
        for m in metrics:
            means, lows, highs = (part[name].tolist() for name in (m.mean, f"{m.short}_low", f"{m.short}_high"))
            low, high = statistics.interval_of_mean(means, lows, highs)
            line |= {m.mean: float(np.mean(means)), f"{m.short}_low": low, f"{m.short}_high": high}
            low, high = statistics.training_interval(means, m.ends(first))
            line |= {f"{m.short}_train_low": low, f"{m.short}_train_high": high}
        told.append(line)
    return pd.DataFrame(told)


def strength(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean reward, one row per (scenario, setting, attacked_agents, method, policy), one column per `attack_label`.

    lines: of `table`. What was not played is NaN.
    """
    attacked = lines[lines["attacked_agents"] > 0]
    rows = ["scenario", "setting", "attacked_agents", "method", "policy"]
    wide = attacked.set_index([*rows, *GROUP])["reward_mean"].unstack(GROUP, sort=False)
    ways = groups(attacked)
    return wide[ways].set_axis([attack_label(*way) for way in ways], axis=1).reset_index()
