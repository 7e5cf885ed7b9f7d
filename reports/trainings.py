"""Methods that were trained several times: what a further training may bring, from runs first and their rounds then.

Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (NeurIPS 2021): interquartile
means, stratified bootstraps, the probability of improvement.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.metrics import Metric
from marlrobust.reports.cells import Cell, Floats, cells_of
from marlrobust.reports.labels import number
from marlrobust.reports.paired import MANY, RESAMPLES
from marlrobust.reports.statistics import Interval
from marlrobust.reports.tables import PANEL, Tables, by_training, most_attacked

FEWEST = 3
"""Runs of each method without which no ranking is claimed."""

ABOUT = [*PANEL, "method", "attacked_agents"]


def interquartile_mean(values: Floats) -> Floats:
    """The mean of the middle half along the last axis, (..., n) to (...): a value on its edge counts in part."""
    n = values.shape[-1]
    edges = np.clip(np.arange(n + 1) / n, 0.25, 0.75)
    weights = 2 * np.diff(edges)
    found: Floats = np.sort(values, axis=-1) @ weights
    return found


def resampled(runs: Sequence[Floats]) -> Floats:
    """Means of k runs drawn with replacement, each over its rounds drawn with replacement: (RESAMPLES, k).

    runs: the values of each run's rounds, k arrays; the mean of more than `MANY` is normal. The same runs give the same
    resamples.
    """
    k = len(runs)
    rng = np.random.default_rng([2022, k, *(len(run) for run in runs)])
    drawn = rng.integers(k, size=(RESAMPLES, k))
    means = np.empty((RESAMPLES, k))
    for number_, run in enumerate(runs):
        places = np.nonzero(drawn == number_)
        if len(run) > MANY:
            means[places] = rng.normal(run.mean(), run.std() / len(run) ** 0.5, len(places[0]))
        else:
            means[places] = run[rng.integers(len(run), size=(len(places[0]), len(run)))].mean(1)
    return means


def ends(values: Floats) -> Interval:
    """The 95 % percentile interval of resamples (RESAMPLES,)."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def improvement(one: Floats, other: Floats) -> Floats:
    """The share of pairs of a run of `one` (..., k) and one of `other` (..., m) in which the first is larger, (...);
    equal ones count half."""
    a, b = one[..., :, None], other[..., None, :]
    found: Floats = ((a > b) + 0.5 * (a == b)).mean((-2, -1))
    return found


def over_runs(tables: Tables) -> pd.DataFrame:
    """`tables.trained` with, of each metric of a method that has several runs, runs: the mean of each, as text; iqm,
    iqm_low, iqm_high: the interquartile mean of the runs' means and its 95 % interval."""
    runs = _runs(tables, tables.lines)
    told = []
    for line in tables.trained.to_dict("records"):
        own = runs.get(tuple(line[name] for name in ABOUT), [])
        for m in tables.metrics:
            values = [found for cell in own if len(found := cell.values(m.column))]
            if len(values) < 2:
                continue
            means = np.array([run.mean() for run in values])
            low, high = ends(interquartile_mean(resampled(values)))
            line |= {f"{m.short}_runs": "; ".join(number(mean, m.digits) for mean in means)}
            line |= {f"{m.short}_iqm": float(interquartile_mean(means)), f"{m.short}_iqm_low": low}
            line |= {f"{m.short}_iqm_high": high}
        told.append(line)
    return pd.DataFrame(told)


def improvements(tables: Tables, metric: Metric) -> pd.DataFrame:
    """One line per two methods that have `FEWEST` runs each, without an attack and with the most agents attacked.

    better, other: the methods; probability: that a run of the first does better than one of the other, with its 95 %
    interval: low, high. Above 0.5 in all of it, the first is better.
    """
    told = []
    runs = {key: own for key, own in _runs(tables, most_attacked(tables.lines)).items() if len(own) >= FEWEST}
    for one, other in combinations(runs, 2):
        about, there = (dict(zip(ABOUT, key, strict=True)) for key in (one, other))
        if {**about, "method": ""} != {**there, "method": ""}:
            continue
        values = [[metric.sign * cell.values(metric.column) for cell in runs[key]] for key in (one, other)]
        if not all(len(run) for runs_ in values for run in runs_):
            continue
        means = [np.array([run.mean() for run in own]) for own in values]
        drawn = [resampled(own) for own in values]
        names = [about["method"], there["method"]]
        if improvement(*means) < 0.5:
            means, drawn, names = means[::-1], drawn[::-1], names[::-1]
        # the second method's runs are drawn by themselves: the two are not pairs
        low, high = ends(improvement(drawn[0], np.random.default_rng(2022).permutation(drawn[1])))
        line: dict[str, Any] = {**about, "better": names[0], "other": names[1], "probability": improvement(*means)}
        told.append(line | {"low": low, "high": high})
    return pd.DataFrame(told)


def few(tables: Tables) -> list[str]:
    """Methods that have fewer runs than a ranking needs."""
    trained = by_training(tables.lines).groupby("method")["policy"].nunique()
    return [str(method) for method, runs in trained.items() if runs < FEWEST]


def _runs(tables: Tables, lines: pd.DataFrame) -> dict[tuple[Any, ...], list[Cell]]:
    """The cells of each method, of which there are several, in one place: one for each training run."""
    named = by_training(lines)
    many = named.groupby(ABOUT)["policy"].transform("nunique") > 1
    named = named[many]
    if named.empty:
        return {}
    cells = {cell["cell"]: cell for cell in cells_of(tables.rows[tables.rows["cell"].isin(named["cell"])])}
    found: dict[tuple[Any, ...], list[Cell]] = {}
    for line in named.to_dict("records"):
        found.setdefault(tuple(line[name] for name in ABOUT), []).append(cells[line["cell"]])
    return found
