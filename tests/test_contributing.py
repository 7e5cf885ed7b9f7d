"""The example in CONTRIBUTING.md is a whole attack."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from marlrobust import registry
from marlrobust.attacks import ATTACKS, Attack, Threat
from marlrobust.games.game import Decisions
from marlrobust.parameters import build
from marlrobust.policies.mean_field import MeanFieldPolicy

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


def test_the_example_adds_an_attack_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(example.splitlines()) <= 40
    (tmp_path / "second.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("second", "second:Second", "marlrobust.attacks")
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints([point]))
    fresh = registry.Registry[type[Attack]]("attack", "marlrobust.attacks", {}, base=ATTACKS.base)
    attack = build("attack", "second", fresh["second"], {"steps": "20"}, threat=Threat(epsilon=0.3))
    assert "second" not in ATTACKS._entries

    torch.manual_seed(0)
    policy = MeanFieldPolicy(40, 5, hidden=16, embedding=4)
    decisions = Decisions.of(torch.rand(50, 40), torch.full((50, 5), 0.2))
    with torch.no_grad():
        second = policy.logits(decisions).topk(2, dim=1).indices[:, 1]
        moved = policy.logits(decisions.showing(attack.perturb(policy, decisions, torch.Generator()))).argmax(1)
    assert (moved == second).float().mean() > 0.8
