"""Probes: planted policies show what is wrong with them, an honest one shows nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack, Threat
from marlrobust.attacks.gradient import FGSM, PGD
from marlrobust.attacks.random import RandomNoise
from marlrobust.evaluation.probes import Sample, measure, together
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Decisions
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.streams import stream, torch_stream


class Planted:
    """An untrained policy whose logits are spoilt on purpose, by way of its states or after."""

    def __init__(
        self,
        spoil: Callable[[Tensor], Tensor] = lambda logits: logits,
        blur: Callable[[Tensor], Tensor] = lambda states: states,
    ) -> None:
        torch.manual_seed(0)
        self.policy, self.spoil, self.blur = MeanFieldPolicy(1217, 21, hidden=16, embedding=8), spoil, blur
        with torch.no_grad():
            self.policy.actor.out.weight *= 20  # decisions that differ

    def logits(self, decisions: Decisions) -> Tensor:
        return self.spoil(self.policy.actor(self.blur(decisions.dense), decisions.mean_actions))


PLANTED = {
    "honest": Planted(),
    "saturated": Planted(spoil=lambda logits: (logits / 0.01).softmax(1).clamp(1e-6, 1 - 1e-6).log()),
    "quantised": Planted(blur=lambda states: (states * 2).round() / 2),
    "noisy": Planted(spoil=lambda logits: logits + 0.1 * torch.randn_like(logits)),
    "probabilities": Planted(spoil=lambda logits: logits.softmax(1)),
}
DOUBTFUL = {
    "probe_noise": lambda share: share > 0,
    "probe_probabilities": lambda share: share > 0.9,
    "probe_zero_gradients": lambda share: share > 0.1,
    "probe_loss_rises": lambda share: share < 0.75,
}


def probed(name: str, attack: Attack) -> dict[str, float | None]:
    """What is measured with a planted policy in a small battle."""
    sample = Sample(stream(0, "checks"), 64)
    game = Battle(map_size=16, max_steps=8).make(4)
    policy, adversary = PLANTED[name], Adversary(attack, 6)
    play_rounds(game, policy, PLANTED["honest"], seed=0, adversary=adversary, observers=[sample])
    return measure(policy, attack, sample.decisions()[0], torch_stream(0, "checks"))


@pytest.mark.parametrize(
    ("name", "doubts"),
    [
        ("honest", set()),
        ("saturated", {"probe_zero_gradients", "probe_loss_rises"}),
        ("quantised", {"probe_zero_gradients", "probe_loss_rises"}),
        ("noisy", {"probe_noise"}),
        ("probabilities", {"probe_probabilities"}),
    ],
)
def test_planted_policies_show_what_is_wrong(name: str, doubts: set[str]) -> None:
    shares = probed(name, PGD(threat=Threat(epsilon=0.05), steps=5))
    assert {probe for probe, share in shares.items() if DOUBTFUL[probe](share)} == doubts


def test_the_measures_are_shares_and_say_nothing_of_nothing() -> None:
    rng, noise = torch_stream(0, "checks"), RandomNoise(threat=Threat())
    assert together([]) == {"probe_states": 0, **dict.fromkeys(DOUBTFUL)}
    decisions = Decisions.of(torch.rand(9, 1217), torch.zeros(9, 21))
    told = measure(PLANTED["noisy"], noise, decisions, rng)
    assert told["probe_noise"] == 1
    assert told["probe_zero_gradients"] is None  # noise follows none
    assert told["probe_loss_rises"] is None
    rises = measure(PLANTED["honest"], FGSM(threat=Threat()), decisions, rng)["probe_loss_rises"]
    assert rises is not None
    assert rises > 0


def test_a_sample_is_of_all_that_was_seen() -> None:
    """Of 1000 states in 100 calls it keeps 200, from early and late ones alike."""
    sample = Sample(np.random.default_rng(0), 200)
    assert sample.decisions() == {}
    for call in range(100):
        numbers = torch.arange(call * 10, call * 10 + 10, dtype=torch.float32)[:, None]
        sample.attacked(Decisions.of(numbers, -numbers), numbers)
    (decisions,) = sample.decisions().values()
    kept = decisions.dense[:, 0]
    assert len(kept) == len(set(kept.tolist())) == 200
    assert torch.equal(decisions.mean_actions[:, 0], -kept)
    assert abs(float(kept.mean()) - 500) < 60
