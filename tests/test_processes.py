"""Whatever ends an evaluation, nothing stays behind and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid: int) -> set[int]:
    """The living processes below `pid`, those of its children included."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text().rpartition(")")
        except OSError:
            continue
        found.setdefault(int(tail.split()[1]), []).append(int(head.split()[0]))
    below, todo = set(), [pid]
    while todo:
        new = found.get(todo.pop(), [])
        below.update(new)
        todo += new
    return below


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def command(runs: Path, out: Path) -> list[str]:
    """An evaluation in two processes that takes about ten seconds."""
    words = [sys.executable, "-m", "marlrobust", "attack", "--runs", runs, "--scenario", "battle", "--out", out]
    words += ["--game-option", "map_size=16", "--rounds", 6, "--steps", 100, "--agents", "0,1,2,3,4,5"]
    return [str(word) for word in [*words, "--attack", "pgd:steps=20", "--workers", 2]]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_the_evaluation(runs: Path, tmp_path: Path, number: signal.Signals) -> None:
    """And what was stored is whole: the same command ends with the same rows."""
    process = subprocess.Popen(
        command(runs, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    wait_for(lambda: len(list((tmp_path / "cells").glob("*.json"))) > 1)
    workers = children(process.pid)
    assert len(workers) >= 2
    if number is signal.SIGINT:  # a terminal sends it to all of them
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    if number is not signal.SIGKILL:
        assert process.returncode == 130, output
        assert "what was stored is whole" in output
        assert "Traceback" not in output
    wait_for(lambda: not any(map(alive, workers)), 20)
    before = {path: path.read_bytes() for path in (tmp_path / "cells").glob("*.json")}
    assert before
    done = subprocess.run(command(runs, tmp_path), capture_output=True, text=True, check=True)
    assert f"{len(before)} kept" in done.stdout
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_worker_that_dies_is_said(runs: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(runs, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    wait_for(lambda: len(list((tmp_path / "cells").glob("*.json"))) > 0)
    for worker in children(process.pid):
        os.kill(worker, signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "a worker process died" in output
    assert "fewer --workers" in output
