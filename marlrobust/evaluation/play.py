"""One cell, played: its rounds, and what its rows share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from marlrobust.attacks.victim_search import FixedVictims
from marlrobust.attacks.victims import Victims
from marlrobust.evaluation.plan import Cell, parameters_json
from marlrobust.evaluation.probes import Sample, measure
from marlrobust.evaluation.provenance import computed_by, instructions
from marlrobust.evaluation.rollout import Adversary, Observer, play_rounds
from marlrobust.games.game import Bools, Floats, Ints
from marlrobust.policies.policy import Policy
from marlrobust.rows import Facts, Round
from marlrobust.streams import stream, torch_stream

BATCH = 64
"""Rounds that are played at once, at most: each takes memory for an engine."""


def play(cell: Cell, observers: Sequence[Observer] = ()) -> tuple[Facts, list[Round]]:
    """Play the cell's rounds. On one thread: sums keep their order.

    observers: watch all that is played, rounds in which victims are searched for included.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sides = (cell.policy.load(cell.device), cell.opponent.load(cell.device))
        adversary = _adversary(cell, sides, observers)
        sample = Sample(stream(cell.seed, "checks"))
        rounds = play_numbers(cell, sides, range(cell.rounds), cell.seed, adversary, (*observers, sample))
        decisions = sample.decisions()
        probed: dict[str, float | None] = {}
        if cell.attack is not None:
            rng = torch_stream(cell.seed, "checks", device=cell.device)
            probed = measure(sides[0], cell.attack, decisions, rng)
    finally:
        torch.set_num_threads(threads)
    found = adversary.victims if adversary else None
    return _facts(cell, 0 if decisions is None else len(decisions), probed, found), rounds


def play_numbers(
    cell: Cell,
    sides: tuple[Policy, Policy],
    numbers: Sequence[int],
    seed: int,
    adversary: Adversary | None,
    observers: Sequence[Observer] = (),
) -> list[Round]:
    """Rounds of the given numbers in the cell's game, a batch at a time."""
    played: list[Round] = []
    for first in range(0, len(numbers), BATCH):
        part = numbers[first : first + BATCH]
        own = adversary and replace(adversary, victims=adversary.victims.part(first, first + len(part)))
        how = {"adversary": own, "greedy": cell.greedy, "device": cell.device, "observers": observers}
        played += play_rounds(cell.game.make(len(part)), *sides, seed=seed, numbers=part, **how)  # type: ignore[arg-type]
    return played


def _adversary(cell: Cell, sides: tuple[Policy, Policy], observers: Sequence[Observer]) -> Adversary | None:
    """Who attacks, after the victims were searched for that have to be."""
    if cell.attack is None:
        return None
    adversary = Adversary(cell.attack, cell.agents, cell.victims, cell.budget)
    rehearse = partial(_rehearse, cell, sides, adversary, observers)
    return replace(adversary, victims=cell.victims.search(cell.agents, cell.teams[0].size, rehearse))


def rehearsal_seed(seed: int) -> int:
    """The seed of a search's rounds: from a stream of its own, and larger than any that a user gives."""
    return 2**63 + int(stream(seed, "rehearsal").integers(2**62))


def _rehearse(
    cell: Cell,
    sides: tuple[Policy, Policy],
    adversary: Adversary,
    observers: Sequence[Observer],
    victims: Victims,
    numbers: Ints,
) -> tuple[Floats, Bools]:
    """See `attacks.victims.Rehearse`."""
    tried = replace(adversary, victims=victims)
    played = play_numbers(cell, sides, numbers.tolist(), rehearsal_seed(cell.seed), tried, observers)
    return np.array([r.reward for r in played]), np.array([r.swapped for r in played])


def _facts(cell: Cell, probed_states: int, probed: dict[str, float | None], victims: Victims | None) -> Facts:
    """What all of the cell's rows share."""
    own, foe = cell.policy, cell.opponent
    return Facts(
        scenario=own.card.scenario,
        policy=own.name,
        method=own.card.method,
        opponent=foe.name,
        attack=cell.attack_name,
        epsilon=cell.attack.threat.epsilon if cell.attack else 0.0,
        attacked_agents=cell.agents,
        victims=cell.victims_name,
        budget=cell.budget or 0,
        seed=cell.seed,
        cell=cell.id,
        norm=cell.attack.threat.norm if cell.attack else "",
        features=cell.features if cell.attack else "",
        greedy=cell.greedy,
        attack_parameters=parameters_json(cell.attack),
        victims_parameters=parameters_json(cell.victims if cell.attack else None),
        victims_found=json.dumps(victims.agents) if isinstance(victims, FixedVictims) else "",
        search_rounds=cell.rehearsals,
        game=cell.game.model_dump_json(),
        team_size=cell.teams[0].size,
        opponents=cell.teams[1].size,
        policy_hash=own.card.hash,
        opponent_hash=foe.card.hash,
        opponent_method=foe.card.method,
        train_seed=own.card.seed,
        train_rounds=own.card.rounds,
        probe_states=probed_states,
        probe_noise=probed.get("probe_noise"),
        probe_probabilities=probed.get("probe_probabilities"),
        probe_zero_gradients=probed.get("probe_zero_gradients"),
        probe_loss_rises=probed.get("probe_loss_rises"),
        instructions=instructions(),
        versions=json.dumps(computed_by(), sort_keys=True),
    )
