"""Rows of the schema that nobody measured, for tests of reports."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from marlrobust.files import digest
from marlrobust.reports.paper import GAMES
from marlrobust.rows import NOT_ATTACKED, Facts, Record, Round, Whole, typed

FIVE = ["mfac", "sa-mfac", "sa-mfac3", "romfac1", "romfac"]
COUNTS = [8, 16, 32, 48, 64]
PGD = {"steps": 10, "step_size": None, "restarts": 1, "start": "state"}
ATTACKED: dict[str, Any] = {"attack": "pgd", "epsilon": 0.075, "attacked_agents": 8}
RECORD = Record(id="1", created="2022-05-15T12:00", command="marlrobust attack", settings={}, cells={})
WHOLES = tuple(Whole(scenario="pursuit", asked=n, team_size=32) for n in (48, 64))

PLAIN: dict[str, Any] = {
    **{n: f.default for part in (Facts, Round) for n, f in part.model_fields.items() if not f.is_required()},
    **{
        "scenario": "battle",
        "team": "red",
        "policy": "synthetic",
        "method": "mfac",
        "opponent": "a2c",
        "attack": NOT_ATTACKED,
    },
    **{"epsilon": 0.0, "attacked_agents": 0, "victims": "random", "budget": 0, "seed": 7, "norm": "l_inf"},
    **{"features": "all", "greedy": False, "victims_parameters": "{}", "victims_found": "", "search_rounds": 0},
    **{"team_size": 64, "opponents": 64, "opponent_hash": "0" * 64, "opponent_method": "a2c", "train_seed": 0},
    **{"train_rounds": 100, "probe_states": 0, "instructions": "AVX2", "versions": '{"source": "1"}'},
    **{name: math.nan for name in Facts.model_fields if name.startswith("probe_") and name != "probe_states"},
    **{"round": 0, "win": True, "draw": False, "kills": 60, "losses": 40, "reward": 300.0, "steps": 400},
    **{"cut": False, "swapped": False, "attacked_steps": 0, "decisions": 0, "flips": 0},
}


def row(**changes: Any) -> dict[str, Any]:
    """One round: a clean win in battle, changed as asked; what depends on other columns follows them."""
    line = PLAIN | changes
    own = {"threat": {"epsilon": line["epsilon"], "norm": line["norm"]}, **(PGD if line["attack"] == "pgd" else {})}
    line.setdefault("attack_parameters", json.dumps(own) if line["attacked_agents"] else "{}")
    line.setdefault("game", json.dumps(GAMES[line["scenario"]]))
    line.setdefault("policy_hash", digest([line["scenario"], line["policy"]]))
    if line["attacked_agents"] and "decisions" not in changes:
        line |= {"decisions": 100, "flips": 50 if "flips" not in changes else line["flips"]}
    if line["scenario"] == "pursuit":
        line |= {"win": None, "draw": None, "kills": None, "losses": None, "team_size": 32}
    identity = [line[name] for name in Facts.model_fields if name != "cell" and not name.startswith("probe_")]
    line.setdefault("cell", digest(identity)[:16])
    return {name: line[name] for name in [*Facts.model_fields, *Round.model_fields]}


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    """The rows as a frame with the schema's types."""
    return typed(pd.DataFrame(list(rows), columns=[*Facts.model_fields, *Round.model_fields]))


def rounds(rewards: list[float], **changes: Any) -> list[dict[str, Any]]:
    """One cell: a round for each reward."""
    return [row(**changes, round=index, reward=reward) for index, reward in enumerate(rewards)]


def attacked(rewards: list[float], **changes: Any) -> list[dict[str, Any]]:
    """One cell of 8 agents attacked by PGD, changed as asked."""
    return rounds(rewards, **ATTACKED | changes)


def synthetic(
    scenarios: tuple[str, ...] = ("battle", "pursuit"),
    attacks: tuple[tuple[str, float], ...] = (("pgd", 0.075),),
    methods: list[str] = FIVE,
    rounds: int = 3,
    counts: list[int] = COUNTS,
) -> pd.DataFrame:
    """Clean and attacked rounds of each method, drawn by chance; pursuit's team is 32."""
    random = np.random.default_rng(0)
    cells = [(NOT_ATTACKED, 0.0, 0), *[(attack, epsilon, n) for attack, epsilon in attacks for n in counts]]
    rows = []
    for scenario in scenarios:
        for method in methods:
            for attack, epsilon, n in cells:
                if scenario == "pursuit" and n > 32:
                    continue
                for index in range(rounds):
                    kills, losses = random.integers(0, 65, 2).tolist()
                    cell = {"attack": attack, "epsilon": epsilon, "attacked_agents": n, "round": index}
                    who = {"scenario": scenario, "method": method, "policy": f"{scenario}-{method}"}
                    end = {"win": kills > losses, "draw": kills == losses, "kills": kills, "losses": losses}
                    flips = {"flips": int(random.integers(0, 101))} if n else {}
                    rows.append(row(**cell, **who, **end, **flips, reward=float(random.normal(300 - n, 20))))
    return frame(*rows)
