"""What attacks and trained teams really do, beside what theory allows: tabular games, small battles, large ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlrobust.attacks import ATTACKS
from marlrobust.attacks.learned import ADVERSARY, Learned, adversary_name
from marlrobust.attacks.threat import Threat
from marlrobust.games import SCENARIOS
from marlrobust.policies.library import BUNDLED, Library
from marlrobust.streams import stream
from marlrobust.theory.battle import SmallBattle, damages
from marlrobust.theory.bound import printed_factor
from marlrobust.theory.game import random_games
from marlrobust.theory.section import Section
from marlrobust.theory.teams import cost
from marlrobust.theory.theorems import one_of
from marlrobust.theory.truth import learned, shares, trained

NAMES = ("random", "pgd", "auto", "critic")
EPSILON = 0.075
BATTLE, SOLDIER = "battle", "soldier"

BATTLES = (
    *(("mfac", size, first, 2) for size in (12, 14) for first in (1, 3, 5, 7)),
    *(("romfac", 12, first, steps) for first, steps in ((0, 6), (1, 2), (2, 3), (3, 2))),
)
"""Policy, side of the map, first attacked step, attacked steps. On these maps two agents fight two."""

TEAMS = (
    *("mfac", "mfac-seed1", "mfac-seed2", "sa-mfac", "sa-mfac3", "romfac1"),
    *("romfac", "romfac-seed1", "romfac-seed2"),
)


def attacks(seed: int, games: int = 8, rounds: int = 320) -> Section:
    """Each attack's share of the optimal damage on random tabular games; values are exact."""
    about = "Teams of two in random games of 4 states and 3 actions; the ball: l_inf 0.5 around one-hot states."
    section = Section("attacks", "Attacks against the optimal adversary: tabular games", about)
    rng = stream(seed, "theory", 6)
    batch, _ = random_games(rng, games, agents=2, states=4, actions=3, attacked=2, gamma=0.9)
    found = []
    for i in range(games):
        victim = trained(one_of(batch, i), epsilon=0.5, temperature=0.3, seed=seed + i)
        tried = {name: ATTACKS[name](threat=victim.threat) for name in NAMES}
        found.append(shares(victim, {**tried, "learned": learned(victim, rounds=rounds, seed=seed)}))
    names = list(found[0].damage)
    table = np.array([[shares.damage[name] for name in names] for shares in found])
    lost = np.array([shares.clean - shares.worst for shares in found])
    section.values |= {
        "games": [{"clean": s.clean, "worst": s.worst, "damage": dict(s.damage)} for s in found],
        "share": {name: float(table[:, i] @ lost / lost.sum()) for i, name in enumerate(names)},
        "least": {name: float(table[:, i].min()) for i, name in enumerate(names)},
    }
    for i, name in enumerate(names):
        text = f"{section.values['share'][name]:.2f} (from {table[:, i].min():.2f} to {table[:, i].max():.2f})"
        section.add(f"share of the optimal damage, {games} games: {name}", text)
    return section


def small_battles(draws: int = 8) -> Section:
    """Each attack's share of the damage of the worst sequence of turned actions, in battles of two against two."""
    about = "Two against two, likeliest actions on both sides, one agent attacked with epsilon 0.075."
    section = Section("battles", "Attacks against the optimal adversary: small battles", about)
    library, threat = Library(), Threat(epsilon=EPSILON)
    opponent = library.policy(f"{BUNDLED}a2c", BATTLE, SOLDIER).load()
    found: list[dict[str, Any]] = []
    for name, size, first, steps in BATTLES:
        stored = library.policy(f"{BUNDLED}{name}", BATTLE, SOLDIER)
        scenario = SCENARIOS[BATTLE].model_validate({"map_size": size, "max_steps": 20})
        battle = SmallBattle(scenario, stored.load(), opponent, threat, 7, first, steps)
        tried = {attack: ATTACKS[attack](threat=threat) for attack in NAMES}
        adversary = library.find(f"{BUNDLED}{adversary_name(name)}", BATTLE, ADVERSARY)
        solution, share = damages(battle, {**tried, "learned": Learned(threat=threat, adversary=adversary)}, draws)
        clean = battle.clean()
        found.append({
            "policy": name, "map_size": size, "first": first, "steps": steps, "clean": clean, "worst": solution.worst,
            "sequences": solution.sequences, "actions": list(solution.actions), "damage": share,
        })  # fmt: skip
    section.values["battles"] = found
    section.values["share"] = {}
    for name in dict.fromkeys(battle[0] for battle in BATTLES):
        own = [f for f in found if f["policy"] == name]
        lost = np.array([f["clean"] - f["worst"] for f in own])
        sequences = sum(f["sequences"] for f in own)
        section.add(f"{name}: {len(own)} battles, sequences played", str(sequences))
        section.add(f"{name}: mean reward, clean and worst",
                    f"{np.mean([f['clean'] for f in own]):.2f}, {np.mean([f['worst'] for f in own]):.2f}")  # fmt: skip
        total = {a: float(np.array([f["damage"][a] for f in own]) @ lost / lost.sum()) for a in own[0]["damage"]}
        section.values["share"][name] = total
        for attack, value in total.items():
            section.add(f"{name}: share of the worst damage: {attack}", f"{value:.2f}")
    return section


def teams(seed: int, rounds: int = 4) -> Section:
    """The two sides of Theorem 4 on the bundled teams: total variation, and reward lost."""
    about = "Battle, 16 against 16 on a map of 24, PGD with epsilon 0.075 on the whole team; reward per round."
    section = Section("teams", "Theorem 4 on trained teams", about)
    library = Library()
    opponent = library.policy(f"{BUNDLED}a2c", BATTLE, SOLDIER).load()
    scenario = SCENARIOS[BATTLE].model_validate({"map_size": 24, "max_steps": 200})
    attack = ATTACKS["pgd"](threat=Threat(epsilon=EPSILON))
    found = {}
    for name in TEAMS:
        policy = library.policy(f"{BUNDLED}{name}", BATTLE, SOLDIER).load()
        whole = cost(scenario, policy, opponent, attack, (16,), rounds=rounds, seed=seed)[0]
        found[name] = {**vars(whole), "lost": whole.lost}
        text = f"{whole.variation:.2f}, {whole.lost:.1f} of {whole.clean:.1f}"
        section.add(f"{name}: total variation, reward lost", text)
    variation, lost = (np.array([f[key] for f in found.values()]) for key in ("variation", "lost"))
    section.values["teams"] = found
    section.values["correlation"] = float(np.corrcoef(variation, lost)[0, 1])
    section.add(f"correlation of the two, {len(TEAMS)} teams", f"{section.values['correlation']:.2f}")
    factor = float(printed_factor(np.full(1, 5.2), 0.98)[0])
    section.values["printed_factor"] = factor
    section.add("printed factor with gamma 0.98 and rewards up to 5.2", f"{factor:.0f} (says nothing)")
    return section
