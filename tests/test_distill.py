"""A certified student does what its teacher does, is proven where its teacher is not, and repeats."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from marlrobust.cli import main
from marlrobust.config import dump, load
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.game import Decisions
from marlrobust.games.magent.battle import Battle
from marlrobust.games.magent.pursuit import Pursuit
from marlrobust.policies.bounds import certify
from marlrobust.policies.card import load_card
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.library import Library
from marlrobust.training.distill_settings import DistillSettings, distill_settings
from marlrobust.training.run import Training, prepare
from marlrobust.training.state import STATE
from tests.conftest import PURSUIT

SMALL: dict[str, Any] = {
    "game": {"map_size": 16, "max_steps": 30},  # 6 a side
    "teacher": "mfac",
    "parallel_rounds": 4,
    "rounds": 16,
    "hidden": 32,
    "embedding": 8,
    "batch_size": 64,
    "replay_size": 4000,
    "replay_ratio": 1.0,
}
MODULE = """
import torch
from torch import nn
torch.manual_seed(0)
network = nn.Linear(1217, 21)
network.weight.data *= 0
network.weight.data[:3, 1183:1186] = torch.diag(torch.tensor([8.0, 16, 32]))  # of an agent's identity, each 0 or 1
network.bias.data = 4.0 * (torch.arange(21) == 3)
class Gated(nn.Module):
    def initial_memory(self, n):
        return torch.zeros(n, 8)
    def step(self, states, memory):
        return states[:, :21], memory
gated = Gated()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of teachers, where one stands."""
    (tmp_path / "my_teachers.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_teachers", None)


def begin(runs: Path, folder: Path, *, resume: bool = False, **layer: Any) -> Training:
    small = {k: v for k, v in SMALL.items() if k not in layer}
    return prepare(distill_settings(small, layer), runs=runs, out=folder, resume=resume)


def weights(folder: Path) -> dict[str, Any]:
    policy, _ = load_policy(folder / "soldier.safetensors")
    return dict(policy.state_dict())


def test_it_repeats_and_resumes_to_the_same_weights(runs: Path, tmp_path: Path) -> None:
    whole = begin(runs, tmp_path / "whole")
    whole.trainer.run()
    parts = begin(runs, tmp_path / "parts")
    parts.trainer.run(stop=lambda: parts.trainer.iteration == 2)
    assert (tmp_path / "parts" / STATE).exists()
    begin(runs, tmp_path / "parts", resume=True).trainer.run()
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    logs = [(tmp_path / name / "train.csv").read_text().splitlines() for name in ("whole", "parts")]
    without_seconds = [[line.rsplit(",", 1)[0] for line in log] for log in logs]
    assert without_seconds[0] == without_seconds[1]
    assert len(logs[0]) == 1 + 4


def test_its_card_says_what_it_is(runs: Path, tmp_path: Path) -> None:
    begin(runs, tmp_path).trainer.run()
    card = load_card(tmp_path / "soldier.safetensors")
    teacher = load_card(runs / "battle" / "mfac" / "soldier.safetensors")
    assert (card.method, card.against, card.rounds, card.interrupted) == ("certified", "", 16, False)
    assert card.settings["teacher_hash"] == teacher.hash
    assert load(tmp_path / "config.yaml")["teacher_hash"] == teacher.hash


def states_of(policy: Any, opponent: Any) -> Decisions:
    """What a team sees in some rounds of its own."""
    seen: list[Decisions] = []

    class Watched:
        """The policy, which keeps what it is asked."""

        def logits(self, decisions: Decisions) -> torch.Tensor:
            seen.append(Decisions.of(decisions.dense.clone(), decisions.mean_actions.clone()))
            logits: torch.Tensor = policy.logits(decisions)
            return logits

    play_rounds(Battle(map_size=16, max_steps=30).make(4), Watched(), opponent, seed=5)
    return Decisions.joined([d for d in seen if len(d)])


def test_a_brought_teacher_gets_a_student_that_is_proven_and_agrees(runs: Path, mine: Path) -> None:
    """Without the interval loss it agrees as well, and next to nothing of it is proven."""
    opponent, _ = load_policy(runs / "battle" / "a2c" / "soldier.safetensors")
    agreed, proven = {}, {}
    for weight in (0.0, 0.5):
        how: dict[str, Any] = {"teacher": "my_teachers:network", "weight": weight, "rounds": 48, "epsilon": 0.03}
        begin(runs, mine / f"w{weight}", **how, sharpness=1.0, learning_rate=3e-3, replay_ratio=2.0).trainer.run()
        student, card = load_policy(mine / f"w{weight}" / "soldier.safetensors")
        assert card.settings["teacher"] == "my_teachers:network"
        decisions = states_of(student, opponent)
        teacher = sys.modules["my_teachers"].network
        with torch.no_grad():
            same = student.logits(decisions).argmax(1) == teacher(decisions.dense).argmax(1)
        agreed[weight] = same.float().mean().item()
        proven[weight] = certify(student, decisions.dense, decisions.mean_actions, 0.03).certified.float().mean().item()
    assert min(agreed.values()) > 0.85
    assert proven[0.0] < 0.3
    assert proven[0.5] > 0.8


def test_the_critic_is_the_teachers_or_learned(runs: Path, mine: Path) -> None:
    """One of another width, or none, cannot be taken over."""
    teacher, _ = load_policy(runs / "battle" / "mfac" / "soldier.safetensors")
    begin(runs, mine / "same").trainer.run()
    same, _ = load_policy(mine / "same" / "soldier.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(same.critic.parameters(), teacher.critic.parameters(), strict=True))
    for how in ({"hidden": 16}, {"teacher": "my_teachers:network"}):
        learning = begin(runs, mine / "learned", **how)
        before = [p.clone() for p in learning.trainer.students["soldier"].learner.policy.critic.parameters()]
        learning.trainer.run()
        after, card = load_policy(mine / "learned" / "soldier.safetensors")
        assert card.critic
        assert not any(torch.equal(a, b) for a, b in zip(after.critic.parameters(), before, strict=True))
        (mine / "learned" / "config.yaml").unlink()


def test_its_teacher_plays_less_and_less(runs: Path, tmp_path: Path) -> None:
    cast = begin(runs, tmp_path, teacher_share=0.5, rounds=32).trainer.cast
    taught = [cast.matchup(i).players[0].taught for i in range(8)]  # type: ignore[attr-defined]
    assert taught == [4, 3, 2, 1, 0, 0, 0, 0]
    phases = [cast.matchup(i).phase for i in range(8)]
    assert [p.epsilon for p in phases] == sorted(p.epsilon for p in phases)
    assert (phases[0].mu, phases[-1].mu, phases[-1].epsilon) == (0.0, cast.settings.weight, cast.settings.epsilon)  # type: ignore[attr-defined]
    assert [p.learning_rate for p in phases] == sorted((p.learning_rate for p in phases), reverse=True)


@pytest.mark.parametrize("side", ["first", "second"])
def test_of_one_side_the_other_is_learned_in_its_mirror(side: str, runs: Path, tmp_path: Path) -> None:
    """What is drawn is a state that was seen with what the teacher said of it, or both in the mirror."""
    cast: Any = begin(runs, tmp_path, side=side).trainer.cast
    assert cast.matchup(0).swapped.tolist() == [side == "second"] * 4
    learner = cast.students["soldier"].learner
    cast.game.reset(np.arange(4), cast.matchup(0).swapped)
    seen = cast.game.observe(0)
    at = learner.see(seen)
    batch = learner.replay.batch(np.repeat(at, 10))
    which = np.tile([0, 1], len(batch.actions) // 2)
    plain = batch.states.dense().clone()
    turned = learner.replay.mirrors.turn(batch, which)
    (mirror,) = (m for m in Battle(map_size=16).symmetries("soldier")[:1])  # left to right
    assert np.array_equal(turned.states.dense()[0::2].numpy(), plain[0::2].numpy())
    np.testing.assert_allclose(turned.states.dense()[1::2].numpy(), mirror.of_states(plain[1::2].numpy()))
    said = learner.asked(seen).detach()[np.repeat(np.arange(len(at)), 10)]
    assert torch.equal(turned.taught[0::2], said[0::2])
    assert torch.equal(turned.taught[1::2][:, mirror.actions], said[1::2])


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"side": "first", "scenario": "pursuit", "game": PURSUIT}, "no mirror in which one side looks like the other"),
        ({"teacher": "my_teachers:gated"}, "remembers"),
        ({"teacher": "mfacc"}, "there is no policy 'mfacc'"),
        ({"teacher_hash": "0" * 64}, "has changed since this training began"),
        ({"opponent": "nobody"}, "there is no opponent 'nobody'"),
    ],
)
def test_what_cannot_be_is_said(asked: dict[str, Any], sentence: str, runs: Path, mine: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        begin(runs, mine / "out", **asked)
    assert not (mine / "out").exists()


def test_settings_say_what_they_are_and_a_bundled_teacher_its_game(tmp_path: Path) -> None:
    assert [k for k, f in DistillSettings.model_fields.items() if not (f.description or "").endswith(".")] == []
    made = distill_settings({}, {"teacher": "zoo:pursuit/mfac"})
    assert (made.game, made.certainty, made.leeway) == (Pursuit(), 3.0, 0.3)
    assert distill_settings({"certainty": 2.0}, {"teacher": "zoo:pursuit/mfac"}).certainty == 2.0
    assert distill_settings({}, {"teacher": "zoo:romfac1"}).game == Battle()
    (tmp_path / "config.yaml").write_text(dump(made))
    assert distill_settings(load(tmp_path / "config.yaml"), {}) == made


def test_the_command_makes_a_policy_that_can_be_tested(runs: Path, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(dump(distill_settings(SMALL, {"rounds": 4})))
    out = runs / "battle" / "certified-mfac"
    arguments = ["distill", "--config", str(config), "--from", "mfac", "--runs", str(runs), "--out", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "trained certified-mfac battle for 4 rounds" in done.output
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2
    assert "--resume to go on" in again.output
    assert "trained to its end already" in CliRunner().invoke(main, [*arguments, "--resume"]).output
    found = Library(runs).policy("certified-mfac", "battle", "soldier")
    assert found.card.method == "certified"
    for file in out.iterdir():
        file.unlink()
    out.rmdir()  # other tests look at all policies of this folder
