"""Copies of a PettingZoo environment, stepped in this process or in others: what each shows, flat, with its masks."""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from marlrobust.errors import UserError
from marlrobust.games.broken import of_environment
from marlrobust.games.game import Bools, Floats
from marlrobust.games.spaces import Kind, flat
from marlrobust.games.worlds import Circles, circles
from marlrobust.workers import Answer, Tell, Worker

SUCCESS = ("is_success", "success")
"""What an environment's `infos` may call a task that was done."""


class Shown(NamedTuple):
    """What an agent that is about to act sees. state: (d,) float32; mask: (a,) bool, its legal actions; None where
    the environment tells of none."""

    state: Floats
    mask: Bools | None


class Brought(NamedTuple):
    """What a step of one environment brought, by an agent's name. shown: to those that are about to act; dead: who
    died; cut: whether somebody was truncated; success: who was told of a task, and whether it was done."""

    shown: dict[str, Shown]
    rewards: dict[str, float]
    dead: set[str]
    cut: bool
    success: dict[str, bool]


class Copies(Protocol):
    """R equal environments, numbered from 0. name: of the environment, for a user."""

    name: str

    def reset(self, seeds: Sequence[int]) -> list[dict[str, Shown]]:
        """Start all, each from its seed; what their agents see."""
        ...

    def step(self, actions: Mapping[int, Mapping[str, Any]]) -> dict[int, Brought]:
        """Step some of them, by their numbers, each with an action for each of its agents."""
        ...

    def circles(self, r: int) -> Circles | None:
        """What is in the world of one of them, see `worlds.circles`."""
        ...


class Here:
    """Copies in this process."""

    def __init__(self, name: str, make: Callable[[], Any], count: int, kinds: Sequence[Kind]) -> None:
        """name: of the environment, for a user; make: makes one, `count` of them are made; kinds: its agents'."""
        self.name, self.kinds = name, {agent: kind for kind in kinds for agent in kind.agents}
        self.environments = [make() for _ in range(count)]
        self.seeds, self.steps = [0] * count, [0] * count

    def reset(self, seeds: Sequence[int]) -> list[dict[str, Shown]]:
        """See `Copies.reset`."""
        started = []
        for r, seed in enumerate(seeds):
            self.seeds[r], self.steps[r] = seed, 0
            with self._told(f"when it is reset with the seed {seed}"):
                shown, infos = self.environments[r].reset(seed=seed)
                started.append(self._shown(r, shown, infos))
        return started

    def step(self, actions: Mapping[int, Mapping[str, Any]]) -> dict[int, Brought]:
        """See `Copies.step`."""
        return {r: self._step(r, asked) for r, asked in actions.items()}

    def circles(self, r: int) -> Circles | None:
        """See `Copies.circles`."""
        return circles(self.environments[r])

    def _step(self, r: int, actions: Mapping[str, Any]) -> Brought:
        environment = self.environments[r]
        self.steps[r] += 1
        with self._told(f"in step {self.steps[r]} of the round with the seed {self.seeds[r]}"):
            shown, rewards, terminated, truncated, infos = environment.step(dict(actions))
            return Brought(
                shown=self._shown(r, shown, infos),
                rewards={agent: float(rewards.get(agent, 0.0)) for agent in actions},
                dead={agent for agent in actions if terminated.get(agent, False) and environment.agents},
                cut=any(truncated.get(agent, False) for agent in actions),
                success={
                    agent: any(bool(infos[agent].get(key)) for key in SUCCESS)
                    for agent in self.kinds
                    if any(key in infos.get(agent, {}) for key in SUCCESS)
                },
            )

    def _shown(self, r: int, seen: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, Shown]:
        """What the agents that are about to act see."""
        return {
            agent: Shown(flat(kind.observations, kind.seen(seen[agent])), kind.legal(seen[agent], infos.get(agent, {})))
            for agent in self.environments[r].agents
            for kind in [self.kinds[agent]]
        }

    @contextmanager
    def _told(self, when: str) -> Iterator[None]:
        """What the environment raises, as a sentence."""
        try:
            yield
        except (UserError, MemoryError):
            raise
        except Exception as error:
            raise of_environment(self.name, error, when) from error


class Spread:
    """Copies in processes of their own, each of which has its share; the same as `Here` in all that they show."""

    def __init__(self, name: str, make: Callable[[], Any], count: int, kinds: Sequence[Kind], processes: int) -> None:
        """See `Here`. processes: at most one for each copy; they are started when a round is."""
        self.name = name
        shares = [len(part) for part in np.array_split(np.arange(count), min(processes, count))]
        self.starts = np.cumsum([0, *shares]).tolist()
        self.parts = [partial(_answering, partial(Here, name, make, share, kinds)) for share in shares]
        self.died = (
            f"a process that steps copies of {name} died, perhaps for want of memory, or because the environment ended "
            "it: give fewer processes, or leave that setting out"
        )
        self.crew: list[Worker] = []
        weakref.finalize(self, _end, self.crew)

    def reset(self, seeds: Sequence[int]) -> list[dict[str, Shown]]:
        """See `Copies.reset`."""
        while len(self.crew) < len(self.parts):
            self.crew.append(Worker(self.parts[len(self.crew)], self.died))
        shares = zip(self.starts, self.starts[1:], strict=False)
        started = self._ask({k: ("reset", list(seeds[a:b])) for k, (a, b) in enumerate(shares)})
        return [shown for k in started for shown in started[k]]

    def step(self, actions: Mapping[int, Mapping[str, Any]]) -> dict[int, Brought]:
        """See `Copies.step`."""
        shares: dict[int, dict[int, Any]] = {}
        for r, asked in actions.items():
            k = bisect.bisect_right(self.starts, r) - 1
            shares.setdefault(k, {})[r - self.starts[k]] = asked
        found = self._ask({k: ("step", share) for k, share in shares.items()})
        brought = {self.starts[k] + r: came for k, part in found.items() for r, came in part.items()}
        return {r: brought[r] for r in actions}

    def circles(self, r: int) -> Circles | None:
        """See `Copies.circles`."""
        k = bisect.bisect_right(self.starts, r) - 1
        found: Circles | None = self._ask({k: ("circles", r - self.starts[k])})[k]
        return found

    def _ask(self, calls: Mapping[int, tuple[str, Any]]) -> dict[int, Any]:
        """The answers of processes, by their numbers, to the method and argument that each is sent. Where one fails,
        all are ended: their next round starts anew."""
        try:
            for k, call in calls.items():
                self.crew[k].send(call)
            return {k: self.crew[k].receive()[1] for k in calls}
        except BaseException:
            _end(self.crew)
            raise


def _answering(start: Callable[[], Here]) -> Answer:
    """In a process: calls the methods that it is sent."""
    copies = start()

    def answer(asked: tuple[str, Any], tell: Tell) -> Any:
        method, argument = asked
        return getattr(copies, method)(argument)

    return answer


def _end(crew: list[Worker]) -> None:
    while crew:
        crew.pop().end()
