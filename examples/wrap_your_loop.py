"""Keep your own loop, and change one line of it: some agents see what an attack shows them.

pip install mpe2
python examples/wrap_your_loop.py
"""

from typing import Any

import numpy as np
import torch
from mpe2 import simple_spread_v3
from torch import Tensor

import marlrobust


def heads_for(landmark: int, states: Tensor) -> Tensor:
    """Logits (n, 5) of an agent that goes to a landmark, from what it sees (n, 18)."""
    x, y = (10 * (states[:, 4 + 2 * landmark : 6 + 2 * landmark] - 0.5 * states[:, :2])).unbind(1)
    return torch.stack([torch.full_like(x, 0.5), -x, x, -y, y], 1)


policies = {
    "agent_0": lambda states: heads_for(0, states),
    "agent_1": lambda states: heads_for(1, states),
    "agent_2": lambda states: heads_for(2, states),
}


def reward_of(env: Any, rounds: int = 10) -> float:
    """The loop: the mean reward of a round."""
    total = 0.0
    for number in range(rounds):
        seen, _ = env.reset(seed=number)
        while env.agents:
            logits = {agent: policies[agent](torch.from_numpy(seen[agent])[None]) for agent in env.agents}
            seen, rewards, _, _, _ = env.step({agent: int(found.argmax()) for agent, found in logits.items()})
            total += float(np.sum(list(rewards.values())))
    return total / rounds


env = simple_spread_v3.parallel_env(max_cycles=25)
print(f"0 of 3 attacked: reward {reward_of(env):6.1f}")
for victims in (1, 2, 3):
    attacked = marlrobust.wrap(env, policies, attack="pgd", epsilon=0.2, victims=victims, seed=0)  # the one line
    print(f"{victims} of 3 attacked: reward {reward_of(attacked):6.1f}")
