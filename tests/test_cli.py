"""The command line, as a user types it: what works, and what a mistake gets."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from marlrobust.cli import COMMANDS, main
from marlrobust.evaluation.settings import SweepSettings
from marlrobust.rows import LEADING
from tests.conftest import TINY


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(result: Result, *words: str) -> None:
    """A sentence, exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output


@pytest.fixture
def attack(runs: Path, tmp_path: Path) -> list[object]:
    small = ["--game-option", "map_size=16", "--rounds", 2, "--steps", 8, "--attack", "pgd:steps=2", "--workers", 1]
    return ["attack", "--runs", runs, "--scenario", "battle", "--out", tmp_path / "out", *small]


def test_every_command_has_help_with_an_example() -> None:
    assert "marlrobust attack" in call("--help").output
    for command in COMMANDS:
        result = call(command, "--help")
        assert result.exit_code == 0
        assert f"marlrobust {command}" in result.output
        assert "Undefined" not in result.output


def test_help_and_defaults_come_from_the_settings() -> None:
    text = " ".join(call("attack", "--help").output.split())
    for name, field in SweepSettings.model_fields.items():
        if name not in ("game",):
            assert (field.description or "").split("  [")[0] in text, name
    assert "[default: 0,8,16,32,48,64]" in text
    assert "[default: 0.075]" in text


def test_train_writes_a_policy_a_log_and_its_settings(tmp_path: Path) -> None:
    settings = tmp_path / "tiny.yaml"
    settings.write_text(yaml.safe_dump(TINY))
    arguments = ["train", "--method", "mfac", "--config", settings, "--runs", tmp_path / "runs", "--seed", 3]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "runs" / "battle" / "mfac-seed3"
    assert {p.name for p in folder.iterdir()} >= {
        "soldier.safetensors",
        "soldier.json",
        "train.csv",
        "config.yaml",
    }
    with open(folder / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert set(rows[0]) >= {
        "reward",
        "kills",
        "critic_loss",
        "entropy",
        "mu",
        "epsilon",
        "flip_rate",
        "seconds",
    }
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert (stored["seed"], stored["hidden"], stored["game"]["map_size"]) == (3, 32, 16)
    refused(call(*arguments), "--resume", "--overwrite")
    before = (folder / "soldier.safetensors").read_bytes()
    assert call(*arguments, "--resume").exit_code == 0
    assert (folder / "soldier.safetensors").read_bytes() == before
    refused(call(*arguments, "--resume", "--loop-rounds", 99), "other settings")
    assert call(*arguments, "--overwrite").exit_code == 0


def test_attack_writes_rows_tables_figures_and_a_report(attack: list[object], tmp_path: Path) -> None:
    result = call(*attack, "--agents", "0,3", "--eps", "0.05")
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    for name in ("rows.csv", "table.csv", "figure4.png", "figure4.svg", "report.html", "config.yaml"):
        assert name in result.output or name == "config.yaml"
        assert (out / name).stat().st_size > 0
    with open(out / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(r["method"], r["attacked_agents"]) for r in rows} == {
        (m, k) for m in ("mfac", "romfac") for k in ("0", "3")
    }
    assert list(rows[0])[: len(LEADING)] == list(LEADING)
    html = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert call("report", out).exit_code == 0
    assert (out / "report.html").read_text() == html


def test_a_count_above_the_team_is_the_whole_team_and_said(attack: list[object]) -> None:
    result = call(*attack, "--agents", "64", "--policy", "mfac")
    assert result.exit_code == 0
    assert "a count of 64 means the whole team" in result.output


def test_a_fraction_is_a_radius_and_text_is_read_as_its_type(attack: list[object], tmp_path: Path) -> None:
    flags = ["--agents", 2, "--policy", "mfac", "--eps", "8/255", "--attack", "pgd:step_size=1e-3,steps=2"]
    assert call(*attack[:-4], *flags, "--workers", 1).exit_code == 0
    with open(tmp_path / "out" / "rows.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["epsilon"]) == 8 / 255
    assert '"step_size": 0.001' in row["attack_parameters"]


def test_a_mistyped_name_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """Torch, the engine and the plots take seconds."""
    heavy = "torch", "magent2", "numba", "matplotlib"
    code = (
        "import sys\nfrom marlrobust.cli import main\n"
        f"try: main({{}})\nexcept SystemExit as end: print(end.code, [m for m in {heavy} if m in sys.modules])"
    )
    for typed in (["attack", "--attack", "pdg"], ["attack", "--policy", "nobody"], ["train", "--method", "romfax"],
                  ["--help"], ["attack", "--help"], ["list", "policies"]):  # fmt: skip
        command = [sys.executable, "-c", code.format(typed)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
        assert done.stdout.splitlines()[-1] in ("2 []", "0 []"), (typed, done.stdout)


def test_output_that_nobody_reads_ends_in_silence(runs: Path) -> None:
    command = f"{sys.executable} -m marlrobust list attacks | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_one_bad_card_does_not_end_a_list(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    (tmp_path / "runs" / "battle" / "mfac" / "soldier.json").write_text('{"method": 5}')
    result = call("list", "policies", "--runs", tmp_path / "runs")
    assert result.exit_code == 0
    assert "battle/mfac" in result.output
    assert "damaged" in result.output
    assert "battle/romfac" in result.output


def test_results_are_listed(attack: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there are no results yet" in call("list", "results").output
    own = [a for a in attack if a not in ("--out", tmp_path / "out")]
    done = call(*own, "--agents", "0", "--policy", "mfac")
    assert done.exit_code == 0, done.output
    listed = call("list", "results").output
    assert "complete" in listed
    assert "results/" in listed
    assert len(list((tmp_path / "results").iterdir())) == 1
    assert call(*own, "--agents", "0", "--policy", "mfac").exit_code == 0
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_a_certification_prints_json_for_scripts(runs: Path, tmp_path: Path) -> None:
    small = ["--game-option", "map_size=16", "--rounds", 1, "--steps", 6, "--decisions", 5, "--attack", "fgsm"]
    flags = ["--runs", runs, "--scenario", "battle", "--policy", "mfac", "--eps", "0.01,0.1", "--out", tmp_path / "out"]
    done = call("certify", *flags, *small, "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert [line["epsilon"] for line in content["decisions"]] == [0.01, 0.1]
    assert all(Path(file).exists() for file in content["files"])


def test_a_config_file_gives_settings_and_flags_win(attack: list[object], tmp_path: Path) -> None:
    settings = tmp_path / "sweep.yaml"
    settings.write_text("agents: [2]\nepsilons: [0.2]\npolicies: [mfac]\n")
    assert call(*attack, "--config", settings, "--eps", "0.1").exit_code == 0
    stored = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (stored["agents"], stored["epsilons"], stored["policies"]) == ([2], [0.1], ["mfac"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--attack", "pdg"], ["unknown attack 'pdg'", "did you mean 'pgd'"]),
        (["--victims", "wurst"], ["unknown victims 'wurst'", "did you mean 'worst'", "list victims"]),
        (["--victims", "worst:blocks=2"], ["victims 'worst' has no parameter 'blocks'", "block, search_rounds"]),
        (["--victims", "worst:block"], ["--victims: ", "NAME:PARAMETER=VALUE"]),
        (["--victims", "critical:when=never"], ["when", "'step' or 'start'"]),
        (["--budget", "0"], ["--budget: ", "equal to 1"]),
        (["--attack", "pgd:stepz=3"], ["no parameter 'stepz'", "steps"]),
        (["--attack", "pgd:steps=0"], ["steps"]),
        (["--attack", "pgd:steps=2.5"], ["steps", "integer", "'2.5'"]),
        (["--attack", "pgd:restarts=1.5"], ["restarts", "integer"]),
        (["--attack", "pgd:steps=[1"], ["steps", "integer"]),
        (["--attack", "pgd:start=nowhere"], ["start", "'state' or 'uniform'"]),
        (["--attack", "pgd:steps"], ["NAME:PARAMETER=VALUE"]),
        (["--attack", "fgsm:steps=3"], ["no parameter 'steps'"]),
        (["--eps", "-0.1"], ["--eps: epsilon"]),
        (["--eps", "nan"], ["--eps: "]),
        (["--eps", "inf"], ["--eps: "]),
        (["--eps", "much"], ["--eps: it takes numbers"]),
        (["--eps", "0,075"], ["--eps: ", "comma", "0.075"]),
        (["--eps", "8/0"], ["--eps: it takes numbers"]),
        (["--agents", "-1"], ["--agents: a count of attacked agents"]),
        (["--agents", "0,many"], ["--agents: ", "integer"]),
        (["--steps", "0"], ["--steps: ", "equal to 1"]),
        (["--policy", "mfax"], ["no policy 'mfax'"]),
        (["--opponent", "a3c"], ["no opponent 'a3c'", "marlrobust train --method a3c"]),
        (["--scenario", "battel"], ["unknown scenario 'battel'", "did you mean 'battle'"]),
        (["--rounds", "0"], ["--rounds: ", "equal to 1"]),
        (["--rounds", "99999999999"], ["rounds", "1000000"]),
        (["--device", "cuda:77"], ["cuda:77", "--device cpu"]),
        (["--game-option", "hills=3"], ["--game-option hills: "]),
        (["--game-option", "map_size=no"], ["--game-option map_size: ", "integer", "'no'"]),
        (["--game-option", "hills"], ["NAME=VALUE"]),
    ],
)
def test_a_mistake_gets_a_sentence_and_nothing_is_written(
    attack: list[object], tmp_path: Path, flags: list[str], words: list[str]
) -> None:
    refused(call(*attack, *flags), *words)
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_a_file_is_named_by_its_field(attack: list[object], tmp_path: Path) -> None:
    """Nobody typed a flag."""
    settings = tmp_path / "sweep.yaml"
    settings.write_text("epsilons: [0.1, -1]\nrounds: 0\n")
    refused(call(*attack[:-2], "--config", settings, "--agents", 2), "epsilons: epsilon is a radius")
    settings.write_text("epsilons: [0.1, much]\n")
    refused(call(*attack, "--config", settings), "epsilons.1: it takes numbers")


def test_an_empty_runs_folder_says_how_to_train(tmp_path: Path) -> None:
    refused(call("attack", "--runs", tmp_path, "--out", tmp_path / "out"), "no policies", "marlrobust train")
    refused(call("attack", "--runs", tmp_path, "--attack", "pdg"), "did you mean 'pgd'")


def test_a_pickle_is_no_policy(attack: list[object], tmp_path: Path) -> None:
    for name, words in (("policy.pkl", "no .safetensors file"), ("policy.pt", "can run any code")):
        path = tmp_path / name
        path.write_bytes(b"\x80\x04")
        refused(call(*attack, "--policy", path), words)


def test_a_policy_of_another_scenario_is_refused(attack: list[object], runs: Path) -> None:
    path = runs / "pursuit" / "mfac" / "predator.safetensors"
    refused(call(*attack, "--policy", path), "pursuit", "battle")


def test_train_refuses_what_is_not_there(tmp_path: Path) -> None:
    refused(call("train", "--method", "rmfac", "--runs", tmp_path), "did you mean 'romfac'")
    settings = tmp_path / "odd.yaml"
    settings.write_text("gama: 0.9\n")
    refused(call("train", "--config", settings, "--runs", tmp_path / "runs"), "gama")
    settings.write_text("gamma: 1.5\n")
    refused(call("train", "--config", settings, "--runs", tmp_path / "runs"), "gamma")
    settings.write_text("game: {kil_reward: 1}\n")
    refused(call("train", "--config", settings, "--runs", tmp_path / "runs"), "game.kil_reward: ")
    refused(call("train", "--game-option", "kil_reward=1", "--runs", tmp_path / "runs"), "--game-option kil_reward: ")
    refused(call("train", "--loop-rounds", 0, "--runs", tmp_path / "runs"), "--loop-rounds: ")
    refused(call("train", "--config", tmp_path / "none.yaml"), "none.yaml")
    assert not (tmp_path / "runs").exists()


def test_report_of_a_folder_without_rows(tmp_path: Path) -> None:
    refused(call("report", tmp_path), "holds no evaluation")


def test_lists(runs: Path) -> None:
    assert {"mfac", "sa-mfac", "sa-mfac3", "romfac1", "romfac", "a2c"} <= {
        line.split()[0] for line in call("list", "methods").output.splitlines()
    }
    assert {"random", "fgsm", "pgd"} <= {line.split()[0] for line in call("list", "attacks").output.splitlines()}
    assert {"random", "first", "nearest", "critical", "worst"} == {
        line.split()[0] for line in call("list", "victims").output.splitlines()
    }
    games = call("list", "games").output
    assert games == call("list", "scenarios").output
    assert "win (0 to 1, higher is better)" in next(line for line in games.splitlines() if line.startswith("battle "))
    assert "kills (0 to opponents, higher is better)" in games
    assert {"name", "summary"} == set(json.loads(call("list", "games", "--json").output)[0])
    assert "pursuit/mfac" in call("list", "policies", "--runs", runs).output
    refused(call("list", "polices"), "policies")


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    settings = tmp_path / "tiny.yaml"
    settings.write_text(yaml.safe_dump({**TINY, "loop_rounds": 4000}))
    folder = tmp_path / "mfac"
    command = [sys.executable, "-m", "marlrobust", "train", "--method", "mfac", "--config", settings, "--out", folder]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = folder / "train.csv"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--out {folder} --resume" in output
    assert (folder / "soldier.safetensors").exists()
    before = len(log.read_text().splitlines())

    again = output.splitlines()[-1].partition("go on with: ")[2].split()
    resumed = subprocess.Popen([sys.executable, "-m", *again], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(log.read_text().splitlines()) > before)
    resumed.send_signal(signal.SIGINT)
    assert resumed.wait(timeout=60) == 130
    iterations = [int(line.split(",")[0]) for line in log.read_text().splitlines()[1:]]
    assert iterations == list(range(1, len(iterations) + 1))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_reproduce_trains_attacks_and_reports(tmp_path: Path) -> None:
    """The whole experiment, tiny: five methods and the opponent, each in a process of its own."""
    settings = tmp_path / "tiny.yaml"
    sweep = {"game": {"map_size": 16, "max_steps": 6}, "agents": [0, 3], "attacks": [{"name": "fgsm"}]}
    # with one loop alone, romfac1 would be romfac, weight by weight
    settings.write_text(yaml.safe_dump({"train": {**TINY, "loops": 2}, "sweep": sweep}))
    flags = ["--scenario", "battle", "--rounds", 2, "--config", settings, "--runs", tmp_path / "runs"]
    arguments = ["reproduce", *flags, "--out", tmp_path / "out", "--workers", 2]
    assert call(*arguments, "--train").exit_code == 0
    with open(tmp_path / "out" / "table.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["method"] for row in table} == {"mfac", "sa-mfac", "sa-mfac3", "romfac1", "romfac"}
    assert {row["attacked_agents"] for row in table} == {"0", "3"}
