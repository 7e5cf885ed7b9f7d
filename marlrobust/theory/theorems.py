"""Theorems 1 to 4 of Zhou and Liu, each run: what holds as printed, and the game where it does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from marlrobust.attacks.threat import Threat
from marlrobust.attacks.victims import FirstVictims
from marlrobust.evaluation.rollout import Adversary, play_rounds
from marlrobust.streams import stream
from marlrobust.theory.bound import bound, printed_factor, sound_factor
from marlrobust.theory.equilibrium import gains, held_equilibria, pure_equilibria, refute, smallest, worst_values
from marlrobust.theory.examples import EXAMPLES, leak
from marlrobust.theory.game import Numbers, Sasg, random_games
from marlrobust.theory.perturbation import contraction, equilibria, exhaustive, optimal, value_iteration
from marlrobust.theory.policies import Shown, TablePolicy, shown
from marlrobust.theory.scenario import Tabular
from marlrobust.theory.section import Section, numbers
from marlrobust.theory.values import adversaries, clean_values, simulate

SIGMAS = 4.0
"""How many standard errors an estimate may be off."""

ROLLED = ("three_states", "same_or_different", "door")
GAMMAS = (0.0, 0.5, 0.9, 0.99)


def one_of(games: Sasg, index: int) -> Sasg:
    """One game of a batch."""
    parts = {name: getattr(games, name)[index] for name in ("transitions", "rewards", "largest")}
    return replace(games, **parts)


def theorem_1(seed: int) -> Section:
    """Values by one linear solve, against dice, and against rounds played like those of every other game."""
    section = Section("theorem_1", "Theorem 1: values", "The Bellman equations of a fixed policy and perturbation.")
    rng, found = stream(seed, "theory", 1), {}
    worst = {"simulated": 0.0, "played": 0.0}
    for name in ROLLED:
        game = EXAMPLES[name].game
        steps = int(np.ceil(np.log(1e-5) / np.log(game.gamma)))
        for policy_name, policy in EXAMPLES[name].policies.items():
            mdp = adversaries(game, policy)
            best = optimal(mdp)
            exact = float(best.values[:, 0].sum())
            mean, error = simulate(game, policy, best.v, 0, runs=1000, steps=steps, rng=rng)
            attack = Shown(threat=Threat(epsilon=1.0), shown=shown(best.v, mdp.choices, game.n_agents))
            player, adversary = TablePolicy(policy), Adversary(attack, game.n_attacked, FirstVictims())
            played = Tabular(example=name, start=0, max_steps=steps).make(200)
            rewards = [r.reward for r in play_rounds(played, player, player, seed=seed, adversary=adversary)]
            estimates = {
                "simulated": (float(mean.sum()), float(error.sum())),
                "played": (float(np.mean(rewards)), float(np.std(rewards, ddof=1) / np.sqrt(len(rewards)))),
            }
            for how, (value, deviation) in estimates.items():
                worst[how] = max(worst[how], abs(value - exact) / max(deviation, 1e-3 * (1 + abs(exact))))
            found[f"{name}: {policy_name}"] = {"exact": exact, **estimates}
    section.values["examples"] = found
    for how, text in (("simulated", "1000 simulated plays"), ("played", "200 rounds through play_rounds")):
        said = f"equal: at most {SIGMAS:g} standard errors"
        section.check(f"solve against {text}, {len(found)} games", f"{worst[how]:.1f} s.e.", said, worst[how] < SIGMAS)
    return section


def theorem_2(seed: int, games: int = 200) -> Section:
    """The operator, its fixed point, and adversaries each for themselves."""
    about = "The operator of the joint optimal perturbation, and whether its fixed point is unique."
    section = Section("theorem_2", "Theorem 2: the optimal perturbation", about)
    rng, values = stream(seed, "theory", 2), section.values
    batch, policies = random_games(rng, games, agents=2, states=3, actions=2, attacked=2, gamma=0.9)
    several, factors, apart = 0, [], 0.0
    for i in range(games):
        mdp = adversaries(one_of(batch, i), policies[i])
        apart = max(apart, float(np.abs(optimal(mdp).values - exhaustive(mdp).values).max()))
        factors.append(contraction(mdp, rng, 200))
        stable = equilibria(mdp)[1][:, 0]
        several += bool(len(stable) and np.ptp(stable, axis=0).max() > 1e-6)
    values["factors"] = {"random, gamma 0.9": max(factors)}
    curves = {}
    for name, policy_name in (("three_states", "optimal (A2, A1, A1)"), ("door", "as in the clean game")):
        game = EXAMPLES[name].game
        mdp = adversaries(game, EXAMPLES[name].policies[policy_name])
        values["factors"][f"{name}, gamma {game.gamma:g}"] = contraction(mdp, rng, 2000)
        start = clean_values(game, EXAMPLES[name].policies[policy_name])[0]
        iterates = value_iteration(mdp, start=start, steps=60)
        error = np.abs(iterates - optimal(mdp).values[0]).max(-1)
        curves[name] = {"gamma": game.gamma, "error": error.tolist()}
    mdp = adversaries(one_of(batch, 0), policies[0])
    error = np.abs(value_iteration(mdp, steps=60) - optimal(mdp).values[0]).max(-1)
    values["convergence"] = {**curves, "random": {"gamma": 0.9, "error": error.tolist()}}
    for name, factor in values["factors"].items():
        gamma = float(name.split()[-1])
        section.check(f"largest factor, {name}", f"{factor:.4f}", f"at most {gamma:g}", factor <= gamma + 1e-9)
    section.check(f"policy iteration against all 729 perturbations, {games} games", f"{apart:.0e}", "0", apart < 1e-8)

    game, policy = EXAMPLES["two_optima"].game, EXAMPLES["two_optima"].policies["act as shown"]
    fixed = np.unique(equilibria(adversaries(game, policy))[1][:, 0, 0].round(9))
    values["two_optima"] = {"fixed_points": fixed.tolist(), "joint_optimum": float(fixed.min())}
    section.check("two_optima: values of its fixed points", numbers(fixed.tolist()), "one value", len(fixed) == 1)
    values["several_values"] = {"games": games, "with_several": several}
    text = f"{several} of {games}"
    section.check("random games whose fixed points differ in value", text, "0: v* is unique", several == 0)
    game, policy = EXAMPLES["pennies"].game, EXAMPLES["pennies"].policies["act as shown"]
    none = len(equilibria(adversaries(game, policy))[0])
    values["pennies"] = {"fixed_points": none}
    section.check("pennies: deterministic v* that there are", str(none), "at least 1", none > 0)
    game = EXAMPLES["three_states"].game
    mdp = adversaries(game, EXAMPLES["three_states"].policies["always A1"])
    same = len(equilibria(mdp)[0])
    values["three_states_always_A1"] = {"optimal_perturbations": same}
    section.check("three_states, always A1: optimal perturbations", str(same), "1: v* is unique", same == 1)
    return section


def theorem_3() -> Section:
    """Games without an equilibrium: the smallest, found by search, and a proof for all mixed policies."""
    about = "No stationary joint policy is an equilibrium when the adversaries answer every deviation."
    section = Section("theorem_3", "Theorem 3: no equilibrium", about)
    for name, agents, gain in (("guess", 1, 0.2), ("door", 2, 0.02)):
        game = EXAMPLES[name].game
        search, proof = smallest(agents, 2), refute(game, gain)
        stable, held = pure_equilibria(game), held_equilibria(game)
        section.values[name] = {
            "searched": search.searched, "without_equilibrium": search.without, "fewest_rewards": search.fewest,
            "found": search.found, "pure_equilibria": len(stable), "held_equilibria": len(held),
            "proof": vars(proof) if proof else None,
        }  # fmt: skip
        size = f"{agents} agent{'s' * (agents > 1)}, 2 states, 2 actions"
        section.add(f"games of {size}, at most 2 rewards", f"{search.without} of {search.searched} without")
        section.check(f"{name}: pure equilibria", str(len(stable)), "may be 0", not stable)
        section.check(f"{name}: the same, v* held while agents deviate", str(len(held)), "may be 0", not held)
        text = "not proven" if proof is None else f"gain >= {gain:g} everywhere ({proof.cells} cells)"
        section.check(f"{name}: mixed policies", text, "none is one", proof is not None)
    grid = np.array(list(product(np.linspace(0, 1, 9), repeat=4))).reshape(-1, 2, 2)
    worst = worst_values(EXAMPLES["door"].game, np.stack([1 - grid, grid], -1))
    best = [worst[int(worst[:, state].argmax())] for state in (0, 1)]
    section.values["door"]["best_from"] = {"outside": best[0].tolist(), "inside": best[1].tolist()}
    for name, where in (("outside", 0), ("inside", 1)):
        section.add(f"door: (outside, inside) of what is best from {name}", numbers(best[where].tolist(), 3))
    mixed = np.full((1, 2, 2), 0.5)
    gain = float(gains(EXAMPLES["same_or_different"].game, mixed)[0])
    section.values["same_or_different"] = {"gain_from_mixing": gain}
    section.add("same_or_different: gain by leaving one half each", f"{gain:.3f} (an equilibrium)")
    return section


def theorem_4(seed: int, games: int = 10_000) -> Section:
    """Both sides of eq. 14, and the factor that holds."""
    about = "What attacking one more agent costs, against the total variation of its actions."
    section = Section("theorem_4", "Theorem 4: the bound", about)
    rng, part = stream(seed, "theory", 4), games // len(GAMMAS)
    edges = np.logspace(-5, 0.25, 43)
    histograms, points, violated, beyond = {}, {}, 0, 0
    for gamma in GAMMAS:
        batch, policies = random_games(rng, part, agents=2, states=3, actions=2, attacked=2, gamma=gamma)
        sides = bound(batch, policies)
        used, right = sides.used.ravel(), (sides.printed * sides.variation).ravel()
        violated += int((used > 1 + 1e-9).sum())
        beyond += int((sides.loss > sides.sound * sides.variation + 1e-9).sum())
        histograms[f"{gamma:g}"] = np.histogram(used, edges)[0].tolist()
        points[f"{gamma:g}"] = {"bound": right[:150].tolist(), "loss": sides.loss.ravel()[:150].tolist()}
        text = f"median {np.median(used):.2g}, largest {used.max():.2g}"
        section.add(f"loss / printed bound, gamma {gamma:g}, {part} games", text)
        section.values[f"used_gamma_{gamma:g}"] = {"median": float(np.median(used)), "largest": float(used.max())}
    section.check(f"printed bound, violated in random games, of {games}", str(violated), "0", violated == 0)
    example = leak(0.02)
    sides = bound(example.game, example.policies["stay"])
    loss, printed, sound = (float(x.item()) for x in (sides.loss, sides.printed * sides.variation,
                                                      sides.sound * sides.variation))  # fmt: skip
    section.check("leak: loss, and the printed bound", f"{loss:.4f}, {printed:.4f}", "loss <= bound", loss <= printed)
    section.check("leak: loss, and the bound with 2 max|R| / (1 - gamma)^2", f"{loss:.4f}, {sound:.4f}",
                  "loss <= bound (ours)", loss <= sound)  # fmt: skip
    section.check("leak: loss, and the printed bound with the whole l_1 distance", f"{loss:.4f}, {2 * printed:.4f}",
                  "loss <= bound (another reading)", loss <= 2 * printed)  # fmt: skip
    section.check(f"our bound, violated in random games, of {games}", str(beyond), "0 (ours)", beyond == 0)
    curve = {}
    for gamma in np.linspace(0, 0.98, 50).round(3):
        used = bound(leak(1e-4, float(gamma)).game, leak(1e-4, float(gamma)).policies["stay"]).used
        curve[f"{gamma:g}"] = float(used.item())
    section.values |= {
        "edges": edges.tolist(), "histogram": histograms, "points": points,
        "leak": {"loss": loss, "printed": printed, "sound": sound, "shift": 0.02, "gamma": 0.5},
        "leak_over_gamma": curve, "violated": violated, "beyond_sound": beyond,
        "factors_gamma_0.5": [float(printed_factor(np.ones(1), 0.5)[0]), float(sound_factor(np.ones(1), 0.5)[0])],
    }  # fmt: skip
    return section


def best_stationary(game: Sasg, steps: int = 21) -> Numbers:
    """The worst-case values (S,) of the stationary policy of one agent with two actions whose least one is largest, on
    a grid of chances with `steps` points each."""
    grid = np.array(list(product(np.linspace(0, 1, steps), repeat=game.n_states)))[:, None]
    worst = worst_values(game, np.stack([grid, 1 - grid], -1))
    best: Numbers = worst[int(worst.min(1).argmax())]
    return best
