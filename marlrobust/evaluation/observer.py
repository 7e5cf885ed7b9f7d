"""Who may watch a rollout: what is told to whom, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from marlrobust.games.game import Actions, Bools, Decisions, Floats, Game, Ints


class Observer:
    """Watches a rollout; a subclass writes what it wants to see. It must copy what it keeps."""

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """Decisions of attacked agents, with their true states (n, d), and the states that they are shown (n, d)."""

    def stepped(self, game: Game) -> None:
        """A step was played."""


@dataclass(frozen=True, eq=False)
class Acted:
    """What the n agents of one group did in a step.

    group: its number; round, agent: (n,) whose row it is; action: (n,), or (n, k), that was taken; without: what it had
    been without the attack, by the same chance; turned: (n,) whether the likeliest action is another one than without
    the attack; rewards: (n,) float32.
    """

    group: int
    round: Ints
    agent: Ints
    action: Actions
    without: Actions
    turned: Bools
    rewards: Floats


class Witness(Observer):
    """An observer who also sees where rounds begin and what everybody does. That costs a copy of the logits."""

    def began(self, game: Game, numbers: Sequence[int]) -> None:
        """Rounds of these numbers are about to be played."""

    def acted(self, game: Game, groups: Sequence[Acted]) -> None:
        """A step was played, in which each group of the game did this."""
