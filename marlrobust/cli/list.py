"""`marlrobust list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marlrobust.cli.command import Command, json_option, print_json, runs_option
from marlrobust.games.scenario import Scenario
from marlrobust.registry import Registry

WHAT = ("methods", "learners", "attacks", "victims", "games", "scenarios", "policies", "results")
"""Games and scenarios are the same."""


@click.command("list", cls=Command)
@click.argument("what", type=click.Choice(WHAT))
@runs_option
@json_option
def command(what: str, runs: Path, as_json: bool) -> None:
    """Show the methods, learners, attacks, strategies for victims, games, policies or results that there are.

    Of a game also what its rounds measure, and whether much or little of it is wanted.

    \b
    marlrobust list attacks
    marlrobust list results --json
    """
    listing = _listing(what, runs)
    if as_json:
        print_json([{"name": name, "summary": words} for name, words in listing])
        return
    width = max((len(name) for name, _ in listing), default=0)
    for name, words in listing:
        click.echo(f"{name:<{width}}  {words}".rstrip())
    if not listing:
        click.echo(f"there are no {what} yet", err=True)


def _listing(what: str, runs: Path) -> list[tuple[str, str]]:
    if what == "results":
        from marlrobust.evaluation.run import RESULTS, list_results

        return list_results(RESULTS)
    if what == "policies":
        from marlrobust.policies.library import Library, StoredPolicy

        found = Library(runs).every()
        return [(name, p.card.summary() if isinstance(p, StoredPolicy) else str(p)) for name, p in found]
    from marlrobust.attacks import ATTACKS, VICTIMS
    from marlrobust.defenses.methods import METHODS
    from marlrobust.games import SCENARIOS
    from marlrobust.training import LEARNERS

    if what in ("games", "scenarios"):
        return [(name, _game(kind)) for name, kind in SCENARIOS.items()]
    registries: dict[str, Registry[Any]] = {
        "methods": METHODS,
        "learners": LEARNERS,
        "attacks": ATTACKS,
        "victims": VICTIMS,
    }
    return [(name, entry.summary) for name, entry in registries[what].items()]


def _game(kind: type[Scenario]) -> str:
    """What it is, and what its rounds measure."""
    return f"{kind.summary}; measures {', '.join(metric.words for metric in kind.metrics)}"
