"""Rows (one a round) to the lines of Table 1 (one a policy, attack, epsilon and count)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.evaluation.statistics import interval_of_mean, mean_interval, training_interval, wilson_interval
from marlrobust.reports import checks, paper

GROUP = ["attack", "epsilon", "victims", "budget"]
"""What agents are attacked with, and which, and for how long: what reports set beside each other."""

LINE = ["scenario", "policy", "method", *GROUP, "attacked_agents"]
"""What one line of the table is about."""

MEASURED = [
    *["train_seed", "rounds", "win_rate", "win_low", "win_high", "draw_rate"],
    *["kills_mean", "kills_std", "kills_low", "kills_high"],
    *["reward_mean", "reward_std", "reward_low", "reward_high", "flip_rate", "steps_mean"],
]
PAPER = ["paper_win_rate", "paper_kills_mean", "paper_kills_std", "paper_reward_mean", "paper_reward_std"]
COLUMNS = [*LINE, *MEASURED, *PAPER, "checks"]

ROW = [
    *["scenario", "policy", "method", "opponent", "attack", "epsilon", "attacked_agents", "round"],
    *["seed", "win", "draw", "kills", "losses", "reward", "steps", "flip_rate"],
]
"""The columns of a row that the table needs."""

METHODS = {
    "mfac": "MFAC",
    "sa-mfac": "SA-MFAC",
    "sa-mfac3": "SA-MFAC³",
    "romfac1": "RoMFAC¹",
    "romfac": "RoMFAC",
    "a2c": "A2C",
}
"""Method to the name the paper prints, in the paper's order."""

ACRONYMS = {"fgsm", "pgd", "mim", "apgd-ce", "apgd-dlr", "mad"}

DASH = "\N{EN DASH}"


def label(method: str) -> str:
    """The method's name as printed."""
    return METHODS.get(method, method)


def attack_label(attack: str, epsilon: float, victims: str = "random", budget: int = 0) -> str:
    """`PGD steps=50, ε = 0.075, worst victims, 40 steps`, usual victims and no budget unsaid, or `not attacked`."""
    if attack == "none":
        return "not attacked"
    name, space, tail = attack.partition(" ")
    text = f"{name.upper() if name in ACRONYMS else name}{space}{tail}, ε = {epsilon:g}"
    text += "" if victims == "random" else f", {victims} victims"
    return text + (f", {budget} step{'s' if budget > 1 else ''} at most" if budget else "")


def method_order(methods: pd.Series | list[str]) -> list[str]:
    """Each method once: the paper's five, then others by name, then a2c, the yardstick."""
    five = [method for method in METHODS if method != "a2c"]

    def place(method: str) -> tuple[int, int, str]:
        if method in five:
            return 0, five.index(method), method
        return (2 if method == "a2c" else 1), 0, method

    return sorted({str(method) for method in methods}, key=place)


def groups(lines: pd.DataFrame) -> list[tuple[str, float, str, int]]:
    """The (attack, epsilon, victims, budget) of `lines`, each once, in order."""
    return sorted(lines[GROUP].drop_duplicates().itertuples(index=False, name=None))


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with every column of `LINE`: random victims and no budget (0) where they do not say.

    Attacks of one name with different parameters get them into their name, `pgd steps=50`; victims likewise.
    """
    rows = rows.assign(**{name: value for name, value in USUAL.items() if name not in rows.columns})
    return rows.assign(**{name: _variants(rows, name) for name in ("attack", "victims")})


USUAL: dict[str, Any] = {"victims": "random", "budget": 0}


def _variants(rows: pd.DataFrame, column: str) -> pd.Series:
    """The names in `column`, with the parameters in which those of one name and policy differ."""
    names = rows[column].astype(str)
    if f"{column}_parameters" not in rows.columns:
        return names
    texts = rows[f"{column}_parameters"].fillna("{}").astype(str)
    known = rows[["scenario", "policy"]].assign(name=names, text=texts).drop_duplicates()
    sets = {text: {k: v for k, v in json.loads(text).items() if k != "threat"} for text in known["text"]}
    vary: dict[str, dict[str, None]] = {name: {} for name in known["name"]}
    for (name, _, _), part in known.groupby(["name", "scenario", "policy"]):
        own = [sets[text] for text in part["text"]]
        for key in dict.fromkeys(key for values in own for key in values):
            if len({json.dumps(values.get(key)) for values in own}) > 1:
                vary[str(name)][key] = None

    def named(name: str, text: str) -> str:
        return " ".join([name, *(f"{key}={sets[text][key]}" for key in vary[name] if key in sets[text])])

    labels = {pair: named(*pair) for pair in known[["name", "text"]].itertuples(index=False, name=None)}
    return pd.Series([labels[pair] for pair in zip(names, texts, strict=True)], index=rows.index, dtype=object)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per scenario, policy, method, attack, epsilon, victims, budget and count, columns `COLUMNS`.

    rows: one a round, with the columns `ROW`; what else they have is used, see `complete`. Rates are shares of
    rounds in [0, 1]; reward is the team's sum over a round; kills_std and reward_std are sample standard
    deviations over rounds (NaN for one round); win_low, win_high: 95 % Wilson; those of reward and kills: 95 % t
    interval of the mean. train_seed: of the policy, NaN where the rows do not say it. A draw is no win. Clean
    rounds (count 0) are stored once and stand here at count 0 of every `GROUP` of their policy. Where nobody died
    in any round (pursuit) there is no winner: wins, draws and kills are NaN. checks: the names of those raised
    (`checks.CHECKS`), joined by "; ".
    Raises ValueError if a column is missing or a line would mix opponents.
    """
    missing = [column for column in ROW if column not in rows.columns]
    if missing:
        raise ValueError(f"the rows have no column {', '.join(missing)}")
    rows = complete(rows)
    lines = [
        checks.Line(dict(zip(LINE, key, strict=True)), part)
        for key, part in with_clean_in_each_group(rows).groupby(LINE, sort=False)
    ]
    doubts = ["; ".join(names) for names in checks.raised(lines)]
    told = [line.about | _summary(line.rounds) | {"checks": doubt} for line, doubt in zip(lines, doubts, strict=True)]
    measured = pd.DataFrame(told, columns=[*LINE, *MEASURED, "checks"])
    dead = ["win_rate", "win_low", "win_high", "draw_rate", "kills_mean", "kills_std", "kills_low", "kills_high"]
    measured.loc[~measured["scenario"].isin(_decided(rows)), dead] = np.nan
    return _ordered(_beside_paper(measured))[COLUMNS]


def with_clean_in_each_group(rows: pd.DataFrame) -> pd.DataFrame:
    """Repeat clean rounds, stored once, as count 0 of each `GROUP` of their policy.

    A policy without an attacked round joins the groups of its scenario; without any, it stays at "none".
    """
    attacked = rows[rows["attacked_agents"] > 0]
    parts = [attacked]
    for (scenario, policy, method), clean in rows[rows["attacked_agents"] == 0].groupby(
        ["scenario", "policy", "method"], sort=False
    ):
        here = attacked[attacked["scenario"] == scenario]
        own = here[(here["policy"] == policy) & (here["method"] == method)]
        ways = groups(here if own.empty else own) or [("none", 0.0, "random", 0)]
        for way in ways:
            named: dict[str, Any] = dict(zip(GROUP, way, strict=True))
            parts.append(clean.assign(**named))
    return pd.concat([part for part in parts if not part.empty] or [rows], ignore_index=True)


def _summary(part: pd.DataFrame) -> dict[str, Any]:
    """The rounds of one line, as the columns `MEASURED`."""
    opponents = sorted(part["opponent"].astype(str).unique())
    if len(opponents) > 1:
        raise ValueError(
            f"rounds of {part['policy'].iloc[0]!r} against {', '.join(opponents)} would be averaged in one "
            "line: choose one opponent, or report each alone"
        )
    n = len(part)
    draw = part["draw"].astype(bool)
    wins = int((part["win"].astype(bool) & ~draw).sum())
    win_low, win_high = wilson_interval(wins, n)
    kills, reward = part["kills"].astype(float), part["reward"].astype(float)
    reward_low, reward_high = mean_interval(reward.mean(), reward.std(), n)
    seed = part["train_seed"].iloc[0] if "train_seed" in part.columns else np.nan
    numbers = [seed, n, wins / n, win_low, win_high, draw.mean()]
    numbers += [kills.mean(), kills.std(), *mean_interval(kills.mean(), kills.std(), n)]
    numbers += [reward.mean(), reward.std(), reward_low, reward_high]
    numbers += [part["flip_rate"].astype(float).mean(), part["steps"].astype(float).mean()]
    return dict(zip(MEASURED, numbers, strict=True))


def _decided(rows: pd.DataFrame) -> set[str]:
    """The scenarios in which some round was won or drawn, or somebody died."""
    ended = rows["win"].astype(bool) | rows["draw"].astype(bool)
    return set(rows.loc[ended | (rows["kills"] > 0) | (rows["losses"] > 0), "scenario"])


def _beside_paper(measured: pd.DataFrame) -> pd.DataFrame:
    """Add the paper's numbers (`PAPER`) to the lines that repeat its protocol; NaN elsewhere."""
    key = ["scenario", "method", "attacked_agents"]
    theirs = paper.load().rename(columns={column.removeprefix("paper_"): column for column in PAPER})
    # An empty frame has object columns, which do not merge with the paper's.
    both = measured.astype({"scenario": str, "method": str, "attacked_agents": int}).merge(
        theirs, on=key, how="left", validate="many_to_one"
    )
    both.loc[~(papers(both) | (both["attacked_agents"] == 0)), PAPER] = np.nan
    return both


def papers(lines: pd.DataFrame) -> pd.Series:
    """(lines,) bool: attacked as in the paper. Among PGDs of several steps it is the one with 10."""
    named = lines["attack"].isin([paper.ATTACK, f"{paper.ATTACK} steps={paper.STEPS}"])
    usual = (lines["victims"] == USUAL["victims"]) & (lines["budget"] == USUAL["budget"])
    same: pd.Series = named & usual & np.isclose(lines["epsilon"].astype(float), paper.EPSILON)
    return same


def _ordered(lines: pd.DataFrame) -> pd.DataFrame:
    place = {method: index for index, method in enumerate(method_order(lines["method"]))}
    order = ["scenario", *GROUP, "attacked_agents", "place", "policy"]
    return lines.assign(place=lines["method"].map(place)).sort_values(order, ignore_index=True)


def table1(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of `table` as text, for the terminal and the page; what is not known is an en dash."""
    return pd.DataFrame([list(_cells(line)) for line in table.to_dict("records")], columns=list(SHOWN), dtype="str")


SHOWN = {
    "scenario": "scenario",
    "attack": "attack",
    "epsilon": "epsilon",
    "victims": "victims",
    "budget": "budget",
    "attacked": "attacked_agents",
    "method": "method",
    "policy": "policy",
    "rounds": "rounds",
    "win rate": "win_rate",
    "win rate (paper)": "paper_win_rate",
    "draws": "draw_rate",
    "kills": "kills_mean",
    "kills (paper)": "paper_kills_mean",
    "reward": "reward_mean",
    "reward (paper)": "paper_reward_mean",
    "flips": "flip_rate",
    "steps": "steps_mean",
    "checks": "checks",
}
"""Heading of `table1` to the column of `table` by which it sorts."""


def _cells(line: dict[Any, Any]) -> Iterator[str]:
    yield from (line["scenario"], line["attack"], f"{line['epsilon']:g}", line["victims"])
    yield from (str(line["budget"] or DASH), str(line["attacked_agents"]))
    yield from (label(line["method"]), line["policy"], str(line["rounds"]))
    yield within(line["win_rate"], line["win_low"], line["win_high"])
    yield number(line["paper_win_rate"])
    yield number(line["draw_rate"])
    yield spread(line["kills_mean"], line["kills_std"])
    yield spread(line["paper_kills_mean"], line["paper_kills_std"])
    yield spread(line["reward_mean"], line["reward_std"])
    yield spread(line["paper_reward_mean"], line["paper_reward_std"])
    yield number(line["flip_rate"])
    yield number(line["steps_mean"], 0)
    yield line["checks"] or DASH


METRICS = {"win": "win_rate", "kills": "kills_mean", "reward": "reward_mean"}


def over_trainings(lines: pd.DataFrame) -> pd.DataFrame:
    """One line a method, from the lines of `table`: policies with different training seeds are its training runs.

    trainings: how many; win_rate, kills_mean, reward_mean: the mean over the runs of each one's mean over rounds,
    rounds of several runs are never pooled. win_low, win_high …: 95 % interval over rounds, of the mean of just these
    runs; win_train_low, win_train_high …: over training runs (t interval of their means), NaN for one run. Policies
    of a method whose seeds are equal, or not known, are no runs of one training: each is a method of its own here,
    by its name.
    """
    key = ["scenario", "method"]
    runs = lines.drop_duplicates([*key, "policy"]).groupby(key)
    several = runs["policy"].nunique()
    alike = several[(several > 1) & (runs["train_seed"].nunique() < several)].index
    apart = pd.MultiIndex.from_frame(lines[key]).isin(alike)
    named = lines.assign(method=lines["policy"].where(apart, lines["method"]))
    told = []
    for about, part in named.groupby(["scenario", "method", *GROUP, "attacked_agents"], sort=False):
        line = dict(zip(["scenario", "method", *GROUP, "attacked_agents"], about, strict=True))
        line |= {"trainings": len(part)} | {name: part[name].iloc[0] for name in PAPER}
        for short, mean in METRICS.items():
            means = part[mean].astype(float).tolist()
            line[mean] = float(np.mean(means))
            ends = interval_of_mean(means, part[f"{short}_low"].tolist(), part[f"{short}_high"].tolist())
            line[f"{short}_low"], line[f"{short}_high"] = ends
            low, high = training_interval(means)
            if short == "win":
                low, high = max(low, 0.0), min(high, 1.0)  # NaN stays
            line[f"{short}_train_low"], line[f"{short}_train_high"] = low, high
        told.append(line)
    return pd.DataFrame(told)


def strength(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean reward, a row a (scenario, attacked_agents, method, policy), a column an `attack_label`.

    lines: of `table`. What was not played is NaN.
    """
    attacked = lines[lines["attacked_agents"] > 0]
    rows = ["scenario", "attacked_agents", "method", "policy"]
    labels = [attack_label(*way) for way in attacked[GROUP].itertuples(index=False, name=None)]
    cells = attacked.assign(label=labels)
    wide = cells.pivot_table(values="reward_mean", index=rows, columns="label", sort=False)
    names = [attack_label(*way) for way in groups(attacked)]
    return wide[names].rename_axis(columns=None).reset_index()


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
