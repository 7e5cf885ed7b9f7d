"""Files and words that are damaged, odd, or meant badly: a sentence each, no traceback, nothing lost.

Seeded and bounded: the same mutants each time.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.config import load, resolve
from marlrobust.errors import UserError
from marlrobust.evaluation.run import Evaluation, evaluate, stored_evaluation
from marlrobust.evaluation.settings import CertifySettings, SweepSettings
from marlrobust.evaluation.store import Store
from marlrobust.files import SEAL, digest
from marlrobust.policies.card import load_card
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.library import Library
from marlrobust.training.experiment import tables
from marlrobust.training.settings import train_settings

ODD: list[Any] = [
    None, True, 5, -1, 0, 2.5, 1e308, float("nan"), float("inf"), "", "x", "nan", "../../x", [], [1], {}, {"a": 1},
    {"a": {"b": []}}, "\x00", "é", 10**30,
]  # fmt: skip


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with something changed, lost or added."""
    at, end = sorted(rng.randrange(len(raw)) for _ in range(2))
    return rng.choice(
        [
            raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :],
            raw[:at],
            raw[:at] + raw[end:],
            raw[:at] + rng.randbytes(9) + raw[at:],
            raw[:at] + raw[at:end] * 2 + raw[end:],
            b"",
        ]
    )


def changed(tree: Any, rng: random.Random) -> Any:
    """A copy of JSON-able `tree` with one value, or one name, replaced by something odd."""
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                todo.append(node[key])
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.2:
        node[rng.choice(["x", "", "__class__"])] = node.pop(key)
    else:
        node[key] = rng.choice(ODD)
    return tree


def sentence(do: Callable[[], object]) -> str:
    """What a user is told of `do`; nothing where it is well."""
    try:
        do()
    except UserError as error:
        return str(error) or "an error without a sentence\n"
    return ""


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A small evaluation that is stored."""
    layer = {"scenario": "battle", "policies": ["mfac"], "game": {"map_size": 16, "max_steps": 6}}
    settings = resolve(SweepSettings, layer, {"rounds": 2, "agents": [0, 2], "attacks": [{"name": "fgsm"}]})
    folder = tmp_path_factory.mktemp("whole")
    return evaluate(settings, Library(runs), folder, command="test", say=print)


def test_cells(whole: Evaluation, tmp_path: Path) -> None:
    """A changed cell is named and set aside, or holds just what was written; its neighbours stay."""
    shutil.copytree(whole.folder, tmp_path / "out")
    name, other = whole.record.cells
    path = tmp_path / "out" / "cells" / f"{name}.json"
    raw, rng, found = path.read_bytes(), random.Random(1), 0
    rows = Store(path.parent, print).read(name, 2)
    assert rows is not None
    for _ in range(300):
        path.write_bytes(damaged(raw, rng))
        said: list[str] = []
        store = Store(path.parent, said.append)
        again = store.read(name, 2)
        if again is None:
            found += 1
            assert path.name in said[0]
            assert not path.exists()
        else:
            pd.testing.assert_frame_equal(again, rows)
    assert found > 200
    assert Store(path.parent, print).read(other, 2) is not None


def test_cells_that_are_sealed_and_odd(whole: Evaluation, tmp_path: Path) -> None:
    """Somebody wrote another number into a cell, and its checksum too: what is no row is no row."""
    name = next(iter(whole.record.cells))
    content = json.loads((whole.folder / "cells" / f"{name}.json").read_text())
    content.pop(SEAL)
    rng, path = random.Random(2), tmp_path / f"{name}.json"
    for _ in range(150):
        mutant = changed(content, rng)
        path.write_text(json.dumps({**mutant, SEAL: digest(mutant)}))
        rows = Store(tmp_path, lambda sentence: None).read(name, 2)
        assert rows is None or len(rows) == 2


def test_records(whole: Evaluation, tmp_path: Path) -> None:
    """A damaged or odd run.json costs a sentence, and no cell."""
    shutil.copytree(whole.folder, tmp_path / "out")
    path, rng = tmp_path / "out" / "run.json", random.Random(3)
    raw, content = path.read_bytes(), json.loads(path.read_text())
    content.pop(SEAL)
    for i in range(200):
        if i % 2:
            mutant = changed(content, rng)
            path.write_text(json.dumps({**mutant, SEAL: digest(mutant)}))
        else:
            path.write_bytes(damaged(raw, rng))
        with contextlib.suppress(UserError):
            stored_evaluation(tmp_path / "out", lambda sentence: None)
        assert {p.name for p in (tmp_path / "out" / "cells").iterdir()} == {f"{n}.json" for n in whole.record.cells}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_cards(runs: Path, tmp_path: Path) -> None:
    """And `list policies` goes on past a bad one."""
    shutil.copytree(runs / "battle" / "mfac", tmp_path / "runs" / "battle" / "mfac")
    path = tmp_path / "runs" / "battle" / "mfac" / "soldier.safetensors"
    card, rng = path.with_suffix(".json"), random.Random(4)
    raw, content = card.read_bytes(), json.loads(card.read_text())
    for i in range(300):
        card.write_bytes(json.dumps(changed(content, rng)).encode() if i % 2 else damaged(raw, rng))
        said = sentence(lambda: (load_card(path).summary(), load_policy(path)))
        assert not said or "soldier" in said
        if i % 20 == 0:
            result = CliRunner().invoke(main, ["list", "policies", "--runs", str(tmp_path / "runs")])
            assert result.exit_code == 0, result.output
            assert "zoo:battle/romfac" in result.output


def test_weights(runs: Path, tmp_path: Path) -> None:
    """A changed file of weights is refused, even with a card that calls it good."""
    shutil.copytree(runs / "battle" / "mfac", tmp_path / "mfac")
    path = tmp_path / "mfac" / "soldier.safetensors"
    raw, rng = path.read_bytes(), random.Random(5)
    for _ in range(60):
        mutant = damaged(raw, rng)
        path.write_bytes(mutant)
        if mutant != raw:
            with pytest.raises(UserError, match="soldier"):
                load_policy(path)


SETTINGS: dict[str, Any] = {
    "policies": ["mfac"], "scenario": "battle", "game": {"max_steps": 5, "map_size": 16}, "opponent": "a2c",
    "attacks": [{"name": "pgd", "parameters": {"steps": 2}}], "epsilons": [0.1], "agents": [0, 2], "rounds": 2,
    "victims": [{"name": "random"}], "greedy": True, "features": "all", "budget": 3, "seed": 1, "device": "cpu",
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "scenario": "battle", "game": {"max_steps": 5, "map_size": 16}, "method": "mfac", "seed": 1, "gamma": 0.9,
    "loops": 2, "mu_max": 0.1, "parallel_rounds": 2,
}  # fmt: skip
TEXTS = [
    "game: 5", "agents: []", "sweep: 5", "[1, 2]", "5", "", "a: [", "a: &a [*a]", "&a {b: *a}", "? [1, 2]\n: 3",
    "1: 2", "agents: {a: 1}", "policies: mfac", "attacks: pgd", "attacks: [pgd]", "victims: [{}]", "\t",
    "a: !!python/x y",
    "date: 2026-01-01", "epsilons: [.nan]", "rounds: 1e400", "game: {scenario: 5}", "attacks: [{name: 5}]",
    "null: null",
]  # fmt: skip


def texts(tree: dict[str, Any], rng: random.Random, n: int) -> Iterator[str]:
    yield from TEXTS
    for _ in range(n):
        yield yaml.safe_dump(changed(tree, rng), allow_unicode=True)


def test_configurations(tmp_path: Path) -> None:
    """Every YAML file is settings, or a sentence."""
    path, rng = tmp_path / "odd.yaml", random.Random(6)
    refused = 0
    for tree in (SETTINGS, TRAINING):
        for text in texts(tree, rng, 150):
            path.write_text(text)
            for make in (
                lambda given: resolve(SweepSettings, given).game_of("battle"),
                lambda given: resolve(CertifySettings, given),
                lambda given: train_settings(given, {}),
                lambda given: tables(given, path),
            ):
                said = sentence(lambda make=make: make(load(path)))  # type: ignore[misc]
                refused += bool(said)
                assert "\n" not in said
    assert refused > 100


COMMANDS: dict[str, list[str]] = {
    "attack": ["--policy", "--attack", "--eps", "--agents", "--victims", "--budget", "--norm", "--features",
               "--opponent", "--scenario", "--game-option", "--seed", "--device", "--config", "--workers"],
    "certify": ["--policy", "--attack", "--eps", "--decisions", "--opponent", "--game-option", "--seed", "--config"],
    "train": ["--method", "--scenario", "--seed", "--against", "--opponent", "--game-option", "--device", "--config"],
    "report": ["--page"],
    "list": ["--runs"],
}  # fmt: skip
WORDS = [
    "", "0", "-1", "1", "2", "nan", "inf", "1e999", "0,075", "8/255", "1/0", "1,,2", "pgd", "pgd:steps=1",
    "pgd:steps=x",
    "pgd:steps=none", "pgd:=", "mad:start=state", "timed:inner=auto", "timed:inner=timed", "transfer:source=nobody",
    "learned", "random:kind=loud", "worst:block=0", "mfac", "zoo:nobody", "zoo:battle/mfac", "..", "/", "x" * 300, "é",
    "map_size=7", "max_steps=0", "=", "battle", "pursuit", "l_2", "cuda", "\x00", "random", "critical:when=start",
]  # fmt: skip


def test_command_lines(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 or 2, and never a traceback, whatever is typed."""
    monkeypatch.chdir(tmp_path)
    small = ["--runs", str(runs), "--game-option", "map_size=16"]
    fixed = {
        "attack": ["--policy", "mfac", "--rounds", "1", "--steps", "2", "--workers", "1", *small],
        "certify": ["--policy", "mfac", "--rounds", "1", "--steps", "2", "--decisions", "2", *small],
        "train": ["--runs", "trained", "--normal-rounds", "0", "--loop-rounds", "1", "--config", "tiny.yaml"],
        "report": ["."],
        "list": ["policies"],
    }
    tiny = {"parallel_rounds": 3, "loops": 1, "hidden": 8, "embedding": 4, "batch_size": 8, "replay_size": 500}
    Path("tiny.yaml").write_text(yaml.safe_dump({**tiny, "game": {"map_size": 16, "max_steps": 2}}))
    rng, codes = random.Random(7), []
    for _ in range(120):
        command = rng.choice(list(COMMANDS))
        flags = [w for flag in rng.sample(COMMANDS[command], 1 + rng.randrange(2) * (command == "attack"))
                 for w in (flag, rng.choice(WORDS))]  # fmt: skip
        result = CliRunner().invoke(main, [command, *fixed[command], *flags])
        typed = " ".join([command, *flags])
        assert result.exception is None or isinstance(result.exception, SystemExit), (typed, result.exc_info)
        assert result.exit_code in (0, 2), (typed, result.output)
        assert "Traceback" not in result.output, (typed, result.output)
        codes.append(result.exit_code)
    assert {0, 2} <= set(codes)
