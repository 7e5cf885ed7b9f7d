"""The top of the page: what each policy keeps with the most agents attacked, and what that is called."""

from __future__ import annotations

from typing import Any

import pandas as pd

from marlrobust.reports.labels import DASH, GROUP, attack_label, label, number, percent, within
from marlrobust.reports.tables import Tables, groups, one_epsilon
from marlrobust.reports.text import heading
from marlrobust.reports.verdict import UNSURE, WEIGHED, least_kept, verdict
from marlrobust.rows import REWARD, Metric


def headlines(tables: Tables) -> list[dict[str, Any]]:
    """A card per scenario and setting."""
    return [_card(tables, part) for _, part in one_epsilon(tables.lines).groupby(["scenario", "setting"], sort=False)]


def _card(tables: Tables, lines: pd.DataFrame) -> dict[str, Any]:
    most, team = int(lines["attacked_agents"].max()), int(lines["team_size"].max())
    several = lines["policy"].nunique() > lines["method"].nunique()
    metrics = [m for m in tables.metrics if m in WEIGHED and lines[m.mean].notna().any()]
    return {
        "scenario": ", ".join(filter(None, lines[["scenario", "setting"]].iloc[0])),
        "heading": f"all {team} attacked" if most >= team else f"{most} attacked",
        "attacked": most > 0,
        "name_attack": len(groups(lines[lines["attacked_agents"] > 0])) > 1,
        "lines": [
            _fate(lines[lines["policy"] == policy], most, metrics, str(policy) if several else "")
            for policy in lines["policy"].unique()
        ],
    }


def _fate(lines: pd.DataFrame, most: int, metrics: list[Metric], policy: str) -> dict[str, Any]:
    """One policy: without an attack, and under the attack of which it keeps least."""
    hurt = lines[(lines["attacked_agents"] == most) & (most > 0)].to_dict("records")
    after = min(hurt, key=lambda line: (least_kept(line, metrics), line["reward_mean"])) if hurt else None
    clean = lines[lines["attacked_agents"] == 0]
    if after is not None:
        clean = clean[(clean[GROUP] == [after[name] for name in GROUP]).all(axis=1)]
    before = clean.to_dict("records")[0] if len(clean) else None
    fate: dict[str, Any] = {"method": label(lines["method"].iloc[0]), "policy": policy}
    fate |= {"clean": _numbers(before, metrics), "hurt": _numbers(after, metrics)}
    fate |= {"attack": "", "checks": "", "kept": [], "verdict": "", "style": "", "possible": "", "reason": ""}
    if after is None:
        return fate
    fate |= {"attack": attack_label(*(after[name] for name in GROUP)), "checks": after["checks"]}
    if before is None:
        return fate | {"reason": "no verdict: there are no clean rounds to compare with (add 0 to --agents)"}
    said = verdict(after, metrics)
    if said.word == UNSURE:
        fate["possible"] = " or ".join(said.possible)
    style = "" if said.word == UNSURE else said.word
    kept = [_kept(before, after, m) for m in metrics if not pd.isna(after[f"{m.short}_kept"])]
    return fate | {"verdict": said.word, "style": style, "reason": said.reason, "kept": kept}


def _numbers(line: dict[Any, Any] | None, metrics: list[Metric]) -> list[str]:
    """The mean reward, and the win rate with its interval."""
    if line is None:
        return [DASH]
    return [
        number(line[m.mean], m.digits)
        if m == REWARD
        else within(line[m.mean], line[f"{m.short}_low"], line[f"{m.short}_high"], m.digits)
        for m in metrics
    ]


def _kept(before: dict[Any, Any], after: dict[Any, Any], metric: Metric) -> dict[str, Any]:
    """A metric's kept share in words and as a bar, and the paper's."""
    share, low, high = (after[f"{metric.short}_{name}"] for name in ("kept", "kept_low", "kept_high"))
    unknown = pd.isna(low) or abs(low) == float("inf") or abs(high) == float("inf")
    ends = "" if unknown else f"[{100 * low:.0f}, {100 * high:.0f}]"
    whole, part = before[f"paper_{metric.mean}"], after[f"paper_{metric.mean}"]
    paper = None if pd.isna(whole) or pd.isna(part) or whole <= 0 else part / whole
    return {
        "name": heading(metric),
        "share": share,
        "text": percent(share),
        "ends": ends,
        "bar": _bar(share),
        "paper": "" if paper is None else percent(paper),
        "paper_bar": "" if paper is None else _bar(paper),
    }


def _bar(share: float) -> str:
    """Its length in percent of the bar."""
    return f"{min(max(100 * share, 0), 100):.1f}"
