"""How a training comes about: settings from layers, the device, and what is stored in its folder already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from marlrobust.config import dump, load, resolve
from marlrobust.devices import checked_device
from marlrobust.errors import UserError
from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.pursuit import Pursuit
from marlrobust.training.run import Training, prepare
from marlrobust.training.settings import AdversarySettings, TrainSettings, train_settings
from tests.conftest import PURSUIT, TINY, settings, train


def begin(runs: Path, **options: Any) -> Training:
    return prepare(settings(method="mfac"), runs=runs, **options)


def test_later_layers_win_over_a_scenarios_presets() -> None:
    made = train_settings({"gamma": 0.9, "game": {"map_size": 20}}, {"scenario": "pursuit", "seed": 3})
    assert isinstance(made, TrainSettings)
    assert (made.gamma, made.seed, made.normal_rounds, made.past_share) == (0.9, 3, 160, 1.0)
    assert made.game == Pursuit(map_size=20)
    short = train_settings({}, {"scenario": "pursuit"}, short=True)
    assert isinstance(short, TrainSettings)
    assert (short.normal_rounds, short.past_share, short.robust_learning_rate) == (40, 0.0, 1e-4)
    assert train_settings({}, {}).game == Battle(max_steps=200)


def test_naming_whom_to_train_against_makes_an_adversary() -> None:
    """With the presets that every training has, and none of those that are made for teams."""
    made = train_settings({"against": "zoo:mfac"}, {"scenario": "pursuit"})
    assert isinstance(made, AdversarySettings)
    assert (made.gamma, made.parallel_rounds, made.attack_steps) == (0.95, 4, 10)
    assert (made.rounds, made.first_entropy, made.entropy, made.replay_ratio) == (240, 0.05, 0.01, 12.0)
    assert train_settings({}, {"against": "mfac"}, short=True).game == Battle(max_steps=200)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"against": "mfac", "method": "romfac"}, "the training of an adversary takes no --method"),
        ({"opponent": "a2c"}, "takes no --opponent: leave it out .--against NAME trains an adversary"),
        ({"scenario": "batle"}, "did you mean 'battle'"),
        ({"scenario": 5}, "scenario: input should be a valid string"),
        ({"game": {"map_size": 3}}, r"game\.map_size: .* greater than or equal to 12"),
        ({"game": {"prey": 3}}, r"game\.prey: .* not permitted"),
        ({"game": 5}, "game: the game's settings are a table"),
        ({"seed": -1}, "seed: "),
        ({"normal_rounds": 10**12}, "normal_rounds: "),
        ({"hidden": 10**9}, "hidden: "),
        ({"against": 5}, "against: input should be a valid string"),
    ],
)
def test_settings_that_do_not_fit_are_named(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        train_settings({}, asked)


@pytest.mark.parametrize("kind", [TrainSettings, AdversarySettings])
def test_every_setting_says_what_it_is(kind: type[TrainSettings]) -> None:
    """A description is the help of the command line."""
    assert [name for name, field in kind.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_settings_come_back_from_their_file(tmp_path: Path) -> None:
    for made in (
        settings(scenario="pursuit", game=PURSUIT),
        resolve(AdversarySettings, {"against": "mfac", "game": {"kill_reward": 4.0}}),
    ):
        path = tmp_path / "config.yaml"
        path.write_text(dump(made))
        assert resolve(type(made), load(path)) == made
        assert load(path)["game"] == made.game.model_dump()


def test_a_device_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert checked_device("cpu") == torch.device("cpu")
    for name in ("cuda:99", "gpu", "meta", ""):
        with pytest.raises(UserError, match=r"cannot be used here .*: give --device cpu"):
            checked_device(name)
    with pytest.raises(UserError, match="give --device cpu"):
        prepare(settings(device="cuda:99"), runs=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_folder_is_begun_once(tmp_path: Path) -> None:
    first = begin(tmp_path)
    assert first.folder == tmp_path / "battle" / "mfac"
    assert first.name == "mfac battle"
    assert begin(tmp_path, out=tmp_path / "my own").again.endswith("--resume")
    assert "'" in begin(tmp_path, out=tmp_path / "my own", resume=True).again  # a shell must read it as one name
    first.trainer.run(stop=lambda: first.trainer.iteration >= 1)
    with pytest.raises(UserError, match="holds a training already: give --resume to go on, or --overwrite"):
        begin(tmp_path)
    with pytest.raises(UserError, match="trained with other settings: resume it with 'marlrobust train --config"):
        prepare(settings(method="mfac", gamma=0.9), runs=tmp_path, resume=True)
    with pytest.raises(UserError, match="trained with other settings"):
        prepare(resolve(AdversarySettings, {"against": "zoo:mfac"}), runs=tmp_path, out=first.folder, resume=True)
    assert begin(tmp_path, resume=True).trainer.rounds == 4


def test_a_training_that_is_done_is_not_begun_again(tmp_path: Path) -> None:
    begin(tmp_path).trainer.run()
    assert begin(tmp_path, resume=True).done
    assert not (tmp_path / "battle" / "mfac" / "state.safetensors").exists()


def test_overwriting_begins_anew_and_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    """A new one that ends before its first checkpoint must not pass for the old one, which was done."""
    train(tmp_path / "battle" / "mfac", method="mfac")
    again = prepare(settings(method="mfac", gamma=0.9), runs=tmp_path, overwrite=True)
    assert not again.done
    assert again.trainer.rounds == 0
    later = prepare(settings(method="mfac", gamma=0.9), runs=tmp_path, resume=True)
    assert not later.done
    assert [path.name for path in (tmp_path / "battle" / "mfac").iterdir()] == ["config.yaml"]


def test_an_adversary_has_a_folder_named_after_its_policy(runs: Path, tmp_path: Path) -> None:
    tiny = {k: v for k, v in TINY.items() if k in AdversarySettings.model_fields}
    victim = runs / "battle" / "mfac" / "soldier.safetensors"
    made = prepare(resolve(AdversarySettings, tiny, {"against": str(victim), "seed": 2}), runs=tmp_path)
    assert made.folder == tmp_path / "battle" / "adversary-mfac-seed2"
    assert made.name == "adversary-mfac battle"
    with pytest.raises(UserError, match="there is no policy 'nobody'"):
        prepare(resolve(AdversarySettings, tiny, {"against": "nobody"}), runs=tmp_path)
