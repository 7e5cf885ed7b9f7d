"""Which agents under test are attacked: a strategy is asked for them at a round's start, or at each step."""

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
from marlrobust.policies.actions import is_continuous
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

    game: just observed; own: the numbers of the groups under attack, k of them, whose agents are numbered through, in
    this order; seen: for each of them its living agents, with their clean logits (n, a) in `logits`, their policy, and
    the attack on it; count: agents to attack in a round; rngs: a generator per round, for numpy; rng: torch's.
    """

    game: Game
    own: Sequence[int]
    seen: Sequence[Decisions]
    logits: Sequence[Tensor]
    policies: Sequence[Policy]
    attacks: Sequence[Attack]
    count: int
    rngs: Sequence[np.random.Generator]
    rng: torch.Generator

    def nobody(self) -> Bools:
        """(R, size) bool, all False; size: agents of all groups under attack."""
        return np.zeros((len(self.game.swapped), sum(self.game.groups[g].size for g in self.own)), bool)

    def highest(self, scores: Floats) -> Bools:
        """(R, size) bool: the `count` agents with the highest scores (n,) of each round, of n living agents, group by
        group; ties by lowest index."""
        before = np.cumsum([0, *(self.game.groups[g].size for g in self.own)])
        rounds = np.concatenate([d.round for d in self.seen])
        agents = np.concatenate([start + d.agent for start, d in zip(before, self.seen, strict=False)])
        order = np.lexsort((agents, -scores, rounds))
        rank = np.arange(len(order)) - np.searchsorted(rounds[order], rounds[order])
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

    summary: ClassVar[str] = "drawn at a round's start; of two counts the smaller one's are among the larger one's"

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
        foes = [g for g in range(len(scene.game.groups)) if g not in scene.own]
        if not foes:
            raise UserError("the nearest victims are nearest to an opponent, and this game has none: choose others")
        rounds, own = _places(scene.game, scene.own)
        foe_rounds, others = _places(scene.game, foes)
        distance = np.zeros(len(own))
        for r in np.unique(rounds):
            rows = rounds == r
            ways = own[rows][:, None] - others[foe_rounds == r][None]
            distance[rows] = np.sqrt((ways**2).sum(2)).min(1)
        return scene.highest(-distance)


def _places(game: Game, groups: Sequence[int]) -> tuple[Ints, Ints]:
    """Rounds (n,) and positions (n, 2) of the living agents of some groups, group by group."""
    rounds = [game.observe(g).round for g in groups]
    return np.concatenate(rounds), np.concatenate([game.positions(g) for g in groups])


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
        lost = []
        for policy, attack, seen, logits in zip(scene.policies, scene.attacks, scene.seen, scene.logits, strict=True):
            if not has_values(policy):
                raise UserError("critical victims need a policy with a critic: give it q_values(decisions)")
            if is_continuous(policy):
                raise UserError("critical victims are those of a choice between actions: take random, first or worst")
            decisions = seen.to(logits.device)
            decisions = decisions.showing(decisions.dense)
            attacked = decisions.showing(attack.perturb(policy, decisions, scene.rng))
            change = logits.softmax(1) - policy.logits(attacked).softmax(1)
            lost.append((change * values_of(policy, decisions)).sum(1).double().cpu().numpy())
        return scene.highest(np.concatenate(lost))
