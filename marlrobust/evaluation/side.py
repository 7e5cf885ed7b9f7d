"""One side of a rollout: groups of agents, the policies that play them, what they remember, and their chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.evaluation.observer import Acted
from marlrobust.games.game import Actions, Bools, Decisions, Game, Outcome
from marlrobust.policies.actions import actions_of
from marlrobust.policies.adapters import policy_for
from marlrobust.policies.hidden_memory import refuse_hidden_memory
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.memory import Memories
from marlrobust.policies.policy import Policy, checked
from marlrobust.streams import stream

T = TypeVar("T")

Policies = Policy | Mapping[str, Policy]
"""One for all groups, or one for each role."""


class Side:
    """Groups of a game, each with its policy, and the noise of their actions."""

    def __init__(
        self,
        game: Game,
        groups: Sequence[int],
        policies: Policies | None,
        seed: int,
        numbers: Sequence[int],
        name: str,
    ) -> None:
        """name: of the side, and of its noise."""
        self.game, self.groups, self.name = game, groups, name
        own = [game.groups[g] for g in groups]
        several = len({group.role for group in game.groups}) > 1
        hint = "(a dict gives each role a policy of its own)"
        self.who = [f"the {name}" + f" of the role '{group.role}' {hint}" * several for group in own]
        self.policies = [policy_for(for_role(policies, group.role, name), group) for group in own]
        self.kinds = [actions_of(policy) for policy in self.policies]
        sizes = [group.size for group in own]
        self.memories = [Memories(p, game.rounds, size) for p, size in zip(self.policies, sizes, strict=True)]
        self.noise = _Noise(seed, name, numbers, sizes, [kind.parts for kind in self.kinds])

    def observe(self, device: str) -> list[Decisions]:
        """What each group's agents see, with what they remember."""
        seen = [self.game.observe(g).to(device) for g in self.groups]
        for g, decisions in zip(self.groups, seen, strict=True):
            if decisions.mask is not None and not self.game.groups[g].masked:
                raise UserError("the game tells of legal actions, and its groups are not masked: see check_game")
        return [memories.carried(decisions) for memories, decisions in zip(self.memories, seen, strict=True)]

    def remember(self, shown: Sequence[Decisions]) -> None:
        """The agents were shown this, attacked or not."""
        for memories, decisions in zip(self.memories, shown, strict=True):
            memories.advance(decisions)

    def refuse_hidden_memory(self, device: str) -> None:
        """Raises UserError for a policy that remembers what it was asked, and does not say so."""
        for policy, decisions, who in zip(self.policies, self.observe(device), self.who, strict=True):
            refuse_hidden_memory(policy, decisions, who)

    def logits(self, seen: Sequence[Decisions]) -> list[Tensor]:
        """Answers (n, m) of each group, logits where actions are discrete; our own policies read compressed states,
        others get them dense."""
        answers = []
        known = zip(self.groups, self.policies, self.kinds, self.who, seen, strict=True)
        for g, policy, kind, who, decisions in known:
            widths = kind.widths(self.game.groups[g].n_actions)
            if not len(decisions):
                answers.append(decisions.mean_actions.new_zeros(0, widths[0]))
                continue
            if type(policy) is not MeanFieldPolicy:  # a subclass may read its states otherwise
                decisions = decisions.showing(decisions.dense)
            answers.append(checked(policy.logits(decisions), len(decisions), widths, who))
        return answers

    def chance(self, seen: Sequence[Decisions]) -> list[Tensor]:
        """The noise of this step's actions: numbers (n, p) for the agents of each group, p as its actions take."""
        return self.noise.draw(seen, self.game.active)

    def choose(self, logits: Sequence[Tensor], chance: Sequence[Tensor | None]) -> dict[int, Actions]:
        """An action, (n,) or (n, k), for each agent of each group, by the group's number: the likeliest where there is
        no chance."""
        chosen = [
            kind.best(x) if u is None else kind.drawn(x, u.to(x.device))
            for kind, x, u in zip(self.kinds, logits, chance, strict=True)
        ]
        return {g: actions.cpu().numpy() for g, actions in zip(self.groups, chosen, strict=True)}

    def acted(
        self,
        seen: Sequence[Decisions],
        clean: Sequence[Tensor],
        logits: Sequence[Tensor],
        chance: Sequence[Tensor | None],
        actions: Mapping[int, Actions],
        outcomes: Sequence[Outcome],
    ) -> list[Acted]:
        """What each group did, for who watches; clean: the logits (n, a) without the attack."""
        without = self.choose(clean, chance)
        done = []
        for g, kind, decisions, before, after in zip(self.groups, self.kinds, seen, clean, logits, strict=True):
            turned = (kind.moved(before, after) > 0).cpu().numpy()
            rewards, who = outcomes[g].rewards, (g, decisions.round, decisions.agent)
            done.append(Acted(*who, action=actions[g], without=without[g], turned=turned, rewards=rewards))
        return done


def for_role(given: T | Mapping[str, T] | None, role: str, what: str) -> T:
    """What a role plays or is attacked with; raises UserError where it has none."""
    found = given.get(role) if isinstance(given, Mapping) else given
    if found is None:
        raise UserError(f"there is no {what} for the role '{role}': give one for each role of the game")
    return found


class _Noise:
    """Uniform numbers for each agent and step, from each round's own stream: a death shifts nobody's numbers."""

    def __init__(self, seed: int, name: str, rounds: Sequence[int], sizes: Sequence[int], parts: Sequence[int]) -> None:
        """sizes: of the groups that draw from it; parts: numbers that an action of each takes."""
        self.streams = [stream(seed, name, r) for r in rounds]
        self.parts = parts
        self.starts = np.cumsum([0, *(size * p for size, p in zip(sizes, parts, strict=True))])
        self.numbers = np.zeros((len(rounds), int(self.starts[-1])), np.float32)

    def draw(self, seen: Sequence[Decisions], active: Bools) -> list[Tensor]:
        """Numbers (n, p) in [0, 1) for the agents of each group."""
        for r in np.flatnonzero(active).tolist():
            self.streams[r].random(out=self.numbers[r], dtype=np.float32)
        drawn = []
        for start, parts, d in zip(self.starts, self.parts, seen, strict=False):
            columns = start + d.agent[:, None] * parts + np.arange(parts)
            drawn.append(torch.from_numpy(self.numbers[d.round[:, None], columns]))
        return drawn
