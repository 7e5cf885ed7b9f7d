"""Tables to take into a paper: booktabs, at most two columns wide, the best in bold."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from marlrobust.metrics import Metric
from marlrobust.reports.comparisons import BEST, SAME
from marlrobust.reports.labels import DASH, GROUP, attack_of, heading, label, number, where
from marlrobust.reports.tables import Tables, one_epsilon
from marlrobust.reports.text import rounds_of

COLUMNS = 7
"""Counts of attacked agents beside each other, at most: a page's text is no wider."""

UNITS = {"reward": "reward per round, summed over the team", "win": "share of rounds", "success": "share of rounds"}
"""Of a metric by its column; any other counts agents per round."""

SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"ε": r"$\varepsilon$", "³": "$^3$", "¹": "$^1$", "±": r"$\pm$", DASH: "--", "≈": r"$\approx$"},
}


def escaped(text: object) -> str:
    """Text as LaTeX prints it."""
    return "".join(SPECIAL.get(sign, sign) for sign in str(text))


def latex(tables: Tables) -> str:
    """A table for each game, setting and metric: a line per policy and attack, a column per count of agents."""
    lines = one_epsilon(tables.lines)
    made = [
        _table(part, metric)
        for _, part in lines.groupby(["scenario", "setting"], sort=False)
        for metric in tables.metrics
        if part[metric.mean].notna().any()
    ]
    return "% \\usepackage{booktabs}\n\n" + "\n".join(made)


def _table(lines: pd.DataFrame, metric: Metric) -> str:
    counts = sorted(lines["attacked_agents"].unique())
    counts = [*counts[:1], *counts[1:][-(COLUMNS - 1) :]]
    head = " & ".join(["method", *map(str, counts)])
    body = []
    for _, block in lines.groupby(GROUP, sort=False):
        title = escaped(attack_of(block.iloc[0]))
        body += [rf"\midrule\multicolumn{{{len(counts) + 1}}}{{l}}{{\emph{{{title}}}}}\\"]
        several = block["policy"].nunique() > block["method"].nunique()
        for place, own in block.groupby(["method", "policy"], sort=False):
            at = {line["attacked_agents"]: line for line in own.to_dict("records")}
            name = escaped(label(str(place[0])) + (f" ({place[1]})" if several else ""))
            body.append(" & ".join([name, *(_entry(at.get(count), metric) for count in counts)]) + r" \\")
    unit = UNITS.get(metric.column, "agents per round")
    caption = (
        f"{where(lines.iloc[0])}: {heading(metric)} ({unit}) over the number of attacked agents, {rounds_of(lines)} "
        f"each, {_spread(metric)}. Bold: the best of an attack and count; ≈: what paired tests do not tell apart "
        "from it (Holm, 0.05)."
    )
    name = re.sub(r"\W+", "-", f"{where(lines.iloc[0])}-{metric.short}").lower()
    return "\n".join(
        [
            rf"\begin{{table*}}\centering\small\caption{{{escaped(caption)}}}\label{{tab:{name}}}",
            rf"\begin{{tabular}}{{l{'r' * len(counts)}}}",
            rf"\toprule & \multicolumn{{{len(counts)}}}{{c}}{{attacked agents}}\\\cmidrule(l){{2-{len(counts) + 1}}}",
            rf"{head} \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "\\end{table*}\n",
        ]
    )


def _spread(metric: Metric) -> str:
    return "with 95 % intervals" if metric.share else "± half of the 95 % interval over rounds"


def _entry(line: dict[Any, Any] | None, metric: Metric) -> str:
    if line is None or pd.isna(line[metric.mean]):
        return "--"
    mean, low, high = (line[name] for name in (metric.mean, f"{metric.short}_low", f"{metric.short}_high"))
    digits, told = metric.digits, number(mean, metric.digits).replace("-", "$-$")
    told = {BEST: rf"\textbf{{{told}}}", SAME: rf"$\approx$\,{told}"}.get(line[f"{metric.short}_mark"], told)
    if pd.isna(low):
        return told
    if metric.share:
        spread = rf"{{\scriptsize[{number(low, digits)}, {number(high, digits)}]}}"
    else:
        spread = rf"{{\scriptsize$\pm${number((high - low) / 2, digits)}}}"
    return f"{told} {spread}"
