"""`marlrobust replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marlrobust.cli.command import Command, json_option, print_json, runs_option, say, trust_option
from marlrobust.progress import Progress


@click.command("replay", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--round", "number", type=click.IntRange(0), default=0, show_default=True, help="The round's number.")
@click.option("--policy", metavar="NAME", help="Of this policy.  [default: the first]")
@click.option("--game", "scenario", metavar="NAME", help="Of this game.  [default: the first]")
@click.option("--attack", metavar="NAME", help="Under this attack.  [default: the first]")
@click.option("--eps", "epsilon", type=float, metavar="X", help="With this epsilon.  [default: the largest]")
@click.option("--agents", "attacked_agents", type=int, metavar="N", help="So many attacked.  [default: the most]")
@click.option("--victims", metavar="NAME", help="Chosen so.  [default: the first]")
@click.option("--html", "kinds", flag_value="html", multiple=True, help="Write a page.  [default]")
@click.option("--gif", "kinds", flag_value="gif", multiple=True, help="Write a GIF.")
@click.option("--mp4", "kinds", flag_value="mp4", multiple=True, help="Write a film; it needs ffmpeg.")
@click.option("--speed", type=click.FloatRange(0.5, 60), default=6, show_default=True, help="Steps per second.")
@click.option("--proofs", is_flag=True, help="Prove more decisions, by CROWN; this takes a minute or more.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: FOLDER itself]")
@runs_option
@trust_option
@json_option
def command(
    folder: Path,
    number: int,
    kinds: tuple[str, ...],
    speed: float,
    proofs: bool,
    out: Path | None,
    runs: Path,
    trust: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Watch a round of FOLDER: play it again from its row, and write it as a page, a GIF or a film.

    \b
    marlrobust replay results/demo --round 7 --policy mfac
    marlrobust replay results/demo --round 7 --policy mfac --agents 16 --gif --mp4
    marlrobust replay results/demo --agents 0 --html

    An attacked round stands beside the clean one of the same number. The rounds are kept in FOLDER: the same command
    does not play them a second time, and 'marlrobust report FOLDER' shows them too.
    """
    from marlrobust.evaluation.again import choose, rebuilt, replay, stored_cells
    from marlrobust.evaluation.processes import Ticks
    from marlrobust.policies.library import Library
    from marlrobust.recorded import Replays
    from marlrobust.reports.replay_files import KINDS, save

    replays, seen = Replays(folder, say), []
    for stored in choose(stored_cells(folder, say), number, asked):
        known = replays.read(stored.facts, number)
        if known is None or (proofs and stored.attacked):
            cell = rebuilt(folder, stored, Library(runs, trust))
            with Progress("replay", "rounds", cell.rounds) as progress:
                known, compared = replay(cell, stored, number, proofs, Ticks(cell.game.max_steps, progress.advance))
            say(compared)
            replays.write(known)
        seen.append(known)
    files = {}
    for kind in [kind for kind in KINDS if kind in (kinds or KINDS[:1])]:
        with Progress("replay", "pictures", 1 + max(len(one.frames.rewards) for one in seen)) as progress:
            path = (out or folder) / f"replay-{seen[-1].name}.{kind}"
            files[kind] = save(path, seen, speed, progress.at)
    if as_json:
        rounds = [{**one.facts.model_dump(mode="json"), **one.round.model_dump(mode="json")} for one in seen]
        print_json({"folder": folder, "files": files, "rounds": rounds})
        return
    for path in files.values():
        click.echo(path)
