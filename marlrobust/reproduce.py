"""The whole experiment of the paper: all methods trained, a process each, then attacked and reported on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from marlrobust.errors import UserError

FIRST = ("a2c", "mfac")  # the opponent, and the method that trains the start which the others share
OTHERS = ("romfac", "sa-mfac3", "sa-mfac", "romfac1")


def train_all(
    scenario: str, runs: Path, *, seed: int, workers: int, options: Sequence[str], say: Callable[[str], None]
) -> None:
    """Train the five methods and the opponent for `scenario` into `runs`, up to `workers` at once.

    options: further arguments of `marlrobust train`. What is trained already is kept; an interrupted training
    goes on. Raises UserError, naming the method, where one fails.
    """
    with ThreadPoolExecutor(workers) as pool:
        for methods in (FIRST, OTHERS):
            list(pool.map(lambda method: _train(method, scenario, runs, seed, options, say), methods))


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
