"""Any PettingZoo parallel environment as a game: observations of any shape, made flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marlrobust.games import worlds
from marlrobust.games.copies import Brought, Copies, Shown
from marlrobust.games.game import Actions, Bools, Decisions, Group, Ints, Outcome
from marlrobust.games.places import Places
from marlrobust.games.spaces import Kind, stacked
from marlrobust.recorded import Stage


class ParallelGame:
    """R copies of an environment, stepped together; see `Game` for what it offers.

    Who is terminated while others go on is dead; where all are at once, the round has ended and nobody died. Who is
    truncated leaves alive, and a round in which somebody was truncated last was cut.
    """

    def __init__(
        self, copies: Copies, rounds: int, kinds: Sequence[Kind], teams: Sequence[Sequence[str]], max_steps: int
    ) -> None:
        """copies: `rounds` of them; kinds: their groups; teams: the roles of each team's groups."""
        self._copies, self._kinds, self.max_steps, self.rounds = copies, kinds, max_steps, rounds
        team = {role: number for number, roles in enumerate(teams) for role in roles}
        self.groups = tuple(
            Group(
                *(k.role, len(k.agents), k.state_size, k.state_size, k.n_actions, team[k.role], k.shape),
                box=k.box,
                masked=k.masked,
                low=k.limits[0],
                high=k.limits[1],
            )
            for k in kinds
        )
        self.active, self.ended, self.swapped = (np.zeros(rounds, np.bool_) for _ in range(3))
        self.steps = np.zeros(rounds, np.int64)
        self.alive = np.zeros((rounds, len(kinds)), np.int64)
        self._means = [np.zeros((rounds, k.n_actions), np.float32) for k in kinds]
        self._success = np.zeros((rounds, len(teams)), np.bool_)
        self._tells_success = False
        self._shown: list[dict[str, Shown]] = [{} for _ in range(rounds)]  # to who is about to act
        self._see()

    def reset(self, seeds: Ints, swap: Bools) -> None:
        """See `Game.reset`."""
        if np.any(swap):
            raise ValueError("only teams of the same roles can swap sides")
        self._shown = self._copies.reset(np.asarray(seeds).tolist())
        self.active[:], self.ended[:], self.steps[:], self._success[:] = True, False, 0, False
        self._means = [np.zeros_like(means) for means in self._means]
        self._see()
        self.alive[:] = self._counts()

    def observe(self, group: int) -> Decisions:
        """See `Game.observe`."""
        kind, rows = self._kinds[group], self._rows[group]
        rounds, agents = rows[:, 0].copy(), rows[:, 1].copy()
        seen = [self._shown[r][kind.agents[i]] for r, i in rows.tolist()]
        states = np.zeros((len(seen), kind.state_size), np.float32)
        for row, shown in enumerate(seen):
            states[row] = shown.state
        means = torch.from_numpy(self._means[group][rounds])
        how = {"group": group, "mask": stacked([shown.mask for shown in seen], kind.n_actions)}
        return Decisions(torch.from_numpy(states), means, rounds, agents, self.steps[rounds], **how)  # type: ignore[arg-type]

    def positions(self, group: int) -> Ints:
        """Agents are nowhere that is known: all at (0, 0)."""
        return np.zeros((len(self._rows[group]), 2), np.int64)

    def stage(self, round: int) -> Stage:
        """See `Watchable.stage`."""
        return worlds.stage(self._copies.name, self._copies.circles(round), self._kinds, [g.team for g in self.groups])

    def places(self, round: int) -> list[Places]:
        """See `Watchable.places`."""
        return worlds.places(self._copies.circles(round) or {}, self._kinds)

    def step(self, actions: Sequence[Actions]) -> tuple[Outcome, ...]:
        """See `Game.step`."""
        asked: dict[int, dict[str, Any]] = {r: {} for r in np.flatnonzero(self.active).tolist()}
        for kind, rows, chosen in zip(self._kinds, self._rows, actions, strict=True):
            for (r, i), action in zip(rows.tolist(), chosen, strict=True):
                asked[r][kind.agents[i]] = kind.action(action)
        brought = self._copies.step(asked)
        for r, came in brought.items():
            self._shown[r] = came.shown
            self.ended[r] = not came.shown and not came.cut
            self._note_success(r, came.success)
        outcomes = tuple(self._outcome(g, chosen, brought) for g, chosen in enumerate(actions))
        self.steps[self.active] += 1
        self.active &= np.array([bool(shown) for shown in self._shown]) & (self.steps < self.max_steps)
        self._see()
        left = self._counts()
        self.alive[self.active] = left[self.active]
        return outcomes

    def results(self, team: int) -> Mapping[str, npt.NDArray[np.generic]]:
        """Success, where the environment has told of one in its `infos`."""
        return {"success": self._success[:, team]} if self._tells_success else {}

    def _note_success(self, r: int, success: Mapping[str, bool]) -> None:
        """What a round's environment said of tasks; once done, a task stays so."""
        self._tells_success |= bool(success)
        for group, kind in zip(self.groups, self._kinds, strict=True):
            self._success[r, group.team] |= any(success.get(agent, False) for agent in kind.agents)

    def _outcome(self, g: int, actions: Actions, brought: Mapping[int, Brought]) -> Outcome:
        """What the step brought one group, and its new mean actions."""
        kind, rounds = self._kinds[g], self._rows[g][:, 0]
        rows = [(brought[r], kind.agents[i]) for r, i in self._rows[g].tolist()]
        rewards = np.array([came.rewards[agent] for came, agent in rows], np.float32)
        dead = np.array([agent in came.dead for came, agent in rows], np.bool_)
        total, n = np.zeros((self.rounds, kind.n_actions)), np.bincount(rounds, minlength=self.rounds)
        np.add.at(total, rounds, kind.vectors(actions))
        self._means[g] = (total / np.maximum(n, 1)[:, None]).astype(np.float32)
        return Outcome(rewards, dead, self._means[g][rounds])

    def _see(self) -> None:
        """Rounds and agents, (n, 2), of those of each group that are about to act."""
        self._rows = [
            np.array(
                [
                    (r, i)
                    for r in np.flatnonzero(self.active).tolist()
                    for i, agent in enumerate(kind.agents)
                    if agent in self._shown[r]
                ],
                np.int64,
            ).reshape(-1, 2)
            for kind in self._kinds
        ]

    def _counts(self) -> Ints:
        """(R, G) agents about to act."""
        return np.stack([np.bincount(rows[:, 0], minlength=self.rounds) for rows in self._rows], axis=1)
