"""The whole experiment of the paper: all methods trained, a process each, or bundled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from marlrobust import config
from marlrobust.errors import UserError
from marlrobust.files import write_bytes
from marlrobust.policies.library import BUNDLED, bundled, training_name
from marlrobust.training.log import Say, logged_rounds, to_stderr
from marlrobust.training.run import CONFIG
from marlrobust.training.settings import TrainSettings

METHODS = ("mfac", "romfac", "sa-mfac3", "sa-mfac", "romfac1")  # mfac first: it trains the shared start
BESIDE = ("certified",)
"""Bundled teams that are shown beside the five: what they are asked is the same, where they come from is not."""

OPPONENT = "a2c"


def tables(given: dict[str, Any], source: Path | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the trainings and of the evaluation, from the file `source` of two tables, `train` and `sweep`.

    Raises UserError for anything else in it.
    """
    if odd := [name for name in given if name not in ("train", "sweep")]:
        raise UserError(f"{source} has '{odd[0]}': reproduce takes two tables, train and sweep")
    found = tuple(given.get(name) or {} for name in ("train", "sweep"))
    if not all(isinstance(table, dict) for table in found):
        raise UserError(f"{source}: train and sweep are tables of names and values")
    return found[0], found[1]


def fighters(training: bool, seeds: int | None) -> dict[str, Any]:
    """The policies and the opponent of the evaluation, as settings of it: trained ones, or those that are bundled.

    seeds: trainings of each method, seeds 0 to seeds - 1; None: one, or all that are bundled.
    """
    chosen = names(seeds or 1) if training else bundled_names(seeds)
    return {"policies": chosen, "opponent": OPPONENT if training else f"{BUNDLED}{OPPONENT}"}


def names(seeds: int) -> list[str]:
    """What the trainings of the five methods are called, those of `seeds` seeds each."""
    return [training_name(method, seed) for seed in range(seeds) for method in METHODS]


def bundled_names(seeds: int | None) -> list[str]:
    """The names of the bundled policies of the five methods, of the first `seeds` seeds or of all, and of those that
    are shown beside them."""
    known = {p.name: p.card for p in bundled() if p.card.method in METHODS}
    chosen = [name for name, card in known.items() if seeds is None or card.seed < seeds]
    beside = dict.fromkeys(p.name for p in bundled() if p.card.method in BESIDE)
    return [f"{BUNDLED}{name}" for name in (*chosen, *beside)]


def train_everything(
    scenarios: Iterable[str],
    runs: Path,
    folder: Path,
    table: dict[str, Any],
    *,
    short: bool = False,
    seeds: int = 1,
    workers: int = 1,
    say: Say = to_stderr,
) -> None:
    """Train the experiment's policies for all `scenarios` into `runs`; see `train_all`.

    table: settings of all trainings, which are stored in `folder`; short: trainings of minutes.
    """
    stored = folder / "train.yaml"
    write_bytes(stored, yaml.safe_dump(table).encode())
    options = ["--config", str(stored), *(["--short"] if short else [])]
    for scenario in scenarios:
        train_all(scenario, runs, seeds=seeds, workers=workers, options=options, say=say)


def train_all(scenario: str, runs: Path, *, seeds: int, workers: int, options: Sequence[str], say: Say) -> None:
    """Train the five methods, with seeds 0 to seeds - 1, and the opponent for `scenario` into `runs`, up to `workers`
    at once.

    options: further arguments of `marlrobust train`. What is trained already is kept; an interrupted training
    goes on. Raises UserError, naming the method, where one fails.
    """
    stopped = threading.Event()
    firsts: dict[int, Future[None]] = {}

    def train(method: str, seed: int) -> None:
        # the methods go on from the rounds before M_norm that mfac, the first, shares with them
        while (
            method in METHODS[1:]
            and not firsts[seed].done()
            and not _started(runs / scenario / training_name(METHODS[0], seed))
        ):
            time.sleep(0.5)
        if stopped.is_set():
            return
        try:
            _train(method, scenario, runs, seed, options, say)
        except BaseException:
            stopped.set()  # those under way end by themselves, no other begins
            raise

    with ThreadPoolExecutor(workers) as pool:
        futures = []
        for seed in range(seeds):
            firsts[seed] = pool.submit(train, METHODS[0], seed)
            others = (OPPONENT, *METHODS[1:]) if seed == 0 else METHODS[1:]
            futures += [firsts[seed], *(pool.submit(train, method, seed) for method in others)]
        try:
            for future in futures:
                future.result()
        except BaseException:  # Ctrl-C comes here
            stopped.set()
            raise


def _started(folder: Path) -> bool:
    """Whether the training in `folder` is past M_norm, so that its state there is stored for all methods."""
    try:
        settings = config.resolve(TrainSettings, config.load(folder / CONFIG))
    except UserError:  # not there yet, or damaged, which the training itself says
        return False
    return logged_rounds(folder) > settings.normal_rounds


def _train(method: str, scenario: str, runs: Path, seed: int, options: Sequence[str], say: Say) -> None:
    command = [sys.executable, "-m", "marlrobust", "train", "--method", method, "--scenario", scenario]
    command += ["--seed", str(seed), "--runs", str(runs), "--resume", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        last = line.strip() or last
        say(line.rstrip())
    if process.wait():
        raise UserError(f"training {method} on {scenario} ended with: {last}")
