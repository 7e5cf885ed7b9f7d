"""The command line: parse, call, print."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import click
import yaml

from marlrobust import config
from marlrobust.errors import UserError
from marlrobust.files import write_atomically
from marlrobust.registry import unknown

SCENARIOS = ("battle", "pursuit")
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Command(click.Command):
    """A command whose user errors are one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nstopped; what was stored is whole: run the same command again to go on", err=True)
            raise SystemExit(130) from None
        except UserError as error:
            raise click.UsageError(str(error), ctx=None) from None
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise click.UsageError(f"cannot use{where}: {error.strerror or error}", ctx=None) from None


class Named(click.ParamType):  # type: ignore[type-arg]
    """A name with "did you mean"."""

    name = "name"

    def __init__(self, noun: str, names: Callable[[], Any]) -> None:
        self.noun, self.names = noun, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = list(self.names())
        if value not in names:
            self.fail(unknown(self.noun, value, names), param, ctx)
        return value


def _methods() -> Any:
    from marlrobust.defenses.methods import METHODS

    return METHODS


def _counts(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(_numbers(value, int, "--agents takes whole numbers, as in 0,8,16"))


def _epsilons(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    return None if value is None else tuple(_numbers(value, float, "--eps takes numbers, as in 0.075 or 0.05,0.1"))


def _numbers(text: str, kind: Callable[[str], Any], message: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{message}; not '{text}'") from None


def _attack(text: str, option: str = "--attack") -> dict[str, Any]:
    """`pgd:steps=20,start=uniform` as attack settings; victims are given alike."""
    name, _, tail = text.partition(":")
    parameters = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise click.BadParameter(f"{option} takes NAME:PARAMETER=VALUE,…; not '{text}'")
        parameters[key] = yaml.safe_load(value)
    return {"name": name, "parameters": parameters}


def _given(**values: Any) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


def _command_line() -> str:
    return shlex.join(["marlrobust", *sys.argv[1:]])


CONFIG = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="YAML file of settings; flags win."
)
RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of trained policies.",
)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="marlrobust")
def main() -> None:
    """Train teams of agents, attack what they see, and report how far they can be trusted.

    \b
    marlrobust train --method mfac
    marlrobust train --method a2c              # the opponent in every test
    marlrobust attack --eps 0.075 --agents 0,8,16,32,48,64
    """


@main.command(cls=Command)
@CONFIG
@RUNS
@click.option(
    "--method",
    type=Named("method", _methods),
    help="mfac, sa-mfac, sa-mfac3, romfac1, romfac, a2c.  [default: romfac]",
)
@click.option("--scenario", type=Named("scenario", lambda: SCENARIOS), help="battle or pursuit.  [default: battle]")
@click.option("--seed", type=click.IntRange(0), help="Of everything random in the training.  [default: 0]")
@click.option("--normal-rounds", type=click.IntRange(0), help="Rounds before the action loss (M_norm).")
@click.option("--loop-rounds", type=click.IntRange(1), help="Rounds of each of the three loops (M_adv).")
@click.option("--map-size", type=click.IntRange(7), help="Side of the map; battle on 40 has 64 agents a side.")
@click.option("--device", help="cpu or cuda.  [default: cpu]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: runs/SCENARIO/METHOD]")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@click.option("--overwrite", is_flag=True, help="Start anew where a training is stored.")
@click.option("--short", is_flag=True, help="A training of minutes, as the demo's.")
@click.option("--against", metavar="NAME", help="For --method adversary: the policy that it learns to attack.")
@click.option("--opponent", metavar="NAME", help="For --method adversary: whom that policy plays.  [default: a2c]")
def train(
    config_file: Path | None,
    runs: Path,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    short: bool,
    **flags: Any,
) -> None:
    """Train a method by self-play (Algorithm 1 of the paper).

    \b
    marlrobust train --method romfac
    marlrobust train --method mfac --scenario pursuit --seed 1
    marlrobust train --method romfac --resume        # after an interruption
    marlrobust train --method adversary --against zoo:battle/mfac

    Writes the policy (safetensors, with a JSON card), train.csv with a row an iteration, the resolved config.yaml,
    and checkpoints. Ctrl-C saves.
    """
    import torch

    from marlrobust.attacks.learned import adversary_name
    from marlrobust.evaluation.runner import sides
    from marlrobust.policies.runs import training_name
    from marlrobust.training.adversary import AdversaryTrainer
    from marlrobust.training.trainer import Trainer

    game = _given(scenario=flags.pop("scenario"), map_size=flags.pop("map_size"))
    given = config.load(config_file) if config_file else {}
    scenario = game.get("scenario") or given.get("game", {}).get("scenario", "battle")
    preset = config.PRESETS.get(scenario, {})
    asked = {"game": game, **_given(**flags)}
    against = config.AGAINST if (given | asked).get("method") == config.ADVERSARY else {}
    layers = [preset, config.SHORT.get(scenario, {}) if short else {}, against, given, asked]
    settings = config.resolve(config.TrainSettings, *layers)
    _methods()[settings.method]  # a configuration file may name one that there is not
    name = settings.method
    make: Callable[[Path], Trainer] = partial(Trainer, settings)
    if settings.against is not None:
        victim, opponent = sides(settings.against, settings.opponent, runs, settings.game.scenario)
        name = adversary_name(victim.path.parent.name)
        make = partial(AdversaryTrainer, settings, victim=victim, opponent=opponent)
    folder = out or runs / settings.game.scenario / training_name(name, settings.seed)
    again = f"marlrobust train --config {folder / 'config.yaml'} --out {folder} --resume"
    stored = folder / "config.yaml"
    if stored.exists() and not overwrite:
        if not resume:
            raise UserError(f"{folder} holds a training already: give --resume to go on, or --overwrite to start anew")
        if config.resolve(config.TrainSettings, config.load(stored)) != settings:
            raise UserError(f"{folder} was trained with other settings: resume it with '{again}'")
    torch.set_num_threads(1)  # a process a method is the better use of cores
    trainer = make(folder)
    if resume and trainer.stored_rounds() >= trainer.total_rounds:
        click.echo(f"{folder} is trained to its end already")
        return
    if overwrite:
        for file in ("state.safetensors", "train.csv"):
            (folder / file).unlink(missing_ok=True)
    write_atomically(stored, lambda temporary: temporary.write_text(config.dump(settings)))
    trainer.resume()
    stopped = _stop_on_signal(again)
    _run_training(trainer, stopped)
    if not trainer.finished:
        click.echo(f"stopped after {trainer.rounds} of {trainer.total_rounds} rounds, saved; go on with: {again}")
        raise SystemExit(130)
    click.echo(f"trained {settings.method} on {settings.game.scenario} for {trainer.rounds} rounds: {folder}")


def _run_training(trainer: Any, stopped: Callable[[], bool]) -> None:
    from marlrobust.progress import Progress

    s = trainer.settings
    label = f"{s.method} {s.game.scenario}"
    with Progress(trainer.total_rounds, "rounds", label, done=trainer.rounds) as progress:

        def report(row: dict[str, float]) -> None:
            note = "reward {reward:.0f} kills {kills:.0f} entropy {entropy:.2f} mu {mu:.3f} flips {flip_rate:.2f}"
            progress.advance(s.parallel_rounds, note.format(**row))

        trainer.run(stop=stopped, report=report)


def _stop_on_signal(again: str) -> Callable[[], bool]:
    """The first Ctrl-C, or SIGTERM, asks for an end after this iteration; a second Ctrl-C ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        click.echo("\nfinishing this iteration, then saving (Ctrl-C again to lose the iteration)", err=True)

    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return lambda: bool(asked)


@main.command(cls=Command)
@CONFIG
@RUNS
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="A name under runs, a folder or a file; may be repeated.  [default: all]",
)
@click.option("--opponent", help="Whom they play; never attacked.  [default: a2c]")
@click.option("--scenario", type=Named("scenario", lambda: SCENARIOS), help="battle or pursuit.  [default: both]")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    help="NAME or NAME:steps=20,restarts=2; may be repeated.  [default: pgd]",
)
@click.option("--eps", "epsilons", callback=_epsilons, help="Radius in state units, or several.  [default: 0.075]")
@click.option("--norm", type=click.Choice(["l_inf", "l_2"]), help="Of the radius.  [default: l_inf]")
@click.option("--agents", callback=_counts, help="Counts of attacked agents.  [default: 0,8,16,32,48,64]")
@click.option(
    "--victims",
    multiple=True,
    help="How they are chosen: NAME or NAME:PARAMETER=VALUE; may be repeated.  [default: random]",
)
@click.option("--budget", type=click.IntRange(1), help="Attacked steps a round, at most.  [default: all]")
@click.option(
    "--features",
    type=click.Choice(["all", "view", "features"]),
    help="What of a state may be perturbed.  [default: all]",
)
@click.option("--greedy/--sample", default=None, help="Take the likeliest action, or sample.  [default: sample]")
@click.option("--rounds", type=click.IntRange(1), help="Rounds a cell.  [default: 50]")
@click.option("--steps", "max_steps", type=click.IntRange(1), help="Steps a round at most.  [default: 400]")
@click.option("--map-size", type=click.IntRange(7), help="Side of the map; battle on 40 has 64 agents a side.")
@click.option("--seed", type=click.IntRange(0), help="Of starts, victims, noise.  [default: 0]")
@click.option("--workers", type=click.IntRange(1), help="Processes side by side.  [default: the cores]")
@click.option("--device", help="cpu or cuda.  [default: cpu]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: results/ and the date]")
def attack(config_file: Path | None, runs: Path, out: Path | None, **flags: Any) -> None:
    """Attack trained policies with growing numbers of victims, and write tables, figures and a report.

    \b
    marlrobust attack                                         # every policy under runs/
    marlrobust attack --eps 0.075 --agents 0,8,16,32,48,64
    marlrobust attack --policy romfac --attack pgd:steps=50,restarts=3 --attack fgsm --attack random
    marlrobust attack --agents 0,8 --victims random --victims critical --victims worst
    marlrobust attack --attack timed --budget 40

    An interrupted sweep goes on where it stopped when the same command is run again.
    """
    from marlrobust.evaluation.runner import run_sweep

    flags["policies"] = flags["policies"] or None
    flags["attacks"] = [_attack(text) for text in flags["attacks"]] or None
    flags["victims"] = [_attack(text, "--victims") for text in flags["victims"]] or None
    given = config.load(config_file) if config_file else {}
    default = {"workers": os.cpu_count() or 1}
    settings = config.resolve(config.SweepSettings, default, given, _given(**flags))
    folder = out or Path("results") / date.today().isoformat()
    began = time.monotonic()
    done = run_sweep(settings, runs, folder, command=_command_line(), say=_note)
    _report(folder, done.rows, done.about)
    click.echo(
        f"{len(done.rows)} rounds in {time.monotonic() - began:.0f} s, {done.played} cells played, {done.kept} kept"
    )


def _note(sentence: str) -> None:
    click.echo(sentence, err=True)


def _report(folder: Path, rows: Any, about: dict[str, Any]) -> None:
    from marlrobust.progress import Progress
    from marlrobust.reports.report import file_count, write_report
    from marlrobust.reports.tables import table, table1

    with Progress(file_count(rows), "files", "report") as progress:
        written = write_report(rows, folder, about, progress.advance)
    click.echo(table1(table(rows)).to_string(index=False))
    for path in written.values():
        click.echo(path)


@main.command(cls=Command)
@CONFIG
@RUNS
@click.option("--policy", "policies", multiple=True, help="As in attack; may be repeated.  [default: all]")
@click.option("--opponent", help="Whom they play.  [default: a2c]")
@click.option("--scenario", type=Named("scenario", lambda: SCENARIOS), help="battle or pursuit.  [default: both]")
@click.option("--eps", "epsilons", callback=_epsilons, help="l_inf radii.  [default: 0.001,0.01,0.03,0.075]")
@click.option("--attack", "attack_text", help="What bounds the truth from below.  [default: auto]")
@click.option("--rounds", type=click.IntRange(1), help="Rounds that are played.  [default: 20]")
@click.option("--decisions", type=click.IntRange(1), help="Of those, how many are looked at.  [default: 320]")
@click.option("--steps", "max_steps", type=click.IntRange(1), help="Steps a round at most.  [default: 400]")
@click.option("--map-size", type=click.IntRange(7), help="Side of the map.")
@click.option("--seed", type=click.IntRange(0), help="Of starts, noise and the draw.  [default: 0]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: results/ and the date]")
def certify(config_file: Path | None, runs: Path, out: Path | None, attack_text: str | None, **flags: Any) -> None:
    """Bracket what an adversary can change: attacked decisions from below, proofs from above.

    \b
    marlrobust certify --policy romfac --eps 0.001,0.01,0.075 --rounds 20

    Intervals and CROWN prove, float32's rounding included, that a decision's likeliest action is the same for every
    state within epsilon. An evaluation in the same folder shows the bracket in its report.
    """
    from marlrobust.evaluation.certify import run_certify
    from marlrobust.evaluation.runner import RECORD, stored_sweep
    from marlrobust.reports.bracket import bracket_text, write_bracket

    flags["policies"] = flags["policies"] or None
    given = config.load(config_file) if config_file else {}
    attack = _attack(attack_text) if attack_text else None
    settings = config.resolve(config.CertifySettings, given, _given(attack=attack, **flags))
    folder = out or Path("results") / date.today().isoformat()
    table, written = write_bracket(run_certify(settings, runs, folder, _note), folder)
    click.echo(bracket_text(table).to_string(index=False))
    for path in written:
        click.echo(path)
    if (folder / RECORD).exists():
        done = stored_sweep(folder, _note)
        _report(folder, done.rows, done.about)


@main.command(cls=Command)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of two tables: train, sweep.")
@RUNS
@click.option("--train", "training", is_flag=True, help="Train the five methods and the opponent first.")
@click.option("--short", is_flag=True, help="With --train: trainings of minutes, as the demo's.")
@click.option("--scenario", type=Named("scenario", lambda: SCENARIOS), help="battle or pursuit.  [default: both]")
@click.option("--rounds", type=click.IntRange(1), help="Rounds a cell.  [default: 50]")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    help="Trainings of each method: seeds 0, 1, ...  [default: 1, or all that are bundled]",
)
@click.option("--evaluation-seed", type=click.IntRange(0), help="Of the attacked rounds.  [default: 0]")
@click.option("--workers", type=click.IntRange(1), help="Processes side by side.  [default: the cores]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/reproduction"), show_default=True)
def reproduce(
    config_file: Path | None,
    runs: Path,
    training: bool,
    short: bool,
    scenario: str | None,
    rounds: int | None,
    seeds: int | None,
    evaluation_seed: int | None,
    workers: int | None,
    out: Path,
) -> None:
    """The paper's experiment: five methods, six counts, PGD with 10 steps and epsilon 0.075, 50 rounds.

    Attacks the policies that come with marlrobust; with --train, those that it trains first, under --runs.

    \b
    marlrobust reproduce
    marlrobust reproduce --train --seeds 3        # interrupted, it goes on
    marlrobust reproduce --train --short --scenario battle --rounds 10
    """
    from marlrobust.evaluation.runner import run_sweep
    from marlrobust.reproduce import OPPONENT, bundled_names, names, train_all

    given = config.load(config_file) if config_file else {}
    if odd := set(given) - {"train", "sweep"}:
        raise UserError(f"{config_file} has '{odd.pop()}': reproduce takes two tables, train and sweep")
    workers = workers or os.cpu_count() or 1
    sweep = _given(scenario=scenario, rounds=rounds, seed=evaluation_seed, workers=workers)
    chosen = names(seeds or 1) if training else bundled_names(seeds)
    policies = {"policies": chosen, "opponent": OPPONENT if training else f"zoo:{OPPONENT}"}
    settings = config.resolve(config.SweepSettings, policies, given.get("sweep", {}), sweep)
    if training:
        table = out / "train.yaml"
        write_atomically(table, lambda temporary: temporary.write_text(yaml.safe_dump(given.get("train", {}))))
        options = ["--config", str(table), *(["--short"] if short else [])]
        for name in (scenario,) if scenario else SCENARIOS:
            train_all(name, runs, seeds=seeds or 1, workers=workers, options=options, say=_note)
    done = run_sweep(settings, runs, out, command=_command_line(), say=_note)
    _report(out, done.rows, done.about)


@main.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--page", type=click.Path(path_type=Path), help="Write the page of the paper's experiment instead.")
def report(folder: Path, page: Path | None) -> None:
    """Write the tables, figures and report of FOLDER again, from its stored rows.

    \b
    marlrobust report results/2026-01-31
    marlrobust report results/reproduction --page docs/reproduction.md
    """
    from marlrobust.evaluation.runner import stored_sweep

    if page is not None:
        from marlrobust.reports.page import rows_of, write_page

        rows = rows_of(folder) if folder.suffix == ".parquet" else stored_sweep(folder, _note).rows
        for path in write_page(rows, page):
            click.echo(path)
        return
    done = stored_sweep(folder, _note)
    _report(folder, done.rows, done.about)


@main.command("list", cls=Command)
@click.argument("what", type=click.Choice(["methods", "attacks", "victims", "scenarios", "policies"]))
@RUNS
def list_(what: str, runs: Path) -> None:
    """Show the methods, attacks, victims strategies, scenarios or policies that there are.

    \b
    marlrobust list attacks
    """
    listing = _listing(what, runs)
    width = max((len(name) for name, _ in listing), default=0)
    for name, words in listing:
        click.echo(f"{name:<{width}}  {words}")


def _listing(what: str, runs: Path) -> list[tuple[str, str]]:
    if what == "methods":
        return [(name, method.description) for name, method in _methods().items()]
    if what == "attacks":
        from marlrobust.attacks import ATTACKS

        return [(name, kind.summary) for name, kind in ATTACKS.items()]
    if what == "victims":
        from marlrobust.attacks import VICTIMS

        return [(name, strategy.summary) for name, strategy in VICTIMS.items()]
    if what == "scenarios":
        from marlrobust.games.scenarios import SCENARIOS as games

        return [(name, (make.__doc__ or "").splitlines()[0]) for name, make in games.items()]
    from marlrobust.policies.runs import bundled, every

    own = [policy for scenario in SCENARIOS for policy in every(runs, scenario)]
    return [(p.full_name, p.card.summary()) for p in (*own, *bundled())]
