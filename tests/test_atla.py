"""ATLA: a team and its adversary learn in turns, from the same start as all methods."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from marlrobust.attacks.learned import ADVERSARY
from marlrobust.policies.library import Library
from marlrobust.training.trainer import Trainer
from tests.conftest import settings, train, trainer


def weights(it: Trainer, name: str) -> list[Tensor]:
    return [p.detach().clone() for p in it.students[name].learner.policy.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_they_learn_in_turns_and_the_team_has_as_many_rounds_as_with_any_method(tmp_path: Path) -> None:
    it = trainer(tmp_path / "atla", method="atla")
    changed = []

    def watch(row: dict[str, float]) -> None:
        now = {name: weights(it, name) for name in ("soldier", ADVERSARY)}
        changed.append({name for name in now if before and not same(before[name], now[name])})
        before.update(now)

    before: dict[str, list[Tensor]] = {}
    it.run(report=watch)
    norm = settings().normal_rounds // 4
    assert it.total_rounds == 2 * trainer(tmp_path / "romfac").total_rounds - settings().normal_rounds
    assert all(batch <= {"soldier"} for batch in changed[1:norm])
    assert changed[norm:] == [{ADVERSARY}, {"soldier"}] * (len(changed[norm:]) // 2)


def test_the_team_learns_from_what_it_is_shown(tmp_path: Path) -> None:
    """In its turn some of its states in replay are off the game's, and none by more than epsilon."""
    it = trainer(tmp_path / "atla", method="atla")
    seen: list[tuple[Tensor, Tensor]] = []
    last = it.total_rounds // 4 - 1
    it.run(stop=lambda: it.iteration == last)
    matchup = it.cast.matchup(last)
    (show,) = matchup.shown.values()

    def watched(decisions):  # type: ignore[no-untyped-def]
        shown = show(decisions)
        seen.append((decisions.dense.clone(), shown.dense.clone()))
        return shown

    kept = it.students["soldier"].learner.see
    with mock.patch.object(it.students["soldier"].learner, "see", side_effect=kept) as see:
        it.play(matchup._replace(shown={0: watched}))
    moved = torch.cat([(a - b).abs().amax(1) for a, b in seen])
    assert 0 < moved.max() <= matchup.phase.epsilon
    learned_from = [call.args[0].dense for call in see.call_args_list]
    assert all(any(torch.equal(shown, d) for d in learned_from) for _, shown in seen if len(shown))


def test_a_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """From its own checkpoint, and from the start of another method."""
    train(tmp_path / "whole" / "mfac", method="mfac")
    whole = train(tmp_path / "whole" / "atla", method="atla")
    first = trainer(tmp_path / "cut" / "atla", method="atla")
    first.run(stop=lambda: first.iteration == 5)
    cut = train(tmp_path / "cut" / "atla", method="atla")
    assert same(weights(whole, "soldier"), weights(cut, "soldier"))
    assert same(weights(whole, ADVERSARY), weights(cut, ADVERSARY))


def test_the_stored_team_can_be_found_and_played(tmp_path: Path) -> None:
    train(tmp_path / "battle" / "atla", method="atla")
    assert Library(tmp_path).policy("atla", "battle", "soldier").card.method == "atla"
