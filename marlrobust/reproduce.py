"""The whole experiment of the paper: all methods trained, a process each, or bundled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from marlrobust import config
from marlrobust.errors import UserError
from marlrobust.policies.runs import BUNDLED, bundled, training_name

METHODS = ("mfac", "romfac", "sa-mfac3", "sa-mfac", "romfac1")  # mfac first: it trains the shared start
OPPONENT = "a2c"


def names(seeds: int) -> list[str]:
    """What the trainings of the five methods are called, those of `seeds` seeds each."""
    return [training_name(method, seed) for seed in range(seeds) for method in METHODS]


def bundled_names(seeds: int | None) -> list[str]:
    """The names of the bundled policies of the five methods: of the first `seeds` seeds, or of all."""
    known = {p.name: p.card for p in bundled() if p.card.method in METHODS}
    return [f"{BUNDLED}{name}" for name, card in known.items() if seeds is None or card.seed < seeds]


def train_all(
    scenario: str, runs: Path, *, seeds: int, workers: int, options: Sequence[str], say: Callable[[str], None]
) -> None:
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
        rounds = pd.read_csv(folder / "train.csv")["rounds"].max()
        return bool(rounds > config.load(folder / "config.yaml")["normal_rounds"])
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return False


def _train(
    method: str, scenario: str, runs: Path, seed: int, options: Sequence[str], say: Callable[[str], None]
) -> None:
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
