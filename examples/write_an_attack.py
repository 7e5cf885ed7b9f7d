"""Write an attack: one method, and the rest is there. Then see whether it beats the ones that come with marlrobust.

python examples/write_an_attack.py
"""

import statistics
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

import marlrobust
from marlrobust.attacks import ATTACKS
from marlrobust.attacks.gradient import GradientAttack
from marlrobust.games.magent.battle import Battle

ROUNDS = 4


@ATTACKS.register("doubt")
@dataclass(frozen=True, kw_only=True)
class Doubt(GradientAttack):
    """Makes the agent unsure: ascends the entropy of its policy."""

    summary: ClassVar[str] = "more entropy: the agent acts by chance"

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """(n,) from logits (n, a): the entropy. The reference, the clean action, is not needed."""
        return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


team, opponent = marlrobust.load_policy("zoo:battle/mfac"), marlrobust.load_policy("zoo:battle/a2c")
game = Battle().make(rounds=ROUNDS)
for name in ("random", "doubt", "pgd"):
    adversary = marlrobust.Adversary(marlrobust.attack(name, epsilon=0.075), count=64)
    rounds = marlrobust.play_rounds(game, team, opponent, seed=0, adversary=adversary)
    flipped = sum(played.flips for played in rounds) / sum(played.decisions for played in rounds)
    reward = statistics.mean(played.reward for played in rounds)
    print(f"{name:6}: reward {reward:6.1f}, {flipped:4.0%} of the decisions are others")
