"""Rounds that are added until a mean is known well enough: as many as that takes, the same ones whenever asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from marlrobust.config import resolve
from marlrobust.errors import UserError
from marlrobust.evaluation import play as playing
from marlrobust.evaluation.run import Evaluation, evaluate, list_results, stored_evaluation
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.evaluation.until import more_rounds, reach
from marlrobust.metrics import KILLS, WIN
from marlrobust.policies.library import Library
from marlrobust.reports.tables import of, table
from marlrobust.sequence import confidence_sequence
from tests.synthetic import ATTACKED, frame, row
from tests.test_cli import call, refused

SMALL: dict[str, Any] = {
    "scenario": "battle",
    "game": {"map_size": 16, "max_steps": 12},
    "rounds": 6,
    "agents": [0, 2],
    "policies": ["mfac"],
    "attacks": [{"name": "pgd", "parameters": {"steps": 1}}],
    "until": 0.15,
    "most_rounds": 50,
}


def sweep(runs: Path, out: Path | None, said: list[str] | None = None, **layer: Any) -> Evaluation:
    settings = resolve(SweepSettings, SMALL, layer)
    return evaluate(settings, Library(runs), out, command="test", say=(said if said is not None else []).append)


@pytest.fixture(scope="module")
def grown(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return sweep(runs, tmp_path_factory.mktemp("until"))


def test_rounds_are_added_until_the_interval_is_narrow_or_there_are_enough(grown: Evaluation) -> None:
    assert grown.rows["cell"].nunique() == 2
    for _, rows in grown.rows.groupby("cell"):
        assert rows["round"].tolist() == list(range(len(rows)))
        assert len(rows) == 50 or reach(rows, WIN, 0.15) <= 0.15
        assert len(rows) > 6
        assert rows.drop(columns=rows.columns[rows.nunique() > 1]).shape[1] > 20  # one cell's facts
    (note,) = [note for note in grown.record.notes if "Rounds were added" in note]
    assert "rounds per cell were needed" in note
    assert sum(batch.rounds for batch in grown.record.batches.values()) == len(grown.rows) - 12


def test_the_rounds_that_it_begins_with_are_those_without_it(runs: Path, grown: Evaluation, tmp_path: Path) -> None:
    plain = sweep(runs, tmp_path, until=None).rows
    first = grown.rows[grown.rows["round"] < 6].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain.sort_values(["cell", "round"]), first.sort_values(["cell", "round"]))


def test_what_is_stored_is_not_played_again(
    runs: Path, grown: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in a later batch, it goes on there, and ends with the same rows."""
    real, played = playing.play, list[str]()

    def interrupted(cell: Any, observers: Any = ()) -> Any:
        if len(played) == 3:
            raise KeyboardInterrupt
        played.append(cell.name)
        return real(cell, observers)

    monkeypatch.setattr("marlrobust.evaluation.processes.play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(runs, tmp_path)
    assert len(stored_evaluation(tmp_path, lambda sentence: None).rows) > 12
    monkeypatch.undo()
    rest = sweep(runs, tmp_path)
    assert rest.kept == 3
    pd.testing.assert_frame_equal(rest.rows, grown.rows)
    again = stored_evaluation(tmp_path, lambda sentence: None)
    pd.testing.assert_frame_equal(again.rows, grown.rows)
    assert again.record.notes == grown.record.notes
    assert f"{len(grown.rows)} rounds, complete" in dict(list_results(tmp_path.parent))[str(tmp_path)]


def test_one_that_asks_for_more_has_a_folder_of_its_own(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = {sweep(runs, None, agents=[0], until=until).folder for until in (None, 0.3, 0.25)}
    assert len(folders) == 3
    assert sweep(runs, None, agents=[0], until=0.3).folder in folders


def test_how_many_are_missing() -> None:
    won = frame(*(row(round=i, win=i % 10 != 0) for i in range(100)))
    assert more_rounds(won, WIN, 0.4, 1000) == 0
    assert 50 <= more_rounds(won, WIN, 0.02, 1000) <= 100
    assert more_rounds(won, WIN, 0.02, 110) == 10
    assert more_rounds(won, WIN, 0.02, 100) == 0


def test_a_number_with_a_range_of_its_own_is_weighed_by_it() -> None:
    rows = frame(*(row(round=i, kills=i % 65) for i in range(65)))
    low, high = confidence_sequence([i % 65 / 64 for i in range(65)], 0.1)
    assert reach(rows, KILLS, 0.1) == pytest.approx((high - low) / 2)


def test_tables_show_the_interval_that_holds_at_any_time() -> None:
    rows = frame(*(row(round=i, win=i % 4 != 0) for i in range(40)), *(row(**ATTACKED, round=i) for i in range(40)))
    low, high = confidence_sequence([float(i % 4 != 0) for i in range(40)], 0.1)
    line = of(rows, (), 0.1).lines.iloc[0]
    assert (line["win_low"], line["win_high"]) == pytest.approx((low, high))
    plain = table(rows).iloc[0]
    assert plain["win_high"] - plain["win_low"] < high - low  # Wilson's, which is to be looked at once


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"scenario": "pursuit", "game": {"map_size": 20, "predators": 4, "prey": 8}}, "of pursuit tells nothing"),
        ({"team": ["red", "blue"], "policies": ["mfac"]}, "of several teams together"),
    ],
)
def test_where_nothing_is_bounded_it_is_refused(runs: Path, tmp_path: Path, layer: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        sweep(runs, tmp_path / "out", **layer)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_it(runs: Path, tmp_path: Path) -> None:
    small = ["--game-option", "map_size=16", "--rounds", 4, "--steps", 8, "--attack", "fgsm", "--workers", 1]
    flags = ["--runs", runs, "--scenario", "battle", "--policy", "mfac", "--agents", 2, "--out", tmp_path / "out"]
    done = call("attack", *flags, *small, "--until", 0.4, "--most-rounds", 9)
    assert done.exit_code == 0, done.output
    assert "rounds per cell were needed" in done.output
    refused(call("attack", *flags, *small, "--until", 0.7), "--until: ", "less than 0.5")
