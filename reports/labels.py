"""How methods, attacks, settings and numbers are written; never what is compared or grouped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from marlrobust.metrics import Metric
from marlrobust.reports.cells import THREAT, Cell, computed, grouped, read
from marlrobust.rows import NOT_ATTACKED

GROUP = ["attack", "epsilon", "norm", "features", "victims", "budget"]
"""With what, and which agents, and for how long: what reports set beside each other."""

USUAL: dict[str, Any] = {"norm": "l_inf", "features": "all", "victims": "random", "budget": 0}
"""What need not be said."""

UNATTACKED = {"attack": NOT_ATTACKED, "epsilon": 0.0, **USUAL}
"""The `GROUP` of clean rounds that belong to no attack."""

METHODS = {
    "mfac": "MFAC",
    "sa-mfac": "SA-MFAC",
    "sa-mfac3": "SA-MFAC³",
    "romfac1": "RoMFAC¹",
    "romfac": "RoMFAC",
    "certified": "certified",
    "a2c": "A2C",
}
"""Method to the name the paper prints, in the paper's order, then others; the last is the yardstick, not a defence."""

ACRONYMS = {"fgsm", "pgd", "mim", "apgd-ce", "apgd-dlr", "mad"}

OF_POLICY = {"digest", "adversary", "source", "hash"}
"""Parameters that an attack has of the policy that it meets: no other attack for that."""

DASH = "\N{EN DASH}"


def label(method: str) -> str:
    """The method's name as printed."""
    return METHODS.get(method, method)


def heading(metric: Metric) -> str:
    """`win rate`, `reward`."""
    return metric.mean.removesuffix("_mean").replace("_", " ")


def where(line: Any) -> str:
    """`battle, against mfac`: scenario and setting of a line."""
    return ", ".join(filter(None, (line["scenario"], line["setting"])))


def attack_name(attack: str) -> str:
    """`PGD steps=50` of `pgd steps=50`."""
    name, space, tail = attack.partition(" ")
    return f"{name.upper() if name in ACRONYMS else name}{space}{tail}"


def attack_label(
    attack: str, epsilon: float, norm: str = "l_inf", features: str = "all", victims: str = "random", budget: int = 0
) -> str:
    """`PGD steps=50, ε = 0.075, l_2, worst victims, at most 40 steps`; what is usual is left out."""
    if attack.partition(" ")[0] == NOT_ATTACKED:
        return attack.replace(NOT_ATTACKED, "not attacked", 1)
    return ", ".join([attack_name(attack), f"ε = {epsilon:g}", *unusual(norm, features, victims, budget)])


def attack_of(line: Any) -> str:
    """`attack_label` of a line's `GROUP`."""
    return attack_label(*(line[name] for name in GROUP))


def unusual(norm: str, features: str, victims: str, budget: int) -> list[str]:
    """What is not `USUAL`, in words."""
    words = [
        norm if norm != USUAL["norm"] else "",
        f"{features} only" if features != USUAL["features"] else "",
        f"{victims} victims" if victims != USUAL["victims"] else "",
        f"at most {budget} step{'s' if budget > 1 else ''}" if budget else "",
    ]
    return list(filter(None, words))


def method_order(methods: Iterable[str]) -> list[str]:
    """Each method once: the paper's, then others by name, then the yardstick."""
    *ours, yardstick = METHODS
    others = sorted({str(method) for method in methods})
    return sorted(others, key=lambda m: ours.index(m) if m in ours else len(ours) + (m == yardstick))


def in_order(lines: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The lines sorted by the columns `names`; methods in the order of `method_order`."""
    placed = lines.assign(method=pd.Categorical(lines["method"], method_order(lines["method"])))
    return lines.loc[placed.sort_values(list(names)).index].reset_index(drop=True)


def names_of(cells: Sequence[Cell]) -> dict[Cell, dict[str, str]]:
    """Policy, setting, attack and victims of each cell as they are shown, told apart where two are not the same.

    A policy has the first letters of its hash where one game has several of its name; attacks and victims have the
    parameters in which those of one name differ. Cells that would still be one line have their digest's first letters.
    """
    policies = {(cell["scenario"], cell["policy"], cell["policy_hash"]) for cell in cells}
    times = Counter((scenario, policy) for scenario, policy, _ in policies)
    attacks = _variants(cells, "attack", lambda cell: cell.parameters)
    victims = _variants(cells, "victims", lambda cell: read(cell["victims_parameters"]))
    settings = _settings(cells)

    def shown(cell: Cell) -> tuple[Any, ...]:
        how = () if cell.clean else (victims[cell], *cell.key(["attacked_agents", *THREAT, "budget"]))
        return (cell.side, attacks[cell], *how)

    lines = Counter(map(shown, cells))
    return {
        cell: {
            "policy": cell["policy"] + _letters(cell["policy_hash"], times[cell.key(["scenario", "policy"])] > 1),
            "setting": settings[cell],
            "attack": attacks[cell] + (f" #{cell['cell'][:6]}" if lines[shown(cell)] > 1 else ""),
            "victims": victims[cell],
        }
        for cell in cells
    }


def _letters(digest: str, needed: bool) -> str:
    return f" ({digest[:6]})" if needed else ""


def _variants(cells: Sequence[Cell], column: str, parameters: Callable[[Cell], dict[str, Any]]) -> dict[Cell, str]:
    """The names in `column`, with the parameters in which those of one name differ.

    What an attack has of the policy that it meets counts only where one policy meets several.
    """
    shown = {}
    for name, alike in grouped(cells, lambda cell: cell[column]).items():
        differ = {key for key in _differing(map(parameters, alike)) if key not in OF_POLICY}
        for own in grouped(alike, lambda cell: cell.side).values():
            differ |= {key for key in _differing(map(parameters, own)) if key in OF_POLICY}
        for cell in alike:
            told = [f"{key}={value}" for key, value in sorted(parameters(cell).items()) if key in differ]
            shown[cell] = " ".join([name, *told])
    return shown


def _settings(cells: Sequence[Cell]) -> dict[Cell, str]:
    """How each policy is played, in words: only that in which the cells of one game differ."""
    shown = {}
    for own in grouped(cells, lambda cell: cell["scenario"]).values():
        opponents = Counter(name for name, _ in {cell.key(["opponent", "opponent_hash"]) for cell in own})
        told = [
            {
                "opponent": f"against {cell['opponent']}"
                + _letters(cell["opponent_hash"], opponents[cell["opponent"]] > 1),
                **{f"game {name}": f"{name} {value}" for name, value in read(cell["game"]).items()},
                "greedy": "greedy" if cell["greedy"] else "sampling",
                "seed": f"seed {cell['seed']}",
                "instructions": cell["instructions"],
                **{f"version {name}": f"{name} {value}" for name, value in computed(cell["versions"]).items()},
            }
            for cell in own
        ]
        differ = _differing(told)
        for cell, words in zip(own, told, strict=True):
            shown[cell] = ", ".join(words[name] for name in differ if name in words)
    return shown


def _differing(tables: Iterable[dict[str, Any]]) -> list[str]:
    """The names whose values are not the same in all tables."""
    tables = list(tables)
    names = dict.fromkeys(name for values in tables for name in values)
    return [name for name in names if len({json.dumps(values.get(name), sort_keys=True) for values in tables}) > 1]


def number(value: float, digits: int = 2) -> str:
    """`0.66`, or a dash for NaN."""
    return DASH if pd.isna(value) else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """`95 %`, or a dash for NaN."""
    return DASH if pd.isna(share) else f"{100 * share:.0f} %"


def within(value: float, low: float, high: float, digits: int = 2) -> str:
    """`0.66 [0.52, 0.78]`, or a dash for NaN."""
    return DASH if pd.isna(value) else f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def measured(line: Any, metric: Metric, digits: int | None = None, over: str = "") -> str:
    """A line's mean of a metric and its interval: over rounds, or (`over` is `_train`) over training runs."""
    ends = line[f"{metric.short}{over}_low"], line[f"{metric.short}{over}_high"]
    return within(line[metric.mean], *ends, metric.digits if digits is None else digits)
