"""`marlrobust list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marlrobust.cli.command import Command, runs_option
from marlrobust.registry import Registry


@click.command("list", cls=Command)
@click.argument(
    "what", type=click.Choice(["methods", "learners", "attacks", "victims", "scenarios", "policies", "results"])
)
@runs_option
def command(what: str, runs: Path) -> None:
    """Show the methods, learners, attacks, strategies for victims, scenarios, policies or results that there are.

    \b
    marlrobust list attacks
    """
    listing = _listing(what, runs)
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

    registries: dict[str, Registry[Any]] = {
        "methods": METHODS,
        "learners": LEARNERS,
        "attacks": ATTACKS,
        "victims": VICTIMS,
        "scenarios": SCENARIOS,
    }
    return [(name, entry.summary) for name, entry in registries[what].items()]
