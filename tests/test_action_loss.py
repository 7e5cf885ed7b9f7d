"""The action loss in a loop of one's own: the example falls without it, stands with it, and pays for it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

import marlrobust
from marlrobust.defenses.losses import Defended, cross_entropy
from marlrobust.games.game import Decisions
from marlrobust.policies.adapters import as_policy

EXAMPLE = Path(__file__).parent.parent / "examples" / "action_loss.py"


def test_the_example_stands_with_it_and_falls_without(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = re.findall(r"(\w+) *: reward ([\d.]+), under attack ([\d.]+)", capsys.readouterr().out)
    (clean, attacked), (defended, defended_attacked) = ((float(a), float(b)) for _, a, b in printed)
    assert clean > 0.98
    assert attacked < 0.1
    assert defended_attacked > 0.85
    assert defended < clean  # what it costs: the faint signs are right more often


def test_it_is_the_cross_entropy_to_the_clean_action_on_what_the_attack_shows() -> None:
    """For any network, and with a gradient for its weights."""
    torch.manual_seed(0)
    network, states = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), torch.rand(40, 6)
    attack = marlrobust.attack("pgd", epsilon=0.2, steps=5)
    logits = network(states)
    rng = torch.Generator().manual_seed(0)
    found = cross_entropy(Defended(as_policy(network), Decisions.of(states), logits, epsilon=0.2, steps=5, rng=rng))
    shown = attack.perturb(network, states, torch.Generator().manual_seed(0))
    expected = nn.functional.cross_entropy(network(shown), logits.argmax(1), reduction="none")
    torch.testing.assert_close(found.loss, expected)
    assert found.flipped == pytest.approx((network(shown).argmax(1) != logits.argmax(1)).float().mean().item())
    assert (found.loss > nn.functional.cross_entropy(logits, logits.argmax(1), reduction="none")).all()
    found.loss.mean().backward()  # type: ignore[no-untyped-call]
    first = next(network.parameters())
    assert first.grad is not None
    assert first.grad.abs().max() > 0
