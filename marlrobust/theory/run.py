"""All of the theory in one go: the table, `theory.json`, and `theory.html` with its figures."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from marlrobust.files import write_bytes
from marlrobust.theory import figures, known, measured, theorems
from marlrobust.theory.section import Section

PARTS: tuple[Callable[[int], Section], ...] = (
    theorems.theorem_1,
    theorems.theorem_2,
    lambda seed: theorems.theorem_3(),
    theorems.theorem_4,
    lambda seed: known.known(),
    lambda seed: known.memory(),
    measured.attacks,
    lambda seed: measured.small_battles(),
    measured.teams,
)
"""In the order of the page; each takes the seed of what it draws."""

DRAWN: dict[str, tuple[tuple[Callable[[Section], Figure], str], ...]] = {
    "theorem_2": (
        (lambda s: figures.convergence(s.values), "Value iteration against its fixed point; dotted: gamma^k."),
    ),
    "theorem_3": (
        (lambda s: figures.game_graph("guess"), "guess, one agent: any state may be shown as the other."),
        (lambda s: figures.game_graph("door"), "door, two agents (agent 0, agent 1: reward of both)."),
    ),
    "theorem_4": (
        (lambda s: figures.bound_histogram(s.values), "How much of the printed bound the loss is, in random games."),
        (lambda s: figures.bound_points(s.values), "The bound against the loss: 150 games per gamma."),
        (lambda s: figures.leak_over_gamma(s.values), "The game leak with a small shift: above 1 the bound fails."),
    ),
    "attacks": ((lambda s: figures.attack_shares(s.values), "Bars: share of all damage; points: single games."),),
    "teams": ((lambda s: figures.team_costs(s.values), "What an attack changes in the actions, and what that costs."),),
}
"""Name of a section to its figures, and what is written under each."""


def results(seed: int = 0, say: Callable[[Section], object] = lambda section: None) -> list[Section]:
    """Every section, computed on one thread; `say` gets each when it is there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is computed is small: threads would wait for each other
    found = []
    try:
        for part in PARTS:
            section = part(seed)
            say(section)
            found.append(section)
    finally:
        torch.set_num_threads(threads)
    return found


def write(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write `theory.json`, `theory.html`, and each figure alone, into `folder`; returns the paths of the first two."""
    content = {section.name: section.json() for section in sections}
    for section in sections:
        for number, (draw, _) in enumerate(DRAWN.get(section.name, ()), 1):
            write_bytes(folder / f"{section.name}-{number}.svg", figures.svg(draw(section)).encode())
    return [
        write_bytes(folder / "theory.json", (json.dumps(content, indent=1) + "\n").encode()),
        write_bytes(folder / "theory.html", page(sections).encode()),
    ]


def table(section: Section, width: int = 100) -> str:
    """The section's lines as text."""
    lines = [f"\n{section.title}"]
    for line in section.lines:
        said = f"  (said: {line.said})" if line.said else ""
        start = f"  {line.verdict:<9}{line.what}: {line.value}"
        lines.append(f"{start}{said}" if len(start + said) <= width else f"{start}\n{'':11}{said.strip()}")
    return "\n".join(lines)


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
td, th { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
.fails { color: #b00020; font-weight: 600 } .holds { color: #1b6e3c } .measured { color: #666 }
figure { margin: 1.5rem 0 } figure svg { max-width: 100%; height: auto }
figcaption { color: #555; font-size: .9rem } h2 { margin-top: 2.5rem }
"""


def page(sections: Sequence[Section]) -> str:
    """The page, one file; nothing is fetched."""
    parts = [_section(section) for section in sections]
    intro = (
        "State-adversarial stochastic games that are small enough to be solved, and the four theorems of Zhou and Liu "
        "on them. <em>holds</em>: what was computed agrees with what was said; <em>fails</em>: it does not, and the "
        "game is named; <em>measured</em>: nothing was said. docs/theory.md explains the words."
    )
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>The theory, computed</title>"
        f"<style>{STYLE}</style></head><body><h1>The theory, computed</h1><p>{intro}</p>"
        f"{''.join(parts)}</body></html>\n"
    )


def _section(section: Section) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(line.what)}</td><td>{html.escape(line.value)}</td><td>{html.escape(line.said)}</td>"
        f"<td class='{line.verdict}'>{line.verdict}</td></tr>"
        for line in section.lines
    )
    drawn = "".join(
        f"<figure>{figures.svg(draw(section))}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for draw, caption in DRAWN.get(section.name, ())
    )
    return (
        f"<h2 id='{section.name}'>{html.escape(section.title)}</h2><p>{html.escape(section.about)}</p>"
        f"<table><tr><th>What</th><th>Found</th><th>Said</th><th></th></tr>{rows}</table>{drawn}"
    )
