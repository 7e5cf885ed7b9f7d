"""The quantity of Theorem 4 on trained teams: how far an attack moves what agents do, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.evaluation.observer import Observer
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Decisions
from marlrobust.games.scenario import Scenario
from marlrobust.policies.policy import Policy


@dataclass(frozen=True)
class Cost:
    """variation: mean total variation between what attacked agents do on true and on false states; largest: the most
    that was seen; clean, attacked: mean reward of the team per round; lost: clean less attacked."""

    variation: float
    largest: float
    clean: float
    attacked: float

    @property
    def lost(self) -> float:
        return self.clean - self.attacked


@dataclass
class _Variation(Observer):
    """Keeps the total variation of every attacked decision."""

    policy: Policy
    found: list[Tensor] = field(default_factory=list)

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """See `Observer.attacked`."""
        true, false = (F.softmax(self.policy.logits(d), 1) for d in (decisions, decisions.showing(shown)))
        self.found.append((true - false).abs().sum(1) / 2)


def cost(
    scenario: Scenario,
    policy: Policy,
    opponent: Policy,
    attack: Attack,
    counts: Sequence[int],
    *,
    rounds: int,
    seed: int,
) -> list[Cost]:
    """What `attack` on each of `counts` numbers of agents does; clean and attacked rounds are pairs."""
    game = scenario.make(rounds)

    def reward(adversary: Adversary | None, observers: Sequence[Observer] = ()) -> float:
        played = play_rounds(game, policy, opponent, seed=seed, adversary=adversary, observers=observers)
        return float(np.mean([r.reward for r in played]))

    clean, found = reward(None), []
    for count in counts:
        watch = _Variation(policy)
        attacked = reward(Adversary(attack, count), [watch])
        moved = torch.cat(watch.found)
        found.append(Cost(float(moved.mean()), float(moved.max()), clean, attacked))
    return found
