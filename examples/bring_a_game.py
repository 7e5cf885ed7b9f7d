"""Bring a game: any PettingZoo parallel environment, here simple_spread. Three agents are to stand on three landmarks.

pip install mpe2
python examples/bring_a_game.py
"""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

import marlrobust

ROUNDS = 20


def heads_for(landmark: int) -> Callable[[Tensor], Tensor]:
    """A policy that goes to one landmark. Its actions are: stay, left, right, down, up."""

    def logits(states: Tensor) -> Tensor:
        velocity, way = states[:, :2], states[:, 4 + 2 * landmark : 6 + 2 * landmark]
        x, y = (10 * (way - 0.5 * velocity)).unbind(1)
        return torch.stack([torch.full_like(x, 0.5), -x, x, -y, y], 1)

    return logits


game = marlrobust.make_scenario("pettingzoo:mpe2.simple_spread_v3", {"max_steps": 25})
marlrobust.check_game(game)
rounds = game.make(ROUNDS)
team = [heads_for(landmark) for landmark in range(3)]  # a policy for each agent

for name in ("random", "pgd"):
    for count in (0, 1, 2, 3):
        adversary = marlrobust.Adversary(marlrobust.attack(name, epsilon=0.2), count=count)
        played = marlrobust.play_rounds(rounds, team, seed=0, adversary=adversary)
        print(f"{name:6}, {count} of 3 attacked: reward {statistics.mean(p.reward for p in played):6.1f}")
