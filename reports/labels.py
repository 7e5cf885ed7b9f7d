"""How methods, attacks, settings and numbers are written; never what is compared or grouped."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from marlrobust.reports.cells import OF_POLICY, SETTING, THREAT, Cell, computed, read
from marlrobust.rows import NOT_ATTACKED

GROUP = ["attack", "epsilon", "norm", "features", "victims", "budget"]
"""With what, and which agents, and for how long: what reports set beside each other."""

USUAL: dict[str, Any] = {"norm": "l_inf", "features": "all", "victims": "random", "budget": 0}
"""What need not be said."""

UNATTACKED = (NOT_ATTACKED, 0.0, *USUAL.values())
"""The `GROUP` of clean rounds that belong to no attack."""

METHODS = {
    "mfac": "MFAC",
    "sa-mfac": "SA-MFAC",
    "sa-mfac3": "SA-MFAC³",
    "romfac1": "RoMFAC¹",
    "romfac": "RoMFAC",
    "a2c": "A2C",
}
"""Method to the name the paper prints, in the paper's order; the last is the yardstick, not a defence."""

ACRONYMS = {"fgsm", "pgd", "mim", "apgd-ce", "apgd-dlr", "mad"}

DASH = "\N{EN DASH}"


def label(method: str) -> str:
    """The method's name as printed."""
    return METHODS.get(method, method)


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


def unusual(norm: str, features: str, victims: str, budget: int) -> list[str]:
    """What is not `USUAL`, in words."""
    words = []
    if norm != USUAL["norm"]:
        words.append(norm)
    if features != USUAL["features"]:
        words.append(f"{features} only")
    if victims != USUAL["victims"]:
        words.append(f"{victims} victims")
    if budget:
        words.append(f"at most {budget} step{'s' if budget > 1 else ''}")
    return words


def method_order(methods: Iterable[str]) -> list[str]:
    """Each method once: the paper's, then others by name, then the yardstick."""
    *ours, yardstick = METHODS

    def place(method: str) -> tuple[int, int, str]:
        if method in ours:
            return 0, ours.index(method), method
        return (2 if method == yardstick else 1), 0, method

    return sorted({str(method) for method in methods}, key=place)


def policy_names(cells: Sequence[Cell]) -> dict[str, str]:
    """Hash to the policy's name; with the first letters of the hash where one game has several of a name."""
    names = {cell.facts["policy_hash"]: cell.key(["scenario", "policy"]) for cell in cells}
    times = Counter(names.values())
    return {h: name if times[scenario, name] == 1 else f"{name} ({h[:6]})" for h, (scenario, name) in names.items()}


def attack_names(cells: Sequence[Cell]) -> dict[str, tuple[str, str]]:
    """Digest of each cell to its attack and victims as shown, with the parameters in which those of a name differ.

    Where two cells that are not the same would still be shown as one line, they get their digest's first letters.
    """
    attacks = _variants(cells, "attack", [cell.parameters for cell in cells])
    victims = _variants(cells, "victims", [read(cell.facts["victims_parameters"]) for cell in cells])
    shown = [
        (cell.side, attack) if cell.clean else (cell.side, cell.count, attack, who, *cell.key([*THREAT, "budget"]))
        for cell, attack, who in zip(cells, attacks, victims, strict=True)
    ]
    times = Counter(shown)
    found = {}
    for cell, attack, who, line in zip(cells, attacks, victims, shown, strict=True):
        digest = str(cell.facts["cell"])
        found[digest] = (attack if times[line] == 1 else f"{attack} #{digest[:6]}", who)
    return found


def _variants(cells: Sequence[Cell], column: str, parameters: list[dict[str, Any]]) -> list[str]:
    """The names in `column`, with the parameters in which those of one name differ.

    What an attack has of the policy that it meets counts only where one policy meets several.
    """
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    of_side: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    every: dict[str, set[str]] = defaultdict(set)
    for cell, own in zip(cells, parameters, strict=True):
        every[cell.facts[column]] |= set(own)
    vary: dict[str, dict[str, None]] = defaultdict(dict)
    for cell, own in zip(cells, parameters, strict=True):
        name = cell.facts[column]
        for key in sorted(every[name]):
            text = json.dumps(own.get(key), sort_keys=True)
            values[name][key].add(text)
            of_side[cell.side, name, key].add(text)
            if len(of_side[cell.side, name, key] if key in OF_POLICY else values[name][key]) > 1:
                vary[name][key] = None
    return [
        " ".join([cell.facts[column], *(f"{key}={own[key]}" for key in sorted(vary[cell.facts[column]]) if key in own)])
        for cell, own in zip(cells, parameters, strict=True)
    ]


def settings(cells: Sequence[Cell]) -> dict[str, str]:
    """Digest of each cell to how its policy is played, in words: only that in which the cells of one game differ."""
    shown = {}
    of_game: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        of_game[cell.facts["scenario"]].append(cell)
    for own in of_game.values():
        differ = {name for name in SETTING if len({cell.facts[name] for cell in own}) > 1}
        hashes = {cell.key(["opponent", "opponent_hash"]) for cell in own}
        twice = {name for name, times in Counter(name for name, _ in hashes).items() if times > 1}
        games = _differing([read(cell.facts["game"]) for cell in own])
        versions = _differing([computed(cell.facts["versions"]) for cell in own])
        for cell in own:
            shown[str(cell.facts["cell"])] = ", ".join(_setting(cell, differ, twice, games, versions))
    return shown


def _setting(cell: Cell, differ: set[str], twice: set[str], games: list[str], versions: list[str]) -> list[str]:
    facts, game, by = cell.facts, read(cell.facts["game"]), computed(cell.facts["versions"])
    words = []
    if "opponent_hash" in differ:
        named = f" ({facts['opponent_hash'][:6]})" if facts["opponent"] in twice else ""
        words.append(f"against {facts['opponent']}{named}")
    words += [f"{name} {game[name]}" for name in games if name in game]
    if "greedy" in differ:
        words.append("greedy" if facts["greedy"] else "sampling")
    if "seed" in differ:
        words.append(f"seed {facts['seed']}")
    if "instructions" in differ:
        words.append(str(facts["instructions"]))
    return words + [f"{name} {by[name]}" for name in versions if name in by]


def _differing(tables: list[dict[str, Any]]) -> list[str]:
    """The names whose values are not the same in all tables."""
    names = dict.fromkeys(name for values in tables for name in values)
    return [name for name in names if len({json.dumps(values.get(name), sort_keys=True) for values in tables}) > 1]


def number(value: float, digits: int = 2) -> str:
    """`0.66`, or a dash for NaN."""
    return DASH if pd.isna(value) else f"{value:.{digits}f}"


def spread(mean: float, std: float) -> str:
    """`61.80 ± 3.36`; a dash for a mean, or a spread, that is not known."""
    return DASH if pd.isna(mean) else f"{number(mean)} ± {number(std)}"


def within(value: float, low: float, high: float, digits: int = 2) -> str:
    """`0.66 [0.52, 0.78]`, or a dash for NaN."""
    if pd.isna(value):
        return DASH
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def percent(share: float) -> str:
    """`95 %`, or a dash for NaN."""
    return DASH if pd.isna(share) else f"{100 * share:.0f} %"
