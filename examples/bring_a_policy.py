"""Bring a policy: torch modules of your own, one for each agent of simple_spread.

pip install mpe2
python examples/bring_a_policy.py
"""

import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import marlrobust
from marlrobust.games import make_scenario


def goes_to(landmark: int, states: Tensor) -> Tensor:
    """The action (n,) that leads an agent to a landmark, from what it sees (n, 18)."""
    x, y = (states[:, 4 + 2 * landmark : 6 + 2 * landmark] - 0.5 * states[:, :2]).unbind(1)
    return torch.stack([torch.full_like(x, 0.05), -x, x, -y, y], 1).argmax(1)


def trained(landmark: int) -> nn.Module:
    """A network that has learned this rule from examples. Your own training goes here."""
    network = nn.Sequential(nn.Linear(18, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(300):
        states = torch.randn(256, 18)
        loss = F.cross_entropy(network(states), goes_to(landmark, states))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


torch.manual_seed(0)
policy = [trained(landmark) for landmark in range(3)]

if __name__ == "__main__":
    game = make_scenario("pettingzoo:mpe2.simple_spread_v3", {"max_steps": 25}).make(rounds=20)
    for count in (0, 1, 2, 3):
        adversary = marlrobust.Adversary(marlrobust.attack("pgd", epsilon=0.2), count=count)
        played = marlrobust.play_rounds(game, policy, seed=0, adversary=adversary)
        print(f"{count} of 3 attacked: reward {statistics.mean(p.reward for p in played):6.1f}")
