"""The page of the paper's experiment, in Markdown, from rows alone: what was measured, beside what the paper says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from marlrobust.errors import UserError
from marlrobust.files import write_bytes
from marlrobust.reports import figures
from marlrobust.reports.tables import DASH, label, number, table, within

FIGURES = {"reward": "figure4", "win": "win-rate", "kills": "kills"}


def rows_of(path: Path) -> pd.DataFrame:
    """The rows beside a page; UserError where the file is none."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read rows from {path}: {error}") from None


def searched(path: Path) -> pd.DataFrame:
    """What was tried in training, of the page at `path`: from `<page>-search.csv` beside it (benchmarks/search.py)."""
    tried = path.with_name(f"{path.stem}-search.csv")
    return pd.read_csv(tried) if tried.exists() else pd.DataFrame()


def write_page(rows: pd.DataFrame, path: Path) -> list[Path]:
    """Write the page at `path` and, beside it, its figures and its rows; returns their paths.

    rows: one a round, of the paper's protocol.
    """
    stem = path.with_suffix("")
    written = [write_bytes(stem.with_suffix(".parquet"), rows.to_parquet(index=False))]
    for metric, name in FIGURES.items():
        picture = figures.png(figures.figure(rows, metric), dpi=110)
        written.append(write_bytes(path.with_name(f"{stem.name}-{name}.png"), picture))
    text = render(rows, searched(path), stem.name)
    return [*written, write_bytes(path, text.encode())]


def render(rows: pd.DataFrame, search: pd.DataFrame, name: str) -> str:
    """The page's text; name: of its files, without ending."""
    lines = table(rows)
    loader = jinja2.PackageLoader("marlrobust.reports", "templates")
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("reproduction.md.j2").render(
        name=name,
        rounds=int(rows.groupby(["scenario", "policy", "attacked_agents"]).size().max()),
        seed=", ".join(map(str, sorted(rows["seed"].unique()))),
        tables={
            scenario: grid(_table1(lines[lines["scenario"] == scenario])) for scenario in lines["scenario"].unique()
        },
        kept={scenario: grid(_kept(lines[lines["scenario"] == scenario])) for scenario in lines["scenario"].unique()},
        search=grid(_tried(search)) if len(search) else "",
        tried=next(iter(search.to_dict("records")), {}),
        figures=FIGURES,
    )


def grid(frame: pd.DataFrame) -> str:
    """A Markdown table of text."""
    rows: Iterable[Iterable[object]] = [frame.columns, ["---"] * len(frame.columns), *frame.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _table1(lines: pd.DataFrame) -> pd.DataFrame:
    """Table 1, ours with its 95 % interval over rounds and the paper's in parentheses."""
    decided = lines["win_rate"].notna().any()
    shown: dict[str, list[str]] = {"attacked": [], "policy": []}
    for line in lines.to_dict("records"):
        cells = {"attacked": str(line["attacked_agents"]), "policy": _name(line)}
        if decided:
            cells["win rate"] = _beside(
                within(line["win_rate"], line["win_low"], line["win_high"]), line["paper_win_rate"]
            )
            kills = within(line["kills_mean"], line["kills_low"], line["kills_high"], 1)
            cells["kills"] = _beside(kills, line["paper_kills_mean"], 1)
        reward = within(line["reward_mean"], line["reward_low"], line["reward_high"], 0)
        cells["reward"] = _beside(reward, line["paper_reward_mean"], 0)
        cells["flipped"] = number(line["flip_rate"])
        for heading, cell in cells.items():
            shown.setdefault(heading, []).append(cell)
    return pd.DataFrame(shown)


def _beside(ours: str, theirs: float, digits: int = 2) -> str:
    return ours if pd.isna(theirs) else f"{ours} ({number(theirs, digits)})"


def _name(line: dict[object, object]) -> str:
    """The method, and the policy where it is another training's."""
    method, policy = str(line["method"]), str(line["policy"])
    return label(method) + policy.removeprefix(method).replace("-seed", ", seed ")


def _kept(lines: pd.DataFrame) -> pd.DataFrame:
    """What is left of the clean reward with the most agents attacked: ours and the paper's, in percent."""
    most = lines["attacked_agents"].max()
    shown = []
    for policy in lines["policy"].unique():
        own = lines[lines["policy"] == policy].set_index("attacked_agents")
        clean, attacked = own.loc[0], own.loc[most]
        shown.append(
            {
                "policy": _name({"method": clean["method"], "policy": policy}),
                "clean": number(clean["reward_mean"], 0),
                f"{most} attacked": number(attacked["reward_mean"], 0),
                "left": _percent(attacked["reward_mean"], clean["reward_mean"]),
                "left (paper)": _percent(attacked["paper_reward_mean"], clean["paper_reward_mean"]),
            }
        )
    return pd.DataFrame(shown)


def _tried(search: pd.DataFrame) -> pd.DataFrame:
    """A line a training of the search: what was changed, and what came of it."""
    shown = []
    for line in search.to_dict("records"):
        changes = json.loads(line["changed"])
        shown.append(
            {
                "scenario": line["scenario"],
                "changed": ", ".join(f"{k} {v}" for k, v in changes.items()) or "nothing",
                "minutes": number(line["minutes"], 0),
                "entropy": number(line["entropy"]),
                "win rate": _two(line, "win", 2),
                "reward": _two(line, "reward", 0),
                "flipped": number(line["flip_rate_attacked"]),
            }
        )
    return pd.DataFrame(shown)


def _two(line: dict[Any, Any], measure: str, digits: int) -> str:
    """Clean, then with the whole team attacked; a dash where there is no such measure."""
    both = [number(line[f"{measure}_{name}"], digits) for name in ("clean", "attacked")]
    return DASH if DASH in both else " → ".join(both)


def _percent(part: float, whole: float) -> str:
    """`95 %`; below nothing it stays signed."""
    return number(float("nan")) if pd.isna(part) or not whole > 0 else f"{100 * part / whole:.0f} %"
