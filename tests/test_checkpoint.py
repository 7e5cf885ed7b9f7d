"""What is stored comes back; what is not a policy is refused, each with its own sentence."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from marlrobust.errors import UserError
from marlrobust.files import file_hash
from marlrobust.games.game import Decisions
from marlrobust.policies.card import Card, load_card
from marlrobust.policies.checkpoint import load_policy, save_policy
from marlrobust.policies.mean_field import MeanFieldPolicy


@pytest.fixture
def stored(runs: Path, tmp_path: Path) -> Path:
    """A copy of a stored policy, to be spoilt."""
    shutil.copytree(runs / "battle" / "mfac", tmp_path / "mfac")
    return tmp_path / "mfac" / "soldier.safetensors"


def rewrite_card(path: Path, **changes: object) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def test_a_policy_comes_back_as_it_was(stored: Path) -> None:
    policy, card = load_policy(stored, scenario="battle", role="soldier")
    assert (card.method, card.rounds, card.seed, card.hash) == ("mfac", 16, 0, file_hash(stored))
    assert card.versions["magent2"]
    assert card.settings["gamma"] == 0.95
    for name, value in load_file(stored).items():
        assert torch.equal(policy.state_dict()[name], value)
    assert not policy.training


def test_a_pickle_is_refused_and_not_run(stored: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(trace), "w"))  # type: ignore[return-value]

    stored.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="is a pickle"):
        load_policy(stored, scenario="battle")
    torch.save({"weights": torch.zeros(2)}, stored)
    with pytest.raises(UserError, match="is a pickle"):
        load_policy(stored, scenario="battle")
    assert not trace.exists()


def test_a_wrong_shape_is_refused(stored: Path) -> None:
    save_file(MeanFieldPolicy(1217, 21, hidden=16, embedding=8).state_dict(), stored)
    rewrite_card(stored, hash=file_hash(stored))
    with pytest.raises(UserError, match="wrong shape"):
        load_policy(stored, scenario="battle")


def test_a_wrong_scenario_or_role_is_refused(stored: Path) -> None:
    with pytest.raises(UserError, match="trained on battle, not on pursuit"):
        load_policy(stored, scenario="pursuit")
    with pytest.raises(UserError, match="policy of a soldier, not of a prey"):
        load_policy(stored, scenario="battle", role="prey")


def test_a_damaged_file_is_refused(stored: Path) -> None:
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match="its hash is not"):
        load_policy(stored, scenario="battle")
    stored.write_bytes(whole[:200])
    rewrite_card(stored, hash=file_hash(stored))
    with pytest.raises(UserError, match="no readable safetensors"):
        load_policy(stored, scenario="battle")


def test_a_missing_or_damaged_card_is_said(stored: Path) -> None:
    card = stored.with_suffix(".json")
    card.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_policy(stored, scenario="battle")
    card.unlink()
    with pytest.raises(UserError, match="has no card"):
        load_policy(stored, scenario="battle")
    with pytest.raises(UserError, match="no policy at"):
        load_policy(stored.with_name("none.safetensors"), scenario="battle")


def test_without_a_critic_the_actor_is_kept(tmp_path: Path) -> None:
    policy = MeanFieldPolicy(30, 5, hidden=16, embedding=4)
    card = Card(
        method="adversary",
        scenario="battle",
        role="adversary",
        shape={},
        critic=False,
        seed=0,
        rounds=1,
        planned_rounds=1,
        seconds=0.0,
    )
    assert save_policy(tmp_path, policy, card) == load_card(tmp_path / "adversary.safetensors")
    path = tmp_path / "adversary.safetensors"
    assert all(name.startswith("actor.") for name in load_file(path))
    loaded, _ = load_policy(path, scenario="battle")
    decisions = Decisions.of(torch.randn(3, 30), torch.rand(3, 5))
    with torch.no_grad():
        assert torch.equal(loaded.logits(decisions), policy.logits(decisions))
        assert loaded.q_values(decisions).isnan().all()


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(stored: Path, odd: float) -> None:
    tensors = load_file(stored)
    tensors["actor.out.bias"][3] = odd
    save_file(tensors, stored)
    rewrite_card(stored, hash=file_hash(stored))
    with pytest.raises(UserError, match="not finite numbers"):
        load_policy(stored)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": {"hidden": 5}},
        {"shape": 5},
        {"rounds": "many"},
        {"seed": -1},
        {"network": "none"},
        {"odd": 1},
        {"results": {}},
    ],
)
def test_a_card_of_other_types_is_refused(stored: Path, changes: dict[str, object]) -> None:
    rewrite_card(stored, **changes)
    with pytest.raises(UserError):
        load_policy(stored)


def test_no_changed_card_ends_in_a_traceback(stored: Path) -> None:
    raw, rng = stored.with_suffix(".json").read_bytes(), random.Random(0)
    for _ in range(60):
        at = rng.randrange(len(raw))
        mutant = raw[:at] + bytes([rng.randrange(256)]) + raw[at + rng.choice([0, 1, 30]) :]
        stored.with_suffix(".json").write_bytes(mutant)
        with contextlib.suppress(UserError):
            load_policy(stored)
