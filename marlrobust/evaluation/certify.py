"""How many decisions an adversary could have turned: an attack from below, a certificate from above."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from marlrobust.attacks.attack import ATTACKS, Attack, Threat
from marlrobust.config import CertifySettings
from marlrobust.evaluation.rollout import play_rounds
from marlrobust.evaluation.runner import choose
from marlrobust.evaluation.store import Store
from marlrobust.evaluation.sweep import make_attack
from marlrobust.games.scenarios import make_game
from marlrobust.policies.bounds import CHUNK, certify
from marlrobust.policies.checkpoint import load_policy, versions
from marlrobust.policies.networks import MeanFieldPolicy, Policy
from marlrobust.policies.runs import StoredPolicy
from marlrobust.progress import Progress
from marlrobust.streams import stream, torch_stream

CELLS = "decisions"
"""Folder of the rows, beside an evaluation's cells."""


def run_certify(settings: CertifySettings, runs: Path, folder: Path, say: Callable[[str], None]) -> pd.DataFrame:
    """One row a decision and epsilon, stored under `folder`; what is stored there is not computed again.

    Columns: scenario, policy, method, epsilon, decision, flipped (by the attack), certified, by_intervals (without
    CROWN), margin (its lower bound), and what repeats them. Raises UserError for what is not there.
    """
    ATTACKS[settings.attack.name]  # said before anything else: an unknown name
    store = Store(folder / CELLS, say)
    pairs = choose(settings, runs)
    frames = []
    total = len(pairs) * len(settings.epsilons) * settings.decisions
    with Progress(total, "decisions", "certify") as progress:
        for policy, opponent in pairs:
            decided: tuple[MeanFieldPolicy, Tensor, Tensor] | None = None
            for epsilon in settings.epsilons:
                name = _name(settings, policy, opponent, epsilon)
                rows = store.read(name, settings.decisions, "decision")
                if rows is None:
                    decided = decided or decisions(settings, policy, opponent)
                    rows = _bracket(settings, policy, opponent, epsilon, *decided, progress.advance)
                    store.write(name, rows)
                else:
                    progress.advance(settings.decisions)
                frames.append(rows)
    return pd.concat(frames, ignore_index=True)


def decisions(
    settings: CertifySettings, policy: StoredPolicy, opponent: StoredPolicy
) -> tuple[MeanFieldPolicy, Tensor, Tensor]:
    """The policy, and what its agents saw in decisions drawn evenly from all of `settings.rounds` rounds: states (n, d)
    and mean actions (n, a), with replacement."""
    game = make_game(settings.game(policy.card.scenario), settings.rounds)
    sides = []
    for stored, team in zip((policy, opponent), game.teams, strict=True):
        sides.append(load_policy(stored.path, scenario=policy.card.scenario, role=team.role)[0])
    slots = _Slots(settings.decisions, stream(settings.seed, "decisions"))
    idle, everyone = _Idle(threat=Threat(epsilon=0.0)), game.teams[0].size
    play_rounds(game, *sides, seed=settings.seed, attack=idle, count=everyone, on_attack=slots.see)
    return sides[0], *slots.drawn()


class _Idle(Attack):
    """Changes nothing."""

    def perturb(self, policy: Policy, states: Tensor, mean_actions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Attack.perturb`."""
        return states


class _Slots:
    """n slots, each of which holds one of all decisions seen, every one with the same chance (Vitter 1985)."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.slots: list[tuple[Tensor, Tensor] | None] = [None] * n
        self.rng, self.seen = rng, 0

    def see(self, states: Tensor, mean_actions: Tensor) -> None:
        """Look at states (n, d) and mean actions (n, a); what is kept is copied."""
        n = len(states)
        self.seen += n
        takes = np.flatnonzero(self.rng.random(len(self.slots)) < n / self.seen)
        for slot, row in zip(takes, self.rng.integers(n, size=len(takes)), strict=True):
            self.slots[slot] = states[row].clone(), mean_actions[row].clone()

    def drawn(self) -> tuple[Tensor, Tensor]:
        """States (n, d) and mean actions (n, a)."""
        states, mean_actions = zip(*(slot for slot in self.slots if slot is not None), strict=True)
        return torch.stack(states), torch.stack(mean_actions)


def _bracket(
    settings: CertifySettings,
    stored: StoredPolicy,
    opponent: StoredPolicy,
    epsilon: float,
    policy: MeanFieldPolicy,
    states: Tensor,
    mean_actions: Tensor,
    wrote: Callable[[int], object],
) -> pd.DataFrame:
    """The rows of one policy and epsilon."""
    team = make_game(settings.game(stored.card.scenario), 1).teams[0]
    attack = make_attack(settings.attack, "l_inf", epsilon, "all", team)
    assert attack is not None
    rng = torch_stream(settings.seed, "attack")
    moved = attack.perturb(policy, states, mean_actions, rng)
    with torch.no_grad():
        flipped = policy.logits(moved, mean_actions).argmax(1) != policy.logits(states, mean_actions).argmax(1)
    parts = []
    for first in range(0, len(states), CHUNK):
        rows = slice(first, first + CHUNK)
        parts.append(certify(policy.actor, states[rows], mean_actions[rows], epsilon))
        wrote(len(parts[-1].margin))
    columns = {
        "decision": np.arange(len(states)),
        "flipped": flipped.numpy(),
        "certified": torch.cat([p.certified for p in parts]).numpy(),
        "by_intervals": torch.cat([p.intervals for p in parts]).numpy(),
        "margin": torch.cat([p.margin for p in parts]).numpy(),
    }
    known: dict[str, Any] = {
        "scenario": stored.card.scenario,
        "policy": stored.name,
        "method": stored.card.method,
        "opponent": opponent.name,
        "epsilon": epsilon,
        "attack": settings.attack.name,
        "attack_parameters": json.dumps(attack.parameters()),
        "rounds": settings.rounds,
        "seed": settings.seed,
        "policy_hash": stored.card.hash,
        "opponent_hash": opponent.card.hash,
        "versions": json.dumps(versions()),
    }
    return pd.DataFrame(columns).assign(**known)


def _name(settings: CertifySettings, policy: StoredPolicy, opponent: StoredPolicy, epsilon: float) -> str:
    """Names the cell's file: readable, and unique by all that its rows depend on."""
    shared = settings.model_dump(mode="json", exclude={"policies", "scenario", "opponent", "epsilons"})
    values = [shared, policy.card.hash, opponent.card.hash, epsilon]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
    return f"{policy.card.scenario}-{policy.name}-e{epsilon:g}-{digest}"
