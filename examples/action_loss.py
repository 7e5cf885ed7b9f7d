"""The action loss in a loop of your own: the same training with and without it, and what an attack does to both.

python examples/action_loss.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import marlrobust
from marlrobust.defenses.methods import METHODS

UPDATES = 300
attack = marlrobust.attack("pgd", epsilon=0.1, steps=5)
schedule = METHODS["romfac"].mu  # of the paper: it rises, and begins again in each loop
torch.set_num_threads(1)


def situations(n: int) -> tuple[Tensor, Tensor]:
    """States (n, 68) and the right one of four actions: a loud sign of it is wrong in one of ten, faint ones never."""
    right = torch.randint(4, (n,))
    loud = torch.where(torch.rand(n) < 0.1, torch.randint(4, (n,)), right)
    return torch.cat([F.one_hot(loud, 4), 0.05 * F.one_hot(right, 4).repeat(1, 16)], 1), right


def trained(mu_max: float) -> nn.Module:
    """A policy that learned by policy gradients, with the action loss where mu_max is not 0."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(68, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for update in range(UPDATES):
        states, right = situations(256)
        logits = network(states)
        actions = torch.distributions.Categorical(logits=logits).sample()
        rewards = (actions == right).float()
        chosen = F.log_softmax(logits, 1).gather(1, actions[:, None])[:, 0]
        loss = -((rewards - rewards.mean()) * chosen).mean()
        mu = mu_max * schedule(update, normal_rounds=100, loop_rounds=100, loops=2, ramp=0.8)
        if mu > 0:  # the action loss: under attack, keep the action that is likeliest without one
            shown = attack.perturb(network, states, update)
            loss = loss + mu * F.cross_entropy(network(shown), logits.argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


for name, mu_max in (("plain", 0.0), ("defended", 0.3)):
    network = trained(mu_max)
    states, right = situations(2000)
    clean, attacked = (
        (network(seen).argmax(1) == right).float().mean().item() for seen in (states, attack.perturb(network, states))
    )
    print(f"{name:8}: reward {clean:.2f}, under attack {attacked:.2f}")
