"""Told at once what a new game does wrong: it is played for some steps, and held to every promise of `Game`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from marlrobust.errors import UserError
from marlrobust.games.broken import GameError
from marlrobust.games.game import Actions, Decisions, Game, Ints, Outcome, can_swap
from marlrobust.games.scenario import Scenario
from marlrobust.rows import Round
from marlrobust.sparse import SparseStates
from marlrobust.streams import stream

ROUNDS = 2
"""Of a scenario's game: two show whether rounds disturb each other."""


def check_game(game: Game | Scenario, *, steps: int = 60, seed: int = 0) -> None:
    """Play `game`, or a scenario's, with random actions for up to `steps` steps, twice, and see whether it keeps what
    `Game` promises. Raises UserError with a sentence for each promise that it breaks.

    A game that is given is reset.
    """
    made = game.make(ROUNDS) if isinstance(game, Scenario) else game
    found: dict[str, None] = {}
    try:
        for fault in _faults(made, steps, seed):
            found[fault] = None
    except Exception as error:  # of the game's own code: told as the last of its faults, the traceback above it
        found[f"it raises {error.fault if isinstance(error, GameError) else repr(error)}"] = None
        raise UserError("this game cannot be played: " + "; ".join(found)) from error
    if found:
        raise UserError("this game cannot be played: " + "; ".join(found))


def _faults(game: Game, steps: int, seed: int) -> Iterator[str]:
    """A sentence for each promise that is broken; after one that forbids it, nothing more is tried."""
    yield from (static := list(_groups(game)))
    if static:
        return
    seeds = np.arange(game.rounds) + seed
    first = _Play(game, steps)
    yield from first.faults(seeds, np.zeros(game.rounds, np.bool_))
    if first.broken:
        return
    again = _Play(game, steps)
    yield from again.faults(seeds, np.zeros(game.rounds, np.bool_))
    if first.told != again.told:
        yield "the same seeds and actions bring another round: draw all chance from the seed that reset is given"
    else:
        other = _Play(game, steps)
        yield from other.faults(np.concatenate([seeds[:1], seeds[1:] + 1000]), np.zeros(game.rounds, np.bool_))
        if first.of_round(0) != other.of_round(0):
            yield "what happens in a round depends on the seeds of others: keep rounds apart"
    yield from _results(game)
    if can_swap(game.groups):
        swap = np.arange(game.rounds) % 2 == 0
        swapped = _Play(game, 3)
        yield from swapped.faults(seeds, swap)
        if not np.array_equal(game.swapped, swap):
            yield "swapped must be what reset was given as swap"


def _groups(game: Game) -> Iterator[str]:
    if not isinstance(game.groups, tuple) or not game.groups:
        yield "groups must be a tuple of at least one Group"
        return
    for g, group in enumerate(game.groups):
        who = f"group {g} ('{group.role}')"
        if group.size < 1:
            yield f"{who} has no agents: leave it out"
        if group.n_actions < 1:
            yield f"{who} has no actions"
        if not 0 <= group.view_size <= group.state_size or group.state_size < 1:
            yield f"{who} has a view of {group.view_size} in states of {group.state_size} numbers: it must be a part"
        if group.shape is not None and int(np.prod(group.shape)) != group.state_size:
            yield f"{who} has observations of shape {group.shape}, and states of {group.state_size} numbers"
        if group.box is not None and int(np.prod(group.box.shape)) != group.n_actions:
            yield f"{who} has actions in {group.box}, and says that they are {group.n_actions} numbers"
        if group.box is not None and group.masked:
            yield f"{who} has continuous actions and a mask of legal ones: masks are for choices"
    sizes: dict[str, tuple[int, int]] = {}
    for group in game.groups:
        if sizes.setdefault(group.role, (group.state_size, group.n_actions)) != (group.state_size, group.n_actions):
            yield f"groups of the role '{group.role}' have states or actions of other sizes: they share a policy"
    teams = sorted({group.team for group in game.groups})
    if teams != list(range(len(teams))):
        yield f"teams are numbered from 0 without a gap, not {teams}"


def _results(game: Game) -> Iterator[str]:
    for team in sorted({group.team for group in game.groups}):
        for column, values in game.results(team).items():
            if column not in Round.model_fields:
                yield f"results({team}) has '{column}', which is no column of a row (marlrobust.rows.Round)"
            elif np.shape(values) != (game.rounds,):
                yield f"results({team})['{column}'] must have one value per round"


class _Play:
    """One start of the game, played with random actions; what it showed, as bytes, by step and round."""

    def __init__(self, game: Game, steps: int) -> None:
        self.game, self.steps = game, steps
        self.told: list[tuple[int, int, bytes]] = []  # round, group, what was shown of it, or what came of it
        self.broken = False  # whether it could not be played on
        self.living: list[set[tuple[int, int]]] = []

    def of_round(self, r: int) -> list[tuple[int, int, bytes]]:
        return [part for part in self.told if part[0] == r]

    def faults(self, seeds: Ints, swap: Any) -> Iterator[str]:
        """Play, and say what is wrong."""
        game, groups = self.game, self.game.groups
        game.reset(seeds, swap)
        yield from self._arrays()
        self.living = [{(r, i) for r in range(game.rounds) for i in range(group.size)} for group in groups]
        if not self.broken and not bool(game.active.all()):
            yield "reset must start all rounds: active must be true for each"
        rngs = [stream(0, "check", int(seed)) for seed in seeds]
        for step in range(self.steps):
            if self.broken or not game.active.any():
                return
            before, steps = game.active.copy(), game.steps.copy()
            seen = [game.observe(g) for g in range(len(groups))]
            for g, decisions in enumerate(seen):
                yield from self._seen(g, decisions, step)
            if self.broken:
                return
            draws = [rng.random(sum(group.size for group in groups)) for rng in rngs]
            if any((wrong := self._illegal(g, d)) for g, d in enumerate(seen)):
                self.broken = True
                yield wrong
                return
            actions = [self._actions(g, d, draws) for g, d in enumerate(seen)]
            kept = [(d.round.copy(), d.agent.copy()) for d in seen]
            outcomes = game.step(actions)
            if len(outcomes) != len(groups):
                self.broken = True
                yield f"step must return an outcome for each of {len(groups)} groups, not {len(outcomes)}"
                return
            for g, outcome in enumerate(outcomes):
                yield from self._outcome(g, outcome, *kept[g])
            if self.broken:
                return
            yield from self._after(before, steps)

    def _arrays(self) -> Iterator[str]:
        game, r = self.game, self.game.rounds
        wanted: dict[str, tuple[tuple[int, ...], type]] = {
            "active": ((r,), np.bool_),
            "ended": ((r,), np.bool_),
            "swapped": ((r,), np.bool_),
            "steps": ((r,), np.integer),
            "alive": ((r, len(game.groups)), np.integer),
        }
        for name, (shape, kind) in wanted.items():
            value = getattr(game, name, None)
            if not isinstance(value, np.ndarray) or value.shape != shape or not np.issubdtype(value.dtype, kind):
                self.broken = True
                yield f"{name} must be an array of shape {shape} and type {kind.__name__}"

    def _seen(self, g: int, d: Decisions, step: int) -> Iterator[str]:
        """What is wrong with an observation."""
        game, group, call = self.game, self.game.groups[g], f"observe({g})"
        wrong = list(_shapes(call, d, group.state_size, group.n_actions))
        self.broken |= bool(wrong)
        yield from wrong
        if wrong:
            return
        rows = list(zip(d.round.tolist(), d.agent.tolist(), strict=True))
        if d.group != g:
            yield f"{call} must say that its group is {g}"
        if rows != sorted(set(rows)):
            yield f"{call} must show each agent once, ordered by round, then agent"
        if any(not (0 <= r < game.rounds and 0 <= i < group.size) for r, i in rows):
            self.broken = True
            yield f"{call} shows agents that there are not: rounds are below {game.rounds}, agents below {group.size}"
            return
        if any(not game.active[r] for r, _ in rows):
            yield f"{call} shows agents of a round that is over"
        if not np.array_equal(d.step, game.steps[d.round]):
            yield f"{call} must say of each agent the step of its round"
        if step == 0 and bool(d.mean_actions.any()):
            yield f"{call} must show mean actions of zero at a round's start"
        if set(rows) - self.living[g]:
            yield f"{call} shows agents that had died or gone: they must not come back"
        self.living[g] = set(rows)
        counts = np.bincount(d.round, minlength=game.rounds)
        if not np.array_equal(counts[game.active], game.alive[game.active, g]):
            yield f"alive[:, {g}] must count the agents that {call} shows"
        where = game.positions(g)
        if np.shape(where) != (len(d), 2):
            yield f"positions({g}) must be (n, 2) for the agents just observed"
        states = d.dense.numpy()
        for r in np.unique(d.round).tolist():
            self.told.append((r, g, states[d.round == r].tobytes()))

    def _illegal(self, g: int, d: Decisions) -> str:
        """Why a policy could play an action that is not legal; nothing where it cannot."""
        group, mask = self.game.groups[g], d.mask
        if mask is None:
            return f"group {g} is masked, and observe({g}) shows no mask" if group.masked and len(d) else ""
        if not group.masked:
            return (
                f"observe({g}) shows a mask, and group {g} is not masked: a policy could play actions that are not "
                "legal (an environment that tells of them in its infos does so at reset, too)"
            )
        if tuple(mask.shape) != (len(d), group.n_actions) or str(mask.dtype) != "torch.bool":
            return f"the mask of observe({g}) must be ({len(d)}, {group.n_actions}) bool"
        return "" if bool(mask.any(1).all()) else f"observe({g}) shows an agent that has no legal action"

    def _actions(self, g: int, d: Decisions, draws: Sequence[np.ndarray]) -> Actions:
        """Random legal ones, which depend on the agent's round and number alone."""
        group = self.game.groups[g]
        start = sum(group.size for group in self.game.groups[:g])
        table = np.array([draw[start : start + group.size] for draw in draws])
        share = table[d.round, d.agent]
        if group.box is not None:
            low, high = (end.reshape(-1).astype(np.float64) for end in (group.box.low, group.box.high))
            low = np.where(np.isfinite(low), low, np.minimum(high, 1) - 2)
            high = np.where(np.isfinite(high), high, low + 2)
            parts = (share[:, None] * (1 + np.arange(group.n_actions))) % 1
            return (low + parts * (high - low)).astype(np.float32)
        legal = np.ones((len(d), group.n_actions), np.bool_) if d.mask is None else d.mask.numpy()
        nth = (share * legal.sum(1)).astype(np.int64)
        chosen: Ints = (legal.cumsum(1) > nth[:, None]).argmax(1)
        return chosen

    def _outcome(self, g: int, outcome: Outcome, rounds: Ints, agents: Ints) -> Iterator[str]:
        """What is wrong with what a step brought."""
        n, group = len(rounds), self.game.groups[g]
        parts: dict[str, tuple[tuple[int, ...], type]] = {
            "rewards": ((n,), np.float32),
            "dead": ((n,), np.bool_),
            "mean_actions": ((n, group.n_actions), np.float32),
        }
        for name, (shape, kind) in parts.items():
            value = getattr(outcome, name)
            if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != kind:
                self.broken = True
                yield f"{name} of group {g} after a step must be {shape} {kind.__name__}"
        if self.broken:
            return
        if not np.isfinite(outcome.rewards).all():
            yield f"rewards of group {g} are not all finite numbers"
        if n and group.box is None and not np.allclose(outcome.mean_actions.sum(1), 1, atol=1e-4):
            yield f"mean_actions of group {g} must be shares of actions, which sum to 1"
        for r in np.unique(rounds).tolist():
            self.told.append((r, g, outcome.rewards[rounds == r].tobytes()))
        died = set(zip(rounds[outcome.dead].tolist(), agents[outcome.dead].tolist(), strict=True))
        self.living[g] -= died

    def _after(self, before: Any, steps: Ints) -> Iterator[str]:
        """What is wrong with the rounds after a step."""
        game = self.game
        if (game.active & ~before).any():
            yield "a round that was over goes on: only reset may start it again"
        if not np.array_equal(game.steps, steps + before):
            yield "steps must grow by one in each round that goes on, and in no other"
        if (game.ended & game.active).any():
            yield "a round that has ended must not be active"


def _shapes(call: str, d: Decisions, state_size: int, n_actions: int) -> Iterator[str]:
    """What is wrong with the types and shapes of an observation."""
    if not isinstance(d, Decisions):
        yield f"{call} must return Decisions, not {type(d).__name__}"
        return
    n = len(d.round)
    kind = d.states.values.dtype if isinstance(d.states, SparseStates) else d.states.dtype
    shape = (len(d.states), d.states.size) if isinstance(d.states, SparseStates) else tuple(d.states.shape)
    if str(kind) != "torch.float32":
        yield f"states of {call} must be float32, not {str(kind).removeprefix('torch.')}"
    if shape != (n, state_size):
        yield f"states of {call} must be of shape ({n}, {state_size}), not {shape}"
    if tuple(d.mean_actions.shape) != (n, n_actions) or str(d.mean_actions.dtype) != "torch.float32":
        yield f"mean_actions of {call} must be ({n}, {n_actions}) float32"
    for name in ("round", "agent", "step"):
        value = getattr(d, name)
        if np.shape(value) != (n,) or not np.issubdtype(value.dtype, np.integer):
            yield f"{name} of {call} must be ({n},) whole numbers"
    if str(kind) == "torch.float32" and shape == (n, state_size) and not bool(d.dense.isfinite().all()):
        yield f"states of {call} are not all finite numbers"
