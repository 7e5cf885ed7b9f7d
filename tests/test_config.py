"""Settings from layers: the later wins, and what does not fit is named as its giver knows it."""

from __future__ import annotations

from typing import Any

import pytest

from marlrobust.config import FieldError, merge, resolve
from marlrobust.evaluation.settings import SweepSettings


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    into: dict[str, Any] = {}
    for layer in layers:
        merge(into, layer)
    return into


def test_tables_are_merged_by_their_fields() -> None:
    assert merged({"game": {"a": 1, "b": 2}}, {"game": {"b": 3}}) == {"game": {"a": 1, "b": 3}}


def test_parameters_of_one_thing_are_none_of_another() -> None:
    ippo = {"learner": {"name": "ippo", "parameters": {"clip": 0.3}}}
    assert merged(ippo, {"learner": {"name": "mean-field"}}) == {"learner": {"name": "mean-field"}}
    assert merged(ippo, {"learner": "mean-field"}) == {"learner": "mean-field"}
    more = merged(ippo, {"learner": {"name": "ippo", "parameters": {"epochs": 2}}})
    assert more == {"learner": {"name": "ippo", "parameters": {"clip": 0.3, "epochs": 2}}}
    assert merged(ippo, {"learner": {"parameters": {"epochs": 2}}}) == more


def test_what_does_not_fit_is_called_by_what_was_typed() -> None:
    with pytest.raises(FieldError, match=r"rounds: .*; epsilons\.1: ") as caught:
        resolve(SweepSettings, {"epsilons": [0.1, "much"], "rounds": 0})
    told = caught.value.told({"epsilons": "--eps"})
    assert "; --eps: " in told
    assert told.startswith("rounds: ")
    assert str(caught.value.inside("sweep")).startswith("sweep.rounds: ")
    assert "; --eps: " in caught.value.inside("sweep").told({"sweep.epsilons": "--eps"})
