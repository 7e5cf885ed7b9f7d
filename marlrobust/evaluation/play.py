"""One cell, played: its rounds, and what its rows share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from marlrobust.attacks.victim_search import FixedVictims
from marlrobust.attacks.victims import Victims
from marlrobust.evaluation.observer import Observer, Witness
from marlrobust.evaluation.plan import Cell, parameters_json
from marlrobust.evaluation.probes import Sample, measure, together
from marlrobust.evaluation.provenance import computed_by, instructions
from marlrobust.evaluation.proving import Proving, provers
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.games.game import Bools, Floats, Ints
from marlrobust.policies.policy import Policy
from marlrobust.rows import Facts, Round
from marlrobust.streams import stream, torch_stream

BATCH = 64
"""Rounds that are played at once, at most: each takes memory for an engine."""


def play(cell: Cell, observers: Sequence[Observer] = ()) -> tuple[Facts, list[Round]]:
    """Play the cell's rounds. On one thread: sums keep their order.

    observers: watch all that is played, rounds in which victims are searched for included; witnesses among them watch
    the cell's own rounds alone.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sides = cell.load()
        adversary = _adversary(cell, sides, [o for o in observers if not isinstance(o, Witness)])
        sample = Sample(stream(cell.seed, "checks"))
        rounds = play_numbers(cell, sides, cell.numbers, cell.seed, adversary, (*observers, sample))
        decisions = sample.decisions()
        rng = torch_stream(cell.seed, "checks", device=cell.device)
        probed = [
            (len(some), measure(sides[0][role], cell.attacks[role], some, rng))
            for group, some in decisions.items()
            for role in [cell.groups[group].role]
        ]
    finally:
        torch.set_num_threads(threads)
    found = adversary.victims if adversary else None
    return facts_of(cell, together(probed), found), rounds


def play_again(cell: Cell, number: int, observers: Sequence[Observer]) -> Round:
    """The cell's round of this number once more: with all that are played at once with it, whose chance it shares.

    Victims that were searched for are part of the cell already, as `FixedVictims`.
    """
    first = number - (number - cell.first) % BATCH
    numbers = range(first, min(first + BATCH, cell.numbers.stop))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        adversary = _adversary(cell, sides := cell.load(), ())
        return play_numbers(cell, sides, numbers, cell.seed, adversary, observers)[number - first]
    finally:
        torch.set_num_threads(threads)


def play_numbers(
    cell: Cell,
    sides: Sequence[Mapping[str, Policy]],
    numbers: Sequence[int],
    seed: int,
    adversary: Adversary | None,
    observers: Sequence[Observer] = (),
) -> list[Round]:
    """Rounds of the given numbers in the cell's game, a batch at a time."""
    played: list[Round] = []
    proofs = provers(cell, sides[0]) if adversary else {}
    for first in range(0, len(numbers), BATCH):
        part = numbers[first : first + BATCH]
        proving = Proving(proofs, len(part))
        own = adversary and replace(adversary, victims=adversary.victims.part(first, first + len(part)))
        rounds = play_rounds(
            cell.game.make(len(part)),
            *sides,
            seed=seed,
            tested=cell.team,
            adversary=own,
            numbers=part,
            greedy=cell.greedy,
            device=cell.device,
            observers=[*observers, *([proving] if proofs else [])],
        )
        played += proving.told(rounds) if proofs else rounds
    return played


def _adversary(cell: Cell, sides: Sequence[Mapping[str, Policy]], observers: Sequence[Observer]) -> Adversary | None:
    """Who attacks, after the victims were searched for that have to be."""
    if not cell.attacks:
        return None
    adversary = Adversary(cell.attacks, cell.agents, cell.victims, cell.budget)
    rehearse = partial(_rehearse, cell, sides, adversary, observers)
    return replace(adversary, victims=cell.victims.search(cell.agents, cell.size, rehearse))


def rehearsal_seed(seed: int) -> int:
    """The seed of a search's rounds: from a stream of its own, and larger than any that a user gives."""
    return 2**63 + int(stream(seed, "rehearsal").integers(2**62))


def _rehearse(
    cell: Cell,
    sides: Sequence[Mapping[str, Policy]],
    adversary: Adversary,
    observers: Sequence[Observer],
    victims: Victims,
    numbers: Ints,
) -> tuple[Floats, Bools]:
    """See `attacks.victims.Rehearse`."""
    tried = replace(adversary, victims=victims)
    played = play_numbers(cell, sides, numbers.tolist(), rehearsal_seed(cell.seed), tried, observers)
    return np.array([r.reward for r in played]), np.array([r.swapped for r in played])


def facts_of(cell: Cell, probed: dict[str, Any], victims: Victims | None) -> Facts:
    """What all of the cell's rows share."""
    own, foe, threat = cell.policy, cell.opponent, cell.threat
    teams = list(cell.game.teams)
    return Facts(
        scenario=own.scenario,
        team="+".join(teams[i] for i in cell.team),
        policy=own.name,
        method=own.card.method,
        opponent=foe.name if foe else "",
        attack=cell.attack_name,
        epsilon=threat.epsilon if threat else 0.0,
        attacked_agents=cell.agents,
        victims=cell.victims_name,
        budget=cell.budget or 0,
        seed=cell.seed,
        cell=cell.id,
        norm=threat.norm if threat else "",
        features=cell.features if threat else "",
        in_range=bool(threat and threat.ranged),
        greedy=cell.greedy,
        attack_parameters=parameters_json(cell.attacks),
        victims_parameters=json.dumps(cell.victims.parameters() if threat else {}, sort_keys=True),
        victims_found=json.dumps(victims.agents) if isinstance(victims, FixedVictims) else "",
        search_rounds=cell.rehearsals,
        game=cell.game.model_dump_json(),
        team_size=cell.size,
        opponents=sum(group.size for group in cell.groups) - cell.size,
        policy_hash=own.hash,
        opponent_hash=foe.hash if foe else "",
        opponent_method=foe.card.method if foe else "",
        train_seed=own.card.seed,
        train_rounds=own.card.rounds,
        **probed,
        instructions=instructions(),
        versions=json.dumps(computed_by() | cell.game.versions, sort_keys=True),
    )
