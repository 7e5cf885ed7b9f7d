"""A grid of cells, policy x attack x epsilon x victims x count: each a batch of rounds, played once and stored."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from marlrobust.attacks import kernels
from marlrobust.attacks.attack import ATTACKS, Attack, Threat
from marlrobust.attacks.victims import VICTIMS, FixedVictims, TriedVictims, Victims
from marlrobust.config import AttackSettings, GameSettings, SweepSettings, VictimsSettings
from marlrobust.errors import UserError
from marlrobust.evaluation import checks
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.game import Bools, Floats, Ints, Team
from marlrobust.games.scenarios import make_game
from marlrobust.policies.checkpoint import load_policy, versions
from marlrobust.policies.runs import StoredPolicy
from marlrobust.streams import stream, torch_stream

CLEAN = AttackSettings(name="none")

BATCH = 64
"""Rehearsed rounds that are played at once: each takes memory for an engine."""


@dataclass(frozen=True)
class Cell:
    """One policy under one attack with one count of attacked agents. Its rows depend on nothing else."""

    game: GameSettings
    policy: StoredPolicy
    opponent: StoredPolicy
    attack: AttackSettings
    norm: str
    epsilon: float
    features: str
    agents: int
    victims: VictimsSettings
    budget: int | None
    rounds: int
    seed: int
    greedy: bool
    device: str

    @property
    def name(self) -> str:
        """Names the cell's file: readable, and unique by all that its rows depend on."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {k: values[k].card.hash for k in ("policy", "opponent")}
        values |= {k: values[k].model_dump(mode="json") for k in ("game", "attack", "victims")}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
        what = f"{self.attack.name}-e{self.epsilon:g}-k{self.agents}-{self.victims.name}"
        return f"{self.game.scenario}-{self.policy.name}-{what}-{digest}"


@dataclass(frozen=True)
class Sweep:
    """cells: to be played; counts: (scenario, count asked for, team size) of counts above the team's size;
    rehearsals: rounds that a cell's search for its victims plays beside its own, by the cell's name."""

    cells: tuple[Cell, ...]
    counts: tuple[tuple[str, int, int], ...]
    rehearsals: dict[str, int]

    def work(self, cell: Cell) -> int:
        """Rounds to be played for `cell`, rehearsals included."""
        return cell.rounds + self.rehearsals.get(cell.name, 0)


def plan(settings: SweepSettings, policies: Iterable[tuple[StoredPolicy, StoredPolicy]]) -> Sweep:
    """The sweep over `policies`, each with its opponent. Raises UserError for attacks or victims that cannot be.

    A clean cell serves every attack; a count above the team's size is the whole team's, played once.
    """
    cells: list[Cell] = []
    above: dict[tuple[str, int, int], None] = {}
    rehearsals: dict[str, int] = {}
    for policy, opponent in policies:
        game = settings.game(policy.card.scenario)
        team = make_game(game, 1).teams[0]
        shared = {
            "game": game,
            "policy": policy,
            "opponent": opponent,
            **settings.model_dump(include={"norm", "features", "rounds", "seed", "greedy", "device"}),
        }
        for count in settings.agents:
            if count == 0:
                nobody: dict[str, Any] = {"agents": 0, "victims": VictimsSettings(), "budget": None}
                cells.append(Cell(attack=CLEAN, epsilon=0.0, **nobody, **shared))
                continue
            if count > team.size:
                above[(game.scenario, count, team.size)] = None
            size = min(count, team.size)
            attacks = [_resolved(attack, policy) for attack in settings.attacks]
            for attack, epsilon, victims in product(attacks, settings.epsilons, settings.victims):
                make_attack(attack, settings.norm, epsilon, settings.features, team)
                cell = Cell(
                    attack=attack, epsilon=epsilon, agents=size, victims=victims, budget=settings.budget, **shared
                )
                if size and (rehearsed := make_victims(victims).rehearsals(size, team.size)):
                    rehearsals[cell.name] = rehearsed
                cells.append(cell)
    return Sweep(tuple({cell.name: cell for cell in cells}.values()), tuple(above), rehearsals)


def _resolved(attack: AttackSettings, policy: StoredPolicy) -> AttackSettings:
    parameters = ATTACKS[attack.name].resolved(attack.parameters, policy)
    return attack.model_copy(update={"parameters": parameters})


def make_attack(settings: AttackSettings, norm: str, epsilon: float, features: str, team: Team) -> Attack | None:
    """The attack that `settings` describe on states of `team`; None for the clean cell's."""
    if settings.name == CLEAN.name:
        return None
    mask = None
    if features != "all":
        mask = (np.arange(team.state_size) < team.view_size) == (features == "view")
    threat = Threat(norm=norm, epsilon=epsilon, features=mask)  # type: ignore[arg-type]
    attack: Attack = _with_parameters("attack", settings, ATTACKS[settings.name], threat=threat)
    return attack


def make_victims(settings: VictimsSettings) -> Victims:
    """The strategy that `settings` describe."""
    victims: Victims = _with_parameters("victims", settings, VICTIMS[settings.name])
    return victims


def _with_parameters(noun: str, settings: AttackSettings | VictimsSettings, kind: Any, **given: Any) -> Any:
    """A `kind` with the parameters of `settings` and those given; UserError for one that it does not take."""
    known = [f.name for f in fields(kind) if f.init and f.name not in given]
    odd = sorted(set(settings.parameters) - set(known))
    if odd:
        raise UserError(f"{noun} '{settings.name}' has no parameter '{odd[0]}': it has {', '.join(known) or 'none'}")
    try:
        return kind(**given, **settings.parameters)
    except (TypeError, ValueError) as error:
        raise UserError(f"{noun} '{settings.name}' does not take {settings.parameters}: {error}") from None


def play(cell: Cell, on_end: Callable[[int], None] = lambda rounds: None) -> pd.DataFrame:
    """Play the cell's rounds; one row a round, with all that repeats it. On one thread: sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        game = make_game(cell.game, cell.rounds)
        sides = []
        for stored, team in zip((cell.policy, cell.opponent), game.teams, strict=True):
            policy, _ = load_policy(stored.path, scenario=cell.game.scenario, role=team.role)
            sides.append(policy.to(cell.device))
        team = game.teams[0]
        attack = make_attack(cell.attack, cell.norm, cell.epsilon, cell.features, team)
        how: dict[str, Any] = {
            "attack": attack,
            "count": cell.agents,
            "budget": cell.budget,
            "greedy": cell.greedy,
            "device": cell.device,
            "on_end": on_end,
        }
        chosen = make_victims(cell.victims)
        rehearsed = chosen.rehearsals(cell.agents, team.size) if attack else 0
        if rehearsed:
            chosen = chosen.search(cell.agents, team.size, partial(_rehearse, cell, sides, how))
        sample = checks.Sample(stream(cell.seed, "checks"))
        rounds = play_rounds(game, *sides, seed=cell.seed, victims=chosen, **how, on_attack=sample.see)
        probed = dict.fromkeys(checks.MEASURED, math.nan)
        if attack:
            rng = torch_stream(cell.seed, "checks", device=cell.device)
            probed = checks.measure(sides[0], attack, sample.states, sample.mean_actions, rng)
    finally:
        torch.set_num_threads(threads)
    known = {**_provenance(cell, team, attack), **probed, "search_rounds": rehearsed, "victims_found": _found(chosen)}
    return pd.DataFrame([asdict(r) for r in rounds]).assign(**known)[COLUMNS]


def rehearsal_seed(seed: int) -> int:
    """The seed of a search's rounds: from a stream of its own, and larger than any that a user gives."""
    return 2**63 + int(stream(seed, "rehearsal").integers(2**62))


def _rehearse(
    cell: Cell, sides: list[Any], how: dict[str, Any], victims: TriedVictims, numbers: Ints
) -> tuple[Floats, Bools]:
    """See `attacks.victims.Rehearse`; a batch at a time."""
    seed = rehearsal_seed(cell.seed)
    played = []
    for first in range(0, len(numbers), BATCH):
        part = numbers[first : first + BATCH].tolist()
        game = make_game(cell.game, len(part))
        own = victims.part(first, first + len(part))
        played += play_rounds(game, *sides, seed=seed, numbers=part, victims=own, **how)
    return np.array([r.reward for r in played]), np.array([r.swapped for r in played])


def _found(victims: Victims) -> str:
    """The agents that a search found, for either side, as JSON; empty where nothing was searched for."""
    return json.dumps(victims.agents) if isinstance(victims, FixedVictims) else ""


COLUMNS = [
    "scenario", "policy", "method", "opponent", "attack", "epsilon", "attacked_agents", "round", "seed",
    "win", "draw", "kills", "losses", "reward", "steps", "flip_rate",
    "victims", "budget", "attacked_steps", "search_rounds",
    "policy_hash", "opponent_hash", "team_size", "swapped", "norm", "features", "greedy", "attack_parameters",
    *checks.MEASURED,
    "victims_parameters", "victims_found", "train_seed", "train_rounds", "game", "versions",
]  # fmt: skip


def _provenance(cell: Cell, team: Team, attack: Attack | None) -> dict[str, Any]:
    return {
        "scenario": cell.game.scenario,
        "policy": cell.policy.name,
        "method": cell.policy.card.method,
        "opponent": cell.opponent.name,
        "attack": cell.attack.name,
        "epsilon": cell.epsilon,
        "attacked_agents": cell.agents,
        "seed": cell.seed,
        "policy_hash": cell.policy.card.hash,
        "opponent_hash": cell.opponent.card.hash,
        "team_size": team.size,
        "norm": cell.norm,
        "features": cell.features,
        "victims": cell.victims.name,
        "victims_parameters": json.dumps(make_victims(cell.victims).parameters()),
        "budget": cell.budget or 0,
        "train_seed": cell.policy.card.seed,
        "greedy": cell.greedy,
        "attack_parameters": json.dumps(_without_mask(attack.parameters()) if attack else {}),
        "train_rounds": cell.policy.card.rounds,
        "game": cell.game.model_dump_json(exclude_none=True),
        # the processor decides whether an attack of precision "auto" computes in integers
        "versions": json.dumps({**versions(), "int8": kernels.available()}),
    }


def _without_mask(parameters: dict[str, Any]) -> dict[str, Any]:
    """The mask's indices are long, and the column `features` says what they are."""
    threat = {k: v for k, v in parameters["threat"].items() if k != "features"}
    return {**parameters, "threat": threat}


def rows_as_asked(rows: pd.DataFrame, counts: Iterable[tuple[str, int, int]]) -> pd.DataFrame:
    """The rows, and again those of the whole team under each count that was asked for above its size."""
    frames = [rows]
    asked = rows["attacked_agents"].to_numpy().copy()
    for scenario, count, size in counts:
        whole = rows[(rows["scenario"] == scenario) & (asked == size)]
        frames.append(whole.assign(attacked_agents=count))
    return pd.concat(frames, ignore_index=True)
