"""The whole experiment of the paper: all methods trained, a process each, then attacked and reported on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from marlrobust.errors import UserError

METHODS = ("mfac", "a2c", "romfac", "sa-mfac3", "sa-mfac", "romfac1")  # mfac first: it trains the shared start


def train_all(
    scenario: str, runs: Path, *, seed: int, workers: int, options: Sequence[str], say: Callable[[str], None]
) -> None:
    """Train the five methods and the opponent for `scenario` into `runs`, up to `workers` at once.

    options: further arguments of `marlrobust train`. What is trained already is kept; an interrupted training
    goes on. Raises UserError, naming the method, where one fails.
    """
    stopped = threading.Event()

    def train(method: str) -> None:
        # all but a2c go on from the rounds before M_norm that mfac, the first, shares with them
        waits = method not in (METHODS[0], "a2c")
        while waits and not first.done() and not list((runs / scenario).glob(".start-*/train.csv")):
            time.sleep(0.5)
        if stopped.is_set():
            return
        try:
            _train(method, scenario, runs, seed, options, say)
        except BaseException:
            stopped.set()  # those under way end by themselves, no other begins
            raise

    with ThreadPoolExecutor(workers) as pool:
        first = pool.submit(train, METHODS[0])
        try:
            for future in [first, *(pool.submit(train, method) for method in METHODS[1:])]:
                future.result()
        except BaseException:  # Ctrl-C comes here
            stopped.set()
            raise


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
