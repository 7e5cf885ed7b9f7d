"""Records rounds while they are played; nobody plays a second time to look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Acted, Witness
from marlrobust.evaluation.plan import Cell
from marlrobust.evaluation.proving import provers
from marlrobust.games.game import Actions, Bools, Decisions, Game
from marlrobust.games.places import Watchable
from marlrobust.policies.bounds import certify
from marlrobust.recorded import ALIVE, ATTACKED, GAINED, NOTHING, PROVEN, TURNED, U8, Frames, Recorded, Stage
from marlrobust.rows import Facts, Round

Proofs = Callable[[Decisions], Tensor]
"""Which of n attacked decisions no attack can turn: (n,) bool."""


LARGEST = 5000
"""Agents on the stage of a round that is recorded, at most: more take too much memory, and too much of a page."""

MOST = 40
"""Cells of an evaluation of which a round is recorded without being asked for, at most."""


@dataclass
class _Film:
    """What was seen of one round so far. starts: of each group among all who are on the stage."""

    stage: Stage
    starts: list[int]
    frames: list[U8] = field(default_factory=list)  # (4, N): health, marks, action, without
    places: list[np.ndarray] = field(default_factory=list)  # (N, 2)
    rewards: list[float] = field(default_factory=list)


def _stage(game: Game, r: int) -> Stage:
    """The stage of the round at place r of a batch; raises UserError where it cannot be shown."""
    if not isinstance(game, Watchable):
        raise UserError("this game does not say where its agents are: there is nothing to show of its rounds")
    if any(group.box is None and group.n_actions > NOTHING for group in game.groups):
        raise UserError(f"a game of more than {NOTHING} actions cannot be recorded")
    stage = game.stage(r)
    if stage.agents > LARGEST:
        raise UserError(f"a round of {stage.agents} agents is not recorded: {LARGEST} are the most")
    return stage


class Recorder(Witness):
    """Keeps the rounds of the given numbers, frame by frame."""

    def __init__(self, numbers: Collection[int], tested: Sequence[int], proofs: Proofs | None = None) -> None:
        """tested: teams whose rewards are counted; proofs: asked of every attacked decision, if given."""
        self.numbers, self.tested, self.proofs = numbers, tested, proofs
        self.refused = ""  # why there is nothing to see
        self.films: dict[int, _Film] = {}  # by the round's number
        self.here: dict[int, _Film] = {}  # by its place in the batch that is played

    def began(self, game: Game, numbers: Sequence[int]) -> None:
        """See `Witness.began`; of a game that cannot be shown nothing is kept."""
        self.here = {}
        for r, number in enumerate(numbers):
            if number not in self.numbers:
                continue
            try:
                stage = _stage(game, r)
            except UserError as error:
                self.refused = str(error)
                return
            starts = np.cumsum([0, *(kind.size for kind in stage.kinds)]).tolist()
            self.films[number] = self.here[r] = film = _Film(stage, starts)
            self._look(game, r, film)

    def attacked(self, decisions: Decisions, shown: Tensor) -> None:
        """See `Observer.attacked`."""
        mine = np.isin(decisions.round, list(self.here))
        if not mine.any():
            return
        proven = np.zeros(len(decisions), np.bool_)
        if self.proofs is not None:
            rows = np.flatnonzero(mine)
            proven[rows] = self.proofs(decisions.take(torch.from_numpy(rows))).cpu().numpy()
        for r, film in self.here.items():
            rows = np.flatnonzero(decisions.round == r)
            at = film.starts[decisions.group] + decisions.agent[rows]
            film.frames[-1][1, at] |= ATTACKED | np.where(proven[rows], PROVEN, 0).astype(np.uint8)

    def acted(self, game: Game, groups: Sequence[Acted]) -> None:
        """See `Witness.acted`."""
        for r, film in self.here.items():
            reward, played = 0.0, False
            for acted in groups:
                rows = np.flatnonzero(acted.round == r)
                played |= bool(len(rows))
                at = film.starts[acted.group] + acted.agent[rows]
                _, marks, action, without = film.frames[-1]
                action[at], without[at] = _numbers(acted.action[rows], acted.without[rows])
                marks[at] |= _marks(acted.turned[rows], TURNED) | _marks(acted.rewards[rows] > 0, GAINED)
                if game.groups[acted.group].team in self.tested:
                    reward += float(acted.rewards[rows].sum(dtype=np.float64))
            if played:
                film.rewards.append(reward)
                self._look(game, r, film)

    def taken(self, number: int) -> tuple[Stage, Frames]:
        """The round of this number, from its start to its end."""
        film = self.films[number]
        health, marks, action, without = np.stack(film.frames, axis=1)
        corner = (film.stage.left, film.stage.top)
        units = np.rint((np.stack(film.places) - corner) / film.stage.unit).clip(0, 65535).astype(np.uint16)
        rewards = np.array(film.rewards, np.float32)
        return film.stage, Frames(units[..., 0], units[..., 1], health, marks, action, without, rewards)

    def _look(self, game: Game, r: int, film: _Film) -> None:
        """A new frame: where everybody is; the dead stay as they were."""
        n = film.starts[-1]
        frame = np.zeros((4, n), np.uint8)
        frame[2:] = NOTHING
        places = film.places[-1].copy() if film.places else np.zeros((n, 2))
        if film.frames:
            frame[0] = film.frames[-1][0]
        assert isinstance(game, Watchable)
        for start, found in zip(film.starts, game.places(r), strict=False):
            at = start + found.agent
            places[at] = found.at
            frame[0, at], frame[1, at] = np.rint(255 * found.health), ALIVE
        film.frames.append(frame)
        film.places.append(places)


def worth_watching(cells: Sequence[Cell]) -> dict[str, tuple[int, ...]]:
    """Name to numbers of the rounds that are recorded if nothing else is asked: the first of each policy's clean cell,
    and of the cell with the largest epsilon and the most attacked agents of each of its attacks; of the first `MOST`
    such cells."""
    largest: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        key = (cell.policy.scenario, cell.policy.hash, cell.attack_name, cell.victims_name if cell.attacks else "")
        if (best := largest.get(key)) is None or _size(cell) > _size(best):
            largest[key] = cell
    return {cell.name: (0,) for cell in list(largest.values())[:MOST]}


def _size(cell: Cell) -> tuple[float, int]:
    return (cell.threat.epsilon if cell.threat else 0.0, cell.agents)


def recorded(cell: Cell, facts: Facts, rounds: Sequence[Round], recorder: Recorder) -> list[Recorded]:
    """What `recorder` saw of the cell's rounds, with their rows."""
    rows = {row.round: row for row in rounds}
    who = tuple(cell.game.teams), cell.team
    return [Recorded(facts, rows[number], *who, *recorder.taken(number)) for number in recorder.films]


def by_intervals(cell: Cell) -> Proofs | None:
    """Of which decisions intervals prove that no attack of the cell's radius turns them; None where there are no proofs
    for such a cell."""
    made = provers(cell, cell.load()[0])
    return (lambda decisions: made[decisions.group](decisions.dense, decisions.mean_actions)) if made else None


def by_crown(cell: Cell) -> Proofs:
    """The same with CROWN too, which proves more and takes long. Raises UserError where there are no proofs."""
    policies, roles, threat = cell.load()[0], [group.role for group in cell.groups], cell.threat
    if threat is None or not provers(cell, policies):
        raise UserError("proofs are for attacks in l_inf on policies of two hidden ReLU layers: leave out --proofs")

    def proven(decisions: Decisions) -> Tensor:
        policy = policies[roles[decisions.group]]
        return certify(policy, decisions.dense, decisions.mean_actions, threat.epsilon).certified

    return proven


def _numbers(action: Actions, without: Actions) -> tuple[Actions, Actions]:
    """Actions as numbers; of vectors 0, and 1 for one that was another without the attack."""
    if action.ndim == 1:
        return action, without
    return np.zeros(len(action), np.int64), (action != without).any(1).astype(np.int64)


def _marks(which: Bools, mark: int) -> U8:
    return np.where(which, mark, 0).astype(np.uint8)
