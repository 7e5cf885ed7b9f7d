"""All trainings of an experiment: who waits for whom, and what ends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marlrobust.config import dump
from marlrobust.errors import UserError
from marlrobust.training import experiment
from tests.conftest import trainer


def test_no_training_begins_after_one_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def failing(method: str, *arguments: object) -> None:
        begun.append(method)
        raise UserError(f"training {method} failed")

    monkeypatch.setattr(experiment, "_train", failing)
    with pytest.raises(UserError, match="training mfac failed"):
        experiment.train_all("battle", tmp_path, seeds=1, workers=1, options=[], say=lambda sentence: None)
    assert begun == ["mfac"]


def test_a_training_past_m_norm_is_started_whatever_its_log_is(tmp_path: Path) -> None:
    assert not experiment._started(tmp_path)
    made = trainer(tmp_path, method="mfac")
    made.run(stop=lambda: made.iteration >= 2)
    (tmp_path / "config.yaml").write_text(dump(made.settings))
    assert not experiment._started(tmp_path)  # at M_norm: its state there may not be stored yet
    made.run(stop=lambda: made.iteration >= 3)
    assert experiment._started(tmp_path)
    log = tmp_path / "train.csv"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b"\r\n2,", b"\r\n\xff,"))
    assert experiment._started(tmp_path)
    for damaged in (b"", b"\xff\x00", whole[:40], b"iteration,rounds\n1,1e999\n2," + b"9" * 5000):
        log.write_bytes(damaged)
        assert not experiment._started(tmp_path)
    log.write_bytes(whole)
    (tmp_path / "config.yaml").write_text("method: [")
    assert not experiment._started(tmp_path)


def test_the_experiments_file_has_two_tables() -> None:
    source = Path("x.yaml")
    assert experiment.tables({"train": {"gamma": 0.9}}, source) == ({"gamma": 0.9}, {})
    odds: list[dict[str, Any]] = [{"sweeps": {}}, {"sweep": 5}, {"train": [1]}]
    for odd in odds:
        with pytest.raises(UserError, match=r"x\.yaml"):
            experiment.tables(odd, source)


def test_the_fighters_are_the_bundled_ones_or_those_that_are_trained() -> None:
    ours = experiment.fighters(False, 1)
    assert set(ours["policies"]) == {f"zoo:{name}" for name in (*experiment.METHODS, *experiment.BESIDE)}
    assert ours["opponent"] == "zoo:a2c"
    own = experiment.fighters(True, 2)
    assert own["policies"][:6] == [*experiment.METHODS, "mfac-seed1"]
    assert own["opponent"] == "a2c"
