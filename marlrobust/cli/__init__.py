"""The command line: parse, call, print. A command is a file; its help comes from the settings that it sets."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = (
    *("train", "distill", "attack", "certify", "reproduce", "report", "compare", "replay", "merge"),
    *("submit", "leaderboard", "list", "theory"),
)
"""In the order of the help; each is `marlrobust.cli.NAME`, and is imported when it is asked for."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"marlrobust.cli.{cmd_name}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="marlrobust")
def main() -> None:
    """Train teams of agents, attack what they see, and report how far they can be trusted.

    \b
    marlrobust attack --policy zoo:battle/mfac --policy zoo:battle/romfac
    marlrobust attack --eps 0.075 --agents 0,8,16,32,48,64
    marlrobust train --method romfac
    """
