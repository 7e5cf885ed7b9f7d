"""Victims that are searched for: which agents cost the team most, found in rounds that are played before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, InstanceOf

from marlrobust.attacks.victims import Floats, Rehearse, Scene, Victims
from marlrobust.errors import UserError
from marlrobust.games.game import Bools


@dataclass(frozen=True)
class FixedVictims(Victims):
    """The same in every round: agents[0] where the team plays its own side, agents[1] where it plays the other."""

    agents: tuple[tuple[int, ...], tuple[int, ...]]

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        for r, side in enumerate(scene.game.swapped.astype(int)):
            mask[r, list(self.agents[side])] = True
        return mask


@dataclass(frozen=True)
class TriedVictims(Victims):
    """Other victims in each round of a rehearsal: sets[r], as in `FixedVictims`."""

    sets: tuple[InstanceOf[FixedVictims], ...]

    def part(self, first: int, end: int) -> TriedVictims:
        """See `Victims.part`."""
        return TriedVictims(self.sets[first:end])

    def choose(self, scene: Scene) -> Bools:
        """See `Victims.choose`."""
        mask = scene.nobody()
        for r, side in enumerate(scene.game.swapped.astype(int)):
            mask[r, list(self.sets[r].agents[side])] = True
        return mask


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

    block: Annotated[int, Field(ge=1, description="Agents per block.")] = 8
    search_rounds: Annotated[int, Field(ge=1, description="Rounds rehearsed per policy and count, at most.")] = 256

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
