"""All trainings of an experiment: when one fails, no other begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from marlrobust import reproduce
from marlrobust.errors import UserError


def test_no_training_begins_after_one_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def failing(method: str, *arguments: object) -> None:
        begun.append(method)
        raise UserError(f"training {method} failed")

    monkeypatch.setattr(reproduce, "_train", failing)
    with pytest.raises(UserError, match="training mfac failed"):
        reproduce.train_all("battle", tmp_path, seeds=1, workers=1, options=[], say=lambda sentence: None)
    assert begun == ["mfac"]
