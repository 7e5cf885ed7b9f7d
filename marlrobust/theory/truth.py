"""How near attacks come to the worst that can be done, on games small enough to know it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.learned import Learned
from marlrobust.attacks.threat import Threat
from marlrobust.attacks.values import Aimed
from marlrobust.games.game import Decisions
from marlrobust.policies.card import Card
from marlrobust.policies.checkpoint import save_policy
from marlrobust.policies.library import StoredPolicy
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.streams import torch_stream
from marlrobust.theory.game import Numbers, Sasg, Whole
from marlrobust.theory.perturbation import equilibria, optimal
from marlrobust.theory.rounds import TabularGame, decisions_of
from marlrobust.theory.scenario import Tabular
from marlrobust.theory.values import Adversaries, clean_values, facing
from marlrobust.training.adversary import AgainstTeam
from marlrobust.training.settings import AdversarySettings
from marlrobust.training.trainer import Trainer

DRAWS = 64
"""Of an attack that is random: what an agent then does is the mean of its policies."""

TARGET_STEPS = 20
"""Gradient steps of a descent to a target action."""


@dataclass(frozen=True, eq=False)
class Victim:
    """A team that a network plays in a game, and the ball that its states may be moved in."""

    game: Sasg
    policy: MeanFieldPolicy
    threat: Threat

    @property
    def decisions(self) -> Decisions:
        """Each decision of the game once, by state, then agent."""
        return decisions_of(self.game.n_states, self.game.n_agents, self.game.n_actions)

    @torch.no_grad()
    def table(self, states: Tensor) -> Numbers:
        """What the agents do, (N, S, A), when they are shown `states` (S N, d) in the order of `decisions`."""
        return self._chances(self.decisions.showing(states))

    def _chances(self, decisions: Decisions) -> Numbers:
        game = self.game
        chances = F.softmax(self.policy.logits(decisions).double(), 1).numpy()
        return chances.reshape(game.n_states, game.n_agents, game.n_actions).transpose(1, 0, 2)

    def attacked(self, attack: Attack, seed: int = 0) -> tuple[Numbers, Tensor]:
        """The mean table under `attack`, and the states (S N, d) of its first draw; one draw where none is random."""
        rng = torch_stream(seed, "attack")
        states = [attack.perturb(self.policy, self.decisions, rng) for _ in range(2)]
        if not torch.equal(*states):
            states += [attack.perturb(self.policy, self.decisions, rng) for _ in range(DRAWS - 2)]
        return np.mean([self.table(shown) for shown in states], 0), states[0]

    def adversaries(self, shown: Tensor) -> Adversaries:
        """What the adversaries face if they choose among `shown` (C, S N, d); every agent is attacked."""
        tables = np.stack([self.table(states) for states in shown], 2)  # (N, S, C, A)
        count, agents = len(shown), self.game.n_agents
        choices = np.array(list(product(range(count), repeat=agents)), np.int64)
        allowed = np.ones((self.game.n_states, len(choices)), bool)
        return facing(self.game, list(tables), choices, allowed)

    def value(self, table: Numbers) -> float:
        """The team's mean return over all first states when the agents act by `table`."""
        return float(clean_values(self.game, table)[0].mean())


def corners(victim: Victim) -> Tensor:
    """The discretised ball: every decision's state moved by -epsilon, 0 or epsilon in each number of the game's state,
    (3^S, S N, d)."""
    states = victim.decisions.dense
    steps = torch.tensor(list(product((0.0, -1.0, 1.0), repeat=victim.game.n_states)))
    moves = F.pad(steps, (0, victim.game.n_agents)) * victim.threat.epsilon
    return torch.stack([victim.threat.deliver(states, move.expand_as(states)) for move in moves])


def targets(victim: Victim) -> Tensor:
    """Every decision's state after a descent to each action in turn, (A, S N, d)."""
    aim, decisions = Aimed(threat=victim.threat, steps=TARGET_STEPS), victim.decisions
    actions = [torch.full((len(decisions),), action) for action in range(victim.game.n_actions)]
    rng = torch_stream(0, "attack")
    return torch.stack([aim.perturb(victim.policy, decisions, rng, reference=action) for action in actions])


def clean_q(game: Sasg, table: Numbers) -> Numbers:
    """Q of each agent's own action when all play `table` (N, S, A) on true states, (N, S, A), by agent 0's reward."""
    value = clean_values(game, table)[0]
    joint = game.rewards[0] + game.gamma * game.transitions @ value  # (S, A^N)
    own = game.actions()
    chances = [table[agent][:, own[agent]] for agent in range(game.n_agents)]
    found = []
    for agent in range(game.n_agents):
        others = np.prod([c for i, c in enumerate(chances) if i != agent], axis=0)
        found.append(np.stack([(joint * others)[:, own[agent] == a].sum(1) for a in range(game.n_actions)], 1))
    return np.stack(found)


def trained(game: Sasg, *, epsilon: float, temperature: float, seed: int, steps: int = 300) -> Victim:
    """A team that plays well: a small network fitted to softmax(Q / temperature), with a critic fitted to that Q.

    Q is a fixed point, found by repetition, of agents that each answer the others.
    """
    table = np.full((game.n_agents, game.n_states, game.n_actions), 1 / game.n_actions)
    for _ in range(60):
        q = clean_q(game, table)
        logits = (q - q.max(-1, keepdims=True)) / temperature
        answer = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        table = 0.7 * table + 0.3 * answer
    q = clean_q(game, table)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = MeanFieldPolicy(game.n_states + game.n_agents, game.n_actions, hidden=32, mean_field=False)
    decisions = decisions_of(game.n_states, game.n_agents, game.n_actions)
    wanted = torch.from_numpy(q.transpose(1, 0, 2).reshape(len(decisions), -1)).float()
    sharp = (wanted - wanted.mean(1, keepdim=True)) / temperature
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for _ in range(steps):
        loss = F.mse_loss(policy.logits(decisions), sharp) + F.mse_loss(policy.q_values(decisions), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    features = [True] * game.n_states + [False] * game.n_agents
    return Victim(game, policy.requires_grad_(False).eval(), Threat(epsilon=epsilon, features=features))


def learned(victim: Victim, *, rounds: int, seed: int = 0) -> Learned:
    """The attack of an adversary that is trained against the victim, with the package's own training."""
    game = victim.game
    card = Card(
        method="fitted", scenario="sasg", role="agent", shape=victim.policy.shape.model_dump(),
        seed=seed, rounds=0, planned_rounds=0, seconds=0.0,
    )  # fmt: skip
    settings = AdversarySettings(
        scenario="sasg", game=_Unnamed.of(game), against="fitted", seed=seed, rounds=rounds, parallel_rounds=16,
        epsilon=victim.threat.epsilon, gamma=game.gamma, batch_size=256, replay_size=20_000, replay_ratio=4.0,
        learning_rate=3e-3, first_entropy=0.2, entropy=0.01,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored = StoredPolicy("fitted", folder / "agent.safetensors", save_policy(folder, victim.policy, card))
        cast = AgainstTeam(settings, stored, None)
        cast.attack = replace(cast.attack, threat=victim.threat)
        trainer = Trainer(cast, folder / "adversary", lambda sentence: None)
        trainer.run()
    return Learned(threat=victim.threat, adversary=cast.students["adversary"].learner.policy.eval(), steps=TARGET_STEPS)


class _Unnamed(Tabular):
    """A game that has no name, as a scenario; rounds go on to the step limit, as a training likes it."""

    _game: Sasg = PrivateAttr()

    @classmethod
    def of(cls, game: Sasg) -> _Unnamed:
        scenario = cls(max_steps=40, discounted=False)
        scenario._game = game
        return scenario

    def make(self, rounds: int) -> TabularGame:
        return TabularGame(self._game, rounds, self.max_steps, discounted=self.discounted)


@dataclass(frozen=True)
class Shares:
    """clean, worst: the team's mean return without an attack, and under the worst of the discretised ball; damage: by
    the name of the attack, its share of the return that the worst takes away."""

    clean: float
    worst: float
    damage: Mapping[str, float]


def shares(victim: Victim, attacks: Mapping[str, Attack]) -> Shares:
    """Each attack's share of the optimal damage; exact values, no rounds are played.

    The optimum is over the corners of the ball and over all that the attacks delivered, by policy iteration on the
    adversaries' own decision process. Three more shares tell what a gradient misses from what its aim misses:
    `flip, exact` and `critic, exact` choose from the same states by what `pgd` and `critic` climb, and `targets, exact`
    is the best way to name each agent a target action, which is what `learned` learns. `targets, mildest` is the least
    harmful way from which no agent's adversary does better alone: where adversaries that learn apart may stay.
    """
    aimed = targets(victim)
    ball, tables = torch.cat([corners(victim), aimed]), {}
    for name, attack in attacks.items():
        tables[name], states = victim.attacked(attack)
        ball = torch.cat([ball, states[None]])
    clean_table = victim.table(victim.decisions.dense)
    clean, worst = victim.value(clean_table), float(optimal(victim.adversaries(ball)).values[0].mean())
    every = np.stack([victim.table(states) for states in ball])  # (C, N, S, A)
    likeliest = clean_table.argmax(-1)
    chance = np.take_along_axis(every, np.broadcast_to(likeliest[None, ..., None], (*every.shape[:-1], 1)), -1)[..., 0]
    harm = (every * clean_q(victim.game, clean_table)).sum(-1)
    for name, aim in (("flip, exact", chance), ("critic, exact", harm)):
        tables[name] = _chosen(every, aim.argmin(0))
    values = {name: victim.value(table) for name, table in tables.items()}
    directed = victim.adversaries(aimed)
    values["targets, exact"] = float(optimal(directed).values[0].mean())
    values["targets, mildest"] = float(equilibria(directed)[1][:, 0].mean(1).max())
    return Shares(clean, worst, {name: (clean - value) / (clean - worst) for name, value in values.items()})


def _chosen(every: Numbers, which: Whole) -> Numbers:
    """The table (N, S, A) of candidate `which` (N, S) of `every` (C, N, S, A)."""
    table: Numbers = np.take_along_axis(every, which[None, ..., None], 0)[0]
    return table
