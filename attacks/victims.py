"""Which agents of a team are attacked: a strategy is asked for them at a round's start, or at each step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marlrobust.attacks.attack import Attack
from marlrobust.errors import UserError
from marlrobust.policies.networks import Policy
from marlrobust.registry import Registry

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


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
    """A step of R rounds as a strategy sees it: the n living agents of the team, over the rounds that go on.

    count: agents to attack in a round; size: of the team at its start; swapped: (R,) bool, whether the team
    plays the other side; round, agent: (n,) int64, whose row is whose, ordered by round; mean_actions: (n, a)
    of the last step and logits: (n, a), clean; states: gives (n, d) float32; places: gives the agents' (n, 2) and
    the m opponents' (m, 2), in cells; foe_round: (m,) int64; rngs: a generator a round; rng: torch's.
    """

    count: int
    size: int
    swapped: Bools
    policy: Policy
    attack: Attack
    round: Ints
    agent: Ints
    mean_actions: Tensor
    logits: Tensor
    states: Callable[[], Tensor]
    places: Callable[[], tuple[Ints, Ints]]
    foe_round: Ints
    rngs: Sequence[np.random.Generator]
    rng: torch.Generator

    def nobody(self) -> Bools:
        """(R, size) bool, all False."""
        return np.zeros((len(self.swapped), self.size), bool)

    def highest(self, scores: Floats) -> Bools:
        """(R, size) bool: the `count` agents with the highest scores (n,) of each round; ties by lowest index."""
        order = np.lexsort((self.agent, -scores, self.round))
        rank = np.arange(len(order)) - np.searchsorted(self.round, self.round)  # the rows are ordered by round
        chosen = order[rank < self.count]
        mask = self.nobody()
        mask[self.round[chosen], self.agent[chosen]] = True
        return mask


Rehearse = Callable[["TriedVictims", Ints], tuple[Floats, Bools]]
"""Plays rounds of the given numbers (r,), each with its victims: the team's rewards (r,), which were swapped (r,)."""


@dataclass(frozen=True)
class Victims(ABC):
    """A strategy; a frozen dataclass whose fields are its parameters."""

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
        """Rounds that `search` plays."""
        return 0

    def search(self, count: int, size: int, rehearse: Rehearse) -> Victims:
        """The strategy after what it has to find out first; rehearsed rounds have numbers from 0."""
        return self

    def parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


VICTIMS: Registry[type[Victims]] = Registry("victims", "marlrobust.victims")
"""Every strategy by name; an installed package adds its own by an entry point of this group."""


@VICTIMS.register("random")
@dataclass(frozen=True)
class RandomVictims(Victims):
    """Drawn at the round's start, from the round's own stream; see `draw_victims`."""

    summary: ClassVar[str] = "drawn at a round's start; fewer are among more"

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        for r, rng in enumerate(scene.rngs):
            mask[r, draw_victims(scene.count, scene.size, rng)] = True
        return mask


@VICTIMS.register("first")
@dataclass(frozen=True)
class FirstVictims(Victims):
    """Those with the lowest indices: the games place agents by index, so these stand together."""

    summary: ClassVar[str] = "the lowest indices"

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        mask[:, : scene.count] = True
        return mask


@VICTIMS.register("nearest")
@dataclass(frozen=True)
class NearestVictims(Victims):
    """Those with the shortest way to an opponent (in cells, straight) at the round's start; ties by lowest index."""

    summary: ClassVar[str] = "the nearest to an opponent at a round's start"

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        own, foes = scene.places()
        distance = np.zeros(len(own))
        for r in np.unique(scene.round):
            rows = scene.round == r
            ways = own[rows][:, None] - foes[scene.foe_round == r][None]
            distance[rows] = np.sqrt((ways**2).sum(2)).min(1)
        return scene.highest(-distance)


@VICTIMS.register("critical")
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

    when: Literal["step", "start"] = "step"

    def __post_init__(self) -> None:
        if self.when not in ("step", "start"):
            raise UserError(f"critical victims are chosen when='step' or when='start', not '{self.when}'")

    @property
    def every_step(self) -> bool:
        """See `Victims.every_step`."""
        return self.when == "step"

    @torch.no_grad()
    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`. Raises UserError for a policy without a critic."""
        q_values = getattr(scene.policy, "q_values", None)
        if q_values is None:
            raise UserError("critical victims need a policy with a critic, q_values(states, mean_actions)")
        states = scene.states().to(scene.logits.device)
        attacked = scene.attack.perturb(scene.policy, states, scene.mean_actions, scene.rng)
        change = scene.logits.softmax(1) - scene.policy.logits(attacked, scene.mean_actions).softmax(1)
        loss = (change * q_values(states, scene.mean_actions)).sum(1)
        return scene.highest(loss.double().cpu().numpy())


@dataclass(frozen=True)
class FixedVictims(Victims):
    """The same in every round: agents[0] where the team plays its own side, agents[1] where it plays the other."""

    agents: tuple[tuple[int, ...], tuple[int, ...]]

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        for r, side in enumerate(scene.swapped.astype(int)):
            mask[r, list(self.agents[side])] = True
        return mask


@dataclass(frozen=True)
class TriedVictims(Victims):
    """Other victims in each round of a rehearsal: sets[r], as in `FixedVictims`."""

    sets: tuple[FixedVictims, ...]

    def part(self, first: int, end: int) -> TriedVictims:
        """Those of some of the rounds."""
        return TriedVictims(self.sets[first:end])

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        for r, side in enumerate(scene.swapped.astype(int)):
            mask[r, list(self.sets[r].agents[side])] = True
        return mask


@VICTIMS.register("worst")
@dataclass(frozen=True)
class WorstVictims(Victims):
    """A greedy search for the agents, by index, whose attack costs the team most; then the same in every round.

    Blocks of neighbouring indices are added one after the other; each time every block that is left is tried in
    as many rehearsed rounds, of the same numbers, and the one that leaves the least mean reward stays. As agents
    start elsewhere on the other side, each side has its own choice. The rounds that are told are others: a
    rehearsal has its own seed. Where agents start anywhere (pursuit) an index means little, and so does this.

    block: agents in a block; search_rounds: rounds to be rehearsed for one policy and count, at most.
    """

    summary: ClassVar[str] = "a greedy search, in rehearsed rounds, for those who cost the team most"

    block: int = 8
    search_rounds: int = 256

    def __post_init__(self) -> None:
        if self.block < 1 or self.search_rounds < 1:
            raise UserError(f"block and search_rounds are at least 1, not {self.block} and {self.search_rounds}")

    def choose(self, scene: Scene) -> Bools:
        """Raises ValueError: `search` gives the strategy that is asked."""
        raise ValueError("worst victims are searched for before they are chosen: call search")

    def rehearsals(self, count: int, size: int) -> int:
        """See `Victims.rehearsals`. Raises UserError where the search has not a round for every trial."""
        trials = sum(self._trials(count, size))
        if trials > self.search_rounds:
            raise UserError(
                f"to search for the worst {count} of {size} agents takes {trials} rounds in blocks of {self.block}: "
                f"give a larger search_rounds than {self.search_rounds}, or a larger block"
            )
        return trials * (self.search_rounds // trials) if trials else 0

    def _trials(self, count: int, size: int) -> list[int]:
        """Blocks to be tried in each pick; none where the whole team is attacked."""
        if not 0 < count < size:
            return []
        block = min(self.block, count)
        return [-(-size // block) - pick for pick in range(-(-count // block))]

    def search(self, count: int, size: int, rehearse: Rehearse) -> FixedVictims:
        """The victims found, in `rehearsals(count, size)` rounds."""
        trials = self._trials(count, size)
        if not trials:
            everyone = tuple(range(min(count, size)))
            return FixedVictims((everyone, everyone))
        tries = self.rehearsals(count, size) // sum(trials)
        block = min(self.block, count)
        found: list[tuple[int, ...]] = [(), ()]
        left = [list(range(0, size, block)) for _ in range(2)]
        for _ in trials:

            def more(side: int, start: int) -> tuple[int, ...]:
                """With the next of the block, and of those behind it where the block is not whole."""
                free = [i % size for i in range(start, start + size) if i % size not in found[side]]
                return (*found[side], *free[:block])[:count]

            sets = [FixedVictims((more(0, a), more(1, b))) for a, b in zip(*left, strict=True)]
            rewards, swapped = rehearse(
                TriedVictims(tuple(s for s in sets for _ in range(tries))), np.tile(np.arange(tries), len(sets))
            )
            for side in range(2):
                best = int(np.argmin(_means(rewards, swapped == bool(side), len(sets))))
                found[side] = sets[best].agents[side]
                left[side].pop(best)
        return FixedVictims((tuple(sorted(found[0])), tuple(sorted(found[1]))))


def _means(rewards: Floats, here: Bools, trials: int) -> Floats:
    """(trials,) means over the rounds of one side, equal in number; over all where the side was not played."""
    rewards, here = rewards.reshape(trials, -1), here.reshape(trials, -1)
    if not here.any(1).all():
        here = np.ones_like(here)
    means: Floats = np.where(here, rewards, 0.0).sum(1) / here.sum(1)
    return means
