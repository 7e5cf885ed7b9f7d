"""A grid of cells, policy x attack x epsilon x count: each is played once, as a batch of rounds, and stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch

from marlrobust.attacks import kernels
from marlrobust.attacks.attack import ATTACKS, Attack, Threat
from marlrobust.config import AttackSettings, GameSettings, SweepSettings
from marlrobust.errors import UserError
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.games.game import Team
from marlrobust.games.scenarios import make_game
from marlrobust.policies.checkpoint import load_policy, versions
from marlrobust.policies.runs import StoredPolicy

CLEAN = AttackSettings(name="none")


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
    rounds: int
    seed: int
    greedy: bool
    device: str

    @property
    def name(self) -> str:
        """Names the cell's file: readable, and unique by all that its rows depend on."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {k: values[k].card.hash for k in ("policy", "opponent")}
        values |= {k: values[k].model_dump(mode="json") for k in ("game", "attack")}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
        what = f"{self.attack.name}-e{self.epsilon:g}-k{self.agents}"
        return f"{self.game.scenario}-{self.policy.name}-{what}-{digest}"


@dataclass(frozen=True)
class Sweep:
    """cells: to be played; counts: (scenario, count asked for, team size) of counts above the team's size."""

    cells: tuple[Cell, ...]
    counts: tuple[tuple[str, int, int], ...]


def plan(settings: SweepSettings, policies: Iterable[tuple[StoredPolicy, StoredPolicy]]) -> Sweep:
    """The sweep over `policies`, each with its opponent. Raises UserError for an attack that is not as it should be.

    A clean cell serves every attack; a count above the team's size is the whole team's, played once.
    """
    cells: list[Cell] = []
    above: dict[tuple[str, int, int], None] = {}
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
                cells.append(Cell(attack=CLEAN, epsilon=0.0, agents=0, **shared))
                continue
            if count > team.size:
                above[(game.scenario, count, team.size)] = None
            for asked in settings.attacks:
                attack = _resolved(asked, policy)
                for epsilon in settings.epsilons:
                    make_attack(attack, settings.norm, epsilon, settings.features, team)
                    cells.append(Cell(attack=attack, epsilon=epsilon, agents=min(count, team.size), **shared))
    return Sweep(tuple({cell.name: cell for cell in cells}.values()), tuple(above))


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
    kind = ATTACKS[settings.name]
    known = [f.name for f in fields(kind) if f.init and f.name != "threat"]
    odd = sorted(set(settings.parameters) - set(known))
    if odd:
        raise UserError(f"attack '{settings.name}' has no parameter '{odd[0]}': it has {', '.join(known) or 'none'}")
    try:
        return kind(threat=Threat(norm=norm, epsilon=epsilon, features=mask), **settings.parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UserError(f"attack '{settings.name}' does not take {settings.parameters}: {error}") from None


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
        attack = make_attack(cell.attack, cell.norm, cell.epsilon, cell.features, game.teams[0])
        rounds = play_rounds(
            game,
            *sides,
            seed=cell.seed,
            attack=attack,
            count=cell.agents,
            greedy=cell.greedy,
            device=cell.device,
            on_end=on_end,
        )
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame([asdict(r) for r in rounds]).assign(**_provenance(cell, game.teams[0], attack))[COLUMNS]


COLUMNS = [
    "scenario", "policy", "method", "opponent", "attack", "epsilon", "attacked_agents", "round", "seed",
    "win", "draw", "kills", "losses", "reward", "steps", "flip_rate",
    "policy_hash", "opponent_hash", "team_size", "swapped", "norm", "features", "victims", "greedy",
    "attack_parameters", "train_rounds", "game", "versions",
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
        "victims": "random",
        "greedy": cell.greedy,
        "attack_parameters": json.dumps(_without_mask(attack.parameters()) if attack else {}),
        "train_rounds": cell.policy.card.rounds,
        "game": cell.game.model_dump_json(exclude_none=True),
        # the processor decides whether an attack of precision "auto" computes in integers
        "versions": json.dumps({**versions(), "int8": str(kernels.available())}),
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
