"""Records of policies, and the leaderboard: what was measured, in what order, and whether it comes out again."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.errors import UserError
from marlrobust.reports import board
from marlrobust.reports.standings import Estimate, Submission, differences


@pytest.fixture(scope="module")
def records(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of mfac and romfac of a tiny battle, both under pgd and random."""
    folder = tmp_path_factory.mktemp("board")
    arguments = ["attack", "--runs", str(runs), "--scenario", "battle", "--policy", "mfac", "--policy", "romfac"]
    arguments += ["--agents", "0,6", "--rounds", "10", "--attack", "pgd:steps=2", "--attack", "random", "--seed", "3"]
    arguments += ["--game-option", "map_size=16", "--steps", "30", "--workers", "1", "--no-replays"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(folder / "results")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["submit", str(folder / "results"), "--out", str(folder / "records")])
    assert done.exit_code == 0, done.output
    assert sorted(Path(line).name for line in done.output.split()) == [
        "battle-mfac.record.json",
        "battle-romfac.record.json",
    ]
    return folder


def test_a_record_tells_what_the_rows_say(records: Path) -> None:
    standing = Submission.read(records / "records" / "battle-mfac.record.json").standing
    rows = pd.read_csv(records / "results" / "rows.csv")
    own = rows[rows["policy"] == "mfac"]
    clean = own[own["attacked_agents"] == 0]
    assert standing.clean["reward"].mean == pytest.approx(clean["reward"].mean())
    assert standing.rounds == 10
    # the worst attack is chosen on one half of the rounds, and told of the other
    told = own[(own["attacked_agents"] == 6) & (own["round"] % 2 == 1)]
    means = told.groupby("attack")["reward"].mean()
    assert min(abs(means - standing.worst["reward"].mean)) < 1e-9
    assert standing.over == "rounds"
    assert len(standing.attacks) == 2
    assert standing.runs[0].seconds > 0


def test_the_board_places_by_the_worst_and_shares_places_of_those_that_cannot_be_told_apart(records: Path) -> None:
    one = Submission.read(records / "records" / "battle-mfac.record.json")

    def having(name: str, low: float, high: float) -> Submission:
        worst = {"reward": Estimate(mean=(low + high) / 2, low=low, high=high)}
        standing = one.standing.model_copy(update={"name": name, "worst": worst, "rows": name})
        return one.model_copy(update={"standing": standing})

    made = [having("low", 0, 1), having("high", 10, 12), having("near", 9, 10.5), having("mid", 3, 4)]
    lines = board.board(made)
    assert lines.set_index("policy")["place"].to_dict() == {"high": 1, "near": 1, "mid": 3, "low": 4}
    assert list(lines["policy"]) == ["high", "near", "mid", "low"]


def test_records_of_other_protocols_stand_in_tables_of_their_own(records: Path, tmp_path: Path) -> None:
    one = Submission.read(records / "records" / "battle-mfac.record.json")
    protocol = {**one.standing.protocol, "epsilon": 0.5}
    other = one.model_copy(update={"standing": one.standing.model_copy(update={"protocol": protocol, "rows": "x"})})
    page, table = board.write_board([one, other], tmp_path)
    assert page.read_text().count("<table>") == 2
    assert pd.read_csv(table)["place"].tolist() == [1, 1]


def test_a_record_is_checked_by_playing_it_again(records: Path, runs: Path) -> None:
    file = records / "records" / "battle-mfac.record.json"
    done = CliRunner().invoke(main, ["leaderboard", "--check", str(file), "--runs", str(runs)])
    assert (done.exit_code, done.stdout.strip()) == (0, f"{file}: holds")
    record = Submission.read(file)
    better = {**record.standing.worst, "reward": Estimate(mean=900.0, low=899.0, high=901.0)}
    standing = record.standing.model_copy(update={"worst": better})
    boasting = record.model_copy(update={"standing": standing}).write(records / "boasting")
    done = CliRunner().invoke(main, ["leaderboard", "--check", str(boasting), "--runs", str(runs)])
    assert done.exit_code == 1
    assert "does not hold: reward (worst) is" in done.stdout
    assert "outside of what the record tells: 900 [899, 901]" in done.stdout


def test_a_record_of_other_policies_does_not_hold(records: Path) -> None:
    mfac, romfac = (Submission.read(records / "records" / f"battle-{n}.record.json") for n in ("mfac", "romfac"))
    assert differences(mfac.standing, mfac.standing) == []
    assert "the policies are other files than those of the record" in differences(mfac.standing, romfac.standing)


def test_a_record_that_was_changed_by_hand_is_not_read(records: Path, tmp_path: Path) -> None:
    file = records / "records" / "battle-mfac.record.json"
    content = json.loads(file.read_text())
    content["standing"]["proven"] = 1.0
    (tmp_path / file.name).write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged, or was changed by hand"):
        Submission.read(tmp_path / file.name)


def test_mistakes_are_told_in_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["leaderboard", str(tmp_path)])
    assert done.exit_code != 0
    assert "no records are there: write some with 'marlrobust submit FOLDER'" in str(done.output)
    done = CliRunner().invoke(main, ["submit", str(tmp_path)])
    assert "holds no evaluation" in str(done.output)


def test_the_page_shows_a_hostile_name_as_text(records: Path, tmp_path: Path) -> None:
    one = Submission.read(records / "records" / "battle-mfac.record.json")
    standing = one.standing.model_copy(update={"name": "<script>alert(1)</script>"})
    page, _ = board.write_board([one.model_copy(update={"standing": standing})], tmp_path)
    assert "<script" not in page.read_text()
