"""Writes the data dictionary into columns.md while the site is built: it stands in the code, and nowhere else."""

from __future__ import annotations

from typing import Any

from marlrobust.rows import Decision, DecisionFacts, dictionary

TABLES = {"rounds": (), "decisions": (DecisionFacts, Decision)}
"""Place in the page to the parts of the schema that it shows."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with each `<!-- columns of NAME -->` replaced by that table."""
    for name, parts in TABLES.items():
        mark = f"<!-- columns of {name} -->"
        if mark in markdown:
            found = dictionary(*parts)
            lines = [list(found.columns), ["---"] * len(found.columns)]
            lines += [[f"`{name}`", *words] for name, *words in found.itertuples(index=False)]
            markdown = markdown.replace(mark, "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return markdown
