"""Which agents of a team are attacked: a strategy is asked for them at a round's start, or at each step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.errors import UserError
from marlrobust.games.game import Bools, Decisions, Game, Ints
from marlrobust.parameters import Parameters
from marlrobust.policies.policy import Policy, has_values, values_of

Floats = npt.NDArray[np.floating[Any]]


def draw_victims(count: int, team_size: int, rng: np.random.Generator) -> Ints:
    """Sorted indices (min(count, team_size),) of the agents attacked, drawn without replacement.

    The first `count` of one permutation: under the same seed the victims of a smaller count are among those
    of a larger one, so that rounds differ in the count alone. A count above the team's size is the whole
    team. Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"the count of victims must not be negative: {count}")
    return np.sort(rng.permutation(team_size)[:count])


@dataclass(frozen=True)
class Scene:
    """A step of R rounds as a strategy sees it.

    game: just observed; decisions: of the n living agents of its team 0, whose clean logits are `logits` (n, a);
    policy, attack: of that team, and on it; count: agents to attack in a round; rngs: a generator per round, for
    numpy; rng: torch's.
    """

    game: Game
    decisions: Decisions
    logits: Tensor
    policy: Policy
    attack: Attack
    count: int
    rngs: Sequence[np.random.Generator]
    rng: torch.Generator

    def nobody(self) -> Bools:
        """(R, size) bool, all False."""
        return np.zeros((len(self.game.swapped), self.game.teams[0].size), bool)

    def highest(self, scores: Floats) -> Bools:
        """(R, size) bool: the `count` agents with the highest scores (n,) of each round; ties by lowest index."""
        rounds, agents = self.decisions.round, self.decisions.agent
        order = np.lexsort((agents, -scores, rounds))
        rank = np.arange(len(order)) - np.searchsorted(rounds, rounds)  # the rows are ordered by round
        chosen = order[rank < self.count]
        mask = self.nobody()
        mask[rounds[chosen], agents[chosen]] = True
        return mask


Rehearse = Callable[["Victims", Ints], tuple[Floats, Bools]]
"""Plays rounds of the given numbers (r,), each with its victims: the team's rewards (r,), which were swapped (r,)."""


@dataclass(frozen=True)
class Victims(Parameters, ABC):
    """A strategy. A subclass is a frozen dataclass whose fields are its parameters.

    Raises UserError for a parameter that does not fit its annotation.
    """

    summary: ClassVar[str] = ""
    """One line for `marlrobust list victims`."""

    @abstractmethod
    def choose(self, scene: Scene) -> Bools:
        """(R, size) bool, True for the victims: at most `scene.count` in a round."""

    @property
    def every_step(self) -> bool:
        """Whether they are chosen anew at each step; if not, once, at the round's start."""
        return False

    def rehearsals(self, count: int, size: int) -> int:
        """Rounds that `search` plays; 0 where there is nothing to search for."""
        return 0

    def search(self, count: int, size: int, rehearse: Rehearse) -> Victims:
        """The strategy after what it has to find out first, to attack `count` agents of a team of `size`.

        To be called before rounds are played, always: it plays `rehearsals(count, size)` rounds, numbered from 0.
        """
        return self

    def part(self, first: int, end: int) -> Victims:
        """The strategy for rounds `first` to `end` - 1 of those that it was made for."""
        return self

    def parameters(self) -> dict[str, Any]:
        """Every parameter, defaults included, as JSON-able values."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class RandomVictims(Victims):
    """Drawn at the round's start, from the round's own stream; see `draw_victims`."""

    summary: ClassVar[str] = "drawn at a round's start; fewer are among more"

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        for r, rng in enumerate(scene.rngs):
            mask[r, draw_victims(scene.count, mask.shape[1], rng)] = True
        return mask


@dataclass(frozen=True)
class FirstVictims(Victims):
    """Those with the lowest indices: the games place agents by index, so these stand together."""

    summary: ClassVar[str] = "the lowest indices"

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        mask[:, : scene.count] = True
        return mask


@dataclass(frozen=True)
class NearestVictims(Victims):
    """Those with the shortest way to an opponent (in cells, straight) at the round's start; ties by lowest index."""

    summary: ClassVar[str] = "the nearest to an opponent at a round's start"

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        game, rounds = scene.game, scene.decisions.round
        own, foes, foe_rounds = game.positions(0), game.positions(1), game.observe(1).round
        distance = np.zeros(len(own))
        for r in np.unique(rounds):
            rows = rounds == r
            ways = own[rows][:, None] - foes[foe_rounds == r][None]
            distance[rows] = np.sqrt((ways**2).sum(2)).min(1)
        return scene.highest(-distance)


@dataclass(frozen=True)
class CriticalVictims(Victims):
    """Those for whom the attack costs most by the policy's own critic: the largest
    sum_a (pi(a | s) - pi(a | s')) Q(s, a, m), s' being the attacked state. Q is asked about the true state.

    when: "step", the default, chooses anew at each step among the living, so that at most `count` are attacked at a
    time, but over a round more may be, and the place of a dead victim is taken; "start" chooses once, where
    in battle no opponent is in sight yet, and keeps them. The attack is made on every living agent to choose.
    m is the mean action of the last step: that of this step is not known yet.
    """

    summary: ClassVar[str] = "the largest loss of value by the policy's critic, anew at each step"

    when: Annotated[Literal["step", "start"], Field(description="Anew at each step, or at a round's start.")] = "step"

    @property
    def every_step(self) -> bool:
        """See `Victims.every_step`."""
        return self.when == "step"

    @torch.no_grad()
    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`. Raises UserError for a policy without a critic."""
        policy, decisions = scene.policy, scene.decisions.to(scene.logits.device)
        if not has_values(policy):
            raise UserError("critical victims need a policy with a critic: give it q_values(decisions)")
        decisions = decisions.showing(decisions.dense)
        attacked = decisions.showing(scene.attack.perturb(policy, decisions, scene.rng))
        change = scene.logits.softmax(1) - policy.logits(attacked).softmax(1)
        loss = (change * values_of(policy, decisions)).sum(1)
        return scene.highest(loss.double().cpu().numpy())
