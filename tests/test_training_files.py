"""What a training leaves on the disk: damage is found, named and survived, a full disk costs nothing stored before."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from marlrobust.errors import UserError
from marlrobust.training.log import TrainingLog, logged_rounds
from marlrobust.training.state import STATE, load_state, save_state
from marlrobust.training.trainer import COLUMNS
from tests.conftest import train, trainer

MUTANTS = 60


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was interrupted after three of its four batches of rounds."""
    folder = tmp_path_factory.mktemp("stopped") / "mfac"
    made = trainer(folder, method="mfac")
    made.run(stop=lambda: made.iteration >= 3)
    return folder


def small_state(folder: Path) -> None:
    tensors = {"a/policy": torch.arange(40.0).reshape(5, 8), "a/step": torch.tensor(3), "a/none": torch.zeros(0, 4)}
    save_state(folder, tensors, {"iteration": 3, "seconds": 1.5, "owed": {"a": 0.25}})


def changed(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with a bit turned, its end cut off, or a stretch left out."""
    at = rng.randrange(len(raw))
    ways: list[Callable[[], bytes]] = [
        lambda: raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :],
        lambda: raw[:at],
        lambda: raw[:at] + raw[at + rng.randrange(1, 40) :],
    ]
    return rng.choice(ways)()


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    small_state(tmp_path)
    stored = load_state(tmp_path)
    assert stored is not None
    tensors, numbers = stored
    assert torch.equal(tensors["a/policy"], torch.arange(40.0).reshape(5, 8))
    assert tensors["a/none"].shape == (0, 4)
    assert numbers == {"iteration": 3, "seconds": 1.5, "owed": {"a": 0.25}}
    assert load_state(tmp_path / "elsewhere") is None


def test_no_changed_state_goes_on(tmp_path: Path) -> None:
    small_state(tmp_path)
    raw = (tmp_path / STATE).read_bytes()
    rng = random.Random(0)
    for mutant in (changed(raw, rng) for _ in range(MUTANTS)):
        (tmp_path / STATE).write_bytes(mutant)
        with pytest.raises(UserError, match=r"state\.safetensors is damaged .*: remove it to train from the start"):
            load_state(tmp_path)


@pytest.mark.parametrize("part", ["weights", "numbers"])
def test_a_training_does_not_go_on_from_other_weights_or_numbers(stopped: Path, tmp_path: Path, part: str) -> None:
    """The file is sound, and one number in it is another."""
    shutil.copytree(stopped, tmp_path / "mfac")
    path = tmp_path / "mfac" / STATE
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = {k: v.clone() for k, v in load_file(path).items()}
    if part == "weights":
        tensors["soldier/learner/policy.actor.out.bias"][0] += 1e-6
    else:
        about["numbers"] = json.dumps({**json.loads(about["numbers"]), "iteration": 2})
    save_file(tensors, path, about)
    with pytest.raises(UserError, match="its checksum does not fit"):
        trainer(tmp_path / "mfac", method="mfac").resume()


def test_a_state_of_another_network_is_refused(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "mfac")
    with pytest.raises(UserError, match="damaged"):
        trainer(tmp_path / "mfac", method="mfac", hidden=16).resume()


def test_a_training_that_never_saved_leaves_no_rows_behind(tmp_path: Path) -> None:
    killed = trainer(tmp_path / "romfac")
    killed.log.write({"iteration": 1, "rounds": 4})
    train(tmp_path / "romfac")
    assert [row.split(",")[0] for row in log_lines(tmp_path / "romfac")[1:]] == ["1", "2", "3", "4"]


def log_lines(folder: Path) -> list[str]:
    return (folder / "train.csv").read_text().splitlines()


def a_log(folder: Path, say: Callable[[str], None]) -> TrainingLog:
    return TrainingLog(folder, COLUMNS, say)


def test_a_damaged_log_is_set_aside_and_its_readable_rows_are_kept(stopped: Path, tmp_path: Path) -> None:
    lines = (stopped / "train.csv").read_bytes().splitlines(keepends=True)
    path = tmp_path / "train.csv"
    path.write_bytes(lines[0] + lines[1] + lines[2][:30] + b"\n" + lines[3])
    said: list[str] = []
    a_log(tmp_path, said.append).continue_from(tmp_path, 3)
    assert path.read_bytes() == lines[0] + lines[1] + lines[3]
    assert (tmp_path / "train.csv.damaged").is_file()
    assert len(said) == 1
    assert str(path) in said[0]


def test_rows_after_the_checkpoint_are_dropped_without_a_word(stopped: Path, tmp_path: Path) -> None:
    shutil.copy(stopped / "train.csv", tmp_path)
    said: list[str] = []
    a_log(tmp_path, said.append).continue_from(tmp_path, 2)
    assert log_lines(tmp_path) == log_lines(stopped)[:3]
    assert said == []


def test_a_training_goes_on_whatever_its_log_is(stopped: Path, tmp_path: Path) -> None:
    """And each row that it keeps is one that was there."""
    raw = (stopped / "train.csv").read_bytes()
    rng = random.Random(1)
    for i in range(MUTANTS):
        folder = tmp_path / str(i)
        folder.mkdir()
        mutant = changed(raw, rng)
        (folder / "train.csv").write_bytes(mutant)
        said: list[str] = []
        log = a_log(folder, said.append)
        assert logged_rounds(folder) >= 0
        log.continue_from(folder, 3)
        log.write(dict.fromkeys(COLUMNS, 4))
        header, *rows = log_lines(folder)
        assert header == ",".join(COLUMNS)
        assert rows[-1] == ",".join("4" for _ in COLUMNS)
        assert all(row.encode() in mutant for row in rows[:-1])
        assert (folder / "train.csv.damaged").exists() == bool(said)


def test_a_log_of_nothing_readable_stops_no_training(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "mfac")
    (tmp_path / "mfac" / "train.csv").write_bytes(b"\xff\x00,,\n" * 9)
    made = trainer(tmp_path / "mfac", method="mfac")
    assert made.resume()
    made.run()
    assert made.finished
    assert [row.split(",")[0] for row in log_lines(tmp_path / "mfac")[1:]] == ["4"]


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests")
from tests.conftest import trainer
from marlrobust.errors import UserError

made = trainer(Path(sys.argv[1]), method="mfac")
assert made.resume()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))  # a disk with this much room
try:
    made.run(stop=lambda: made.iteration >= 4 - int(sys.argv[3]))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("room", "before_end", "file"),
    [(450, 0, "train.csv"), (4096, 0, "soldier.safetensors"), (500_000, 1, STATE)],
    ids=["log", "policy", "state"],
)
def test_a_full_disk_is_said_and_loses_nothing(
    stopped: Path, tmp_path: Path, room: int, before_end: int, file: str
) -> None:
    folder = tmp_path / "mfac"
    shutil.copytree(stopped, folder)
    before = (folder / STATE).read_bytes()
    command = [sys.executable, "-c", FULL, str(folder), str(room), str(before_end)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert ended.returncode == 0, ended.stderr
    assert f"cannot write {folder / file}: " in ended.stdout
    assert "make room and run the same command with --resume" in ended.stdout
    assert (folder / STATE).read_bytes() == before
    assert not list(folder.glob("*.part")) + list(folder.glob(".*.part"))
    assert train(folder, method="mfac").finished
