"""Gradient attacks: one ascent loop; an attack is a loss and, if it likes, a step rule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.fast.network import Int8Network
from marlrobust.attacks.oracle import Loss, gradient_by_states
from marlrobust.games.game import Decisions
from marlrobust.policies.policy import Policy

CHUNK, INT8_CHUNK = 256, 2048
"""States perturbed together: what a float32 step touches stays in the cache; integers have their own blocks."""

StepRule = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From delta (n, d), the gradient (n, d) and the loss (n,) there to the next delta, not yet projected."""

Steps = Annotated[int, Field(ge=1, description="Gradient steps.")]
StepSize = Annotated[float, Field(gt=0, description="In state units; none is 2.5 * epsilon / steps.")]
Restarts = Annotated[int, Field(ge=1, description="Ascents from different starts, of which the best is kept.")]
Start = Annotated[Literal["state", "uniform"], Field(description="Where the first ascent starts.")]


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """Ascent on `loss` over the perturbation, projected on the threat after each step.

    steps: gradient steps. step_size: in state units; None is 2.5 * epsilon / steps, with which an ascent can
    cross the ball from any start. restarts: ascents from different starts; the one with the highest loss is
    kept, state by state. start: "state" (eq. 11 of Zhou and Liu 2022) or "uniform" in the ball; restarts
    after the first are always uniform. precision: "auto" is 8-bit integers where policy, threat and
    processor allow it (see `fast/network.py`; uniform starts are then drawn from at least 33 values per
    feature), "float32" is float32 everywhere.

    A new attack writes `loss`; one that compares with something else than the clean action writes
    `reference`; one that steps otherwise writes `step_rule`, and one whose last point need not be its best
    sets `keep_best`.
    """

    keep_best: ClassVar[bool] = False
    """Whether an ascent returns the point with the highest loss that it saw, or its last."""

    steps: Steps = 10
    step_size: StepSize | None = None
    restarts: Restarts = 1
    start: Start = "state"
    precision: Annotated[
        Literal["auto", "float32"], Field(description="auto: 8-bit integers where they can be used.")
    ] = "auto"

    @abstractmethod
    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """What is ascended, for each state: (n,) from logits (n, a) and what `reference` returned."""

    def reference(self, policy: Policy, decisions: Decisions, logits: Tensor) -> Tensor:
        """What the loss compares with, (n, ...), from the clean decisions and logits: the clean actions (n,)."""
        actions: Tensor = logits.argmax(dim=1)
        return actions

    def step_rule(self, states: Tensor) -> StepRule:
        """A new ascent's steps from `states` (n, d): along the steepest direction of the threat's norm."""

        def step(delta: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
            return torch.add(delta, self.threat.direction(gradient), alpha=self._step_size())

        return step

    def _step_size(self) -> float:
        return 2.5 * self.threat.radius / self.steps if self.step_size is None else self.step_size

    def move(
        self, policy: Policy, decisions: Decisions, rng: torch.Generator, *, reference: Tensor | None = None
    ) -> Tensor:
        """See `Attack.move`. reference: (n, ...), in place of what the method `reference` would return."""
        with torch.inference_mode(False), torch.no_grad():
            decisions = _ordinary(decisions)
            starts = self._starts(rng)
            network = self._int8_network(policy)
            size = CHUNK if network is None else INT8_CHUNK
            perturbed = torch.empty_like(decisions.dense)
            for first in range(0, len(decisions), size):
                rows = slice(first, first + size)
                given = None if reference is None else reference[rows]
                perturbed[rows] = self._perturb(policy, network, decisions.take(rows), starts, given)
            return perturbed

    def _starts(self, rng: torch.Generator) -> list[torch.Generator | None]:
        """A generator for each restart's start, None where that is the state.

        Each has its own, drawn in order, so that another restart changes nothing for those before it.
        """
        seeds = torch.randint(2**62, (self.restarts,), generator=rng, device=rng.device).tolist()
        starts = [torch.Generator(rng.device).manual_seed(seed) for seed in seeds]
        return [None, *starts[1:]] if self.start == "state" else [*starts]

    def _int8_network(self, policy: Policy) -> Int8Network | None:
        """The policy's network in integers, if this attack's steps can be taken there: None if not."""
        threat = self.threat
        plain = type(self).step_rule is GradientAttack.step_rule and threat.ball.signed
        if self.precision != "auto" or not plain or threat.low is not None or threat.high is not None:
            return None
        return Int8Network.of(policy, threat, self._step_size())

    def _perturb(
        self,
        policy: Policy,
        network: Int8Network | None,
        decisions: Decisions,
        starts: list[torch.Generator | None],
        reference: Tensor | None,
    ) -> Tensor:
        """The best of one ascent from each of `starts`: perturbed states (n, d) of one chunk."""
        states = decisions.dense
        batch = None if network is None else network.batch(states, decisions.mean_actions)
        logits = policy.logits(decisions) if batch is None else batch.clean_logits
        compared = self.reference(policy, decisions, logits) if reference is None else reference

        def loss(logits: Tensor) -> Tensor:
            return self.loss(logits, compared)

        best, best_loss = states, torch.full((len(states),), -torch.inf, device=states.device)
        for start in starts:
            if batch is None:
                delta = self._ascend(policy, decisions, loss, start)
            else:
                delta = batch.ascend(loss, self.steps, start)
            perturbed = self.threat.deliver(states, delta)
            if len(starts) == 1:
                return perturbed
            value = loss(policy.logits(decisions.showing(perturbed)))
            best, best_loss = _better(best, best_loss, perturbed, value)
        return best

    def _ascend(self, policy: Policy, decisions: Decisions, loss: Loss, start: torch.Generator | None) -> Tensor:
        """The ascent loop: a perturbation (n, d)."""
        states = decisions.dense
        delta = torch.zeros_like(states) if start is None else self.threat.uniform(states, start)
        step = self.step_rule(states)
        best, highest = delta, torch.full((len(states),), -torch.inf, device=states.device)
        for _ in range(self.steps):
            value, gradient = gradient_by_states(policy, decisions, states + delta, loss)
            if self.keep_best:
                best, highest = _better(best, highest, delta, value)
            delta = self.threat.project(step(delta, gradient, value), states)
        if not self.keep_best:
            return delta
        return _better(best, highest, delta, loss(policy.logits(decisions.showing(states + delta))))[0]


def _ordinary(decisions: Decisions) -> Decisions:
    """The same with dense states, and with tensors that autograd takes: it refuses those of inference mode."""
    states, mean_actions = (
        (t.clone() if t.is_inference() else t).detach().contiguous() for t in (decisions.dense, decisions.mean_actions)
    )
    return replace(decisions, states=states, mean_actions=mean_actions)


def _better(best: Tensor, highest: Tensor, delta: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Of two perturbations (n, d) of each state the one with the higher loss (n,), and that loss."""
    better = value > highest
    return torch.where(better[:, None], delta, best), torch.where(better, value, highest)


def margin(logits: Tensor, actions: Tensor) -> Tensor:
    """How far the best other logit is above that of `actions` (n,): (n,), above 0 where the argmax is another."""
    own = logits.gather(1, actions[:, None])
    return logits.scatter(1, actions[:, None], -torch.inf).amax(1) - own[:, 0]


@dataclass(frozen=True, kw_only=True)
class PGD(GradientAttack):
    """Projected gradient descent on the cross-entropy to the clean action, as an ascent (eq. 11)."""

    summary: ClassVar[str] = "projected gradient ascent on the cross-entropy (Madry et al. 2018)"

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Cross-entropy of raw logits (n, a) to the clean actions (n,)."""
        return F.cross_entropy(logits, reference, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Margin(GradientAttack):
    """Ascent on how far the best other logit is above the clean action's: it sees through a saturated softmax."""

    summary: ClassVar[str] = "projected gradient ascent on the logits' margin (Carlini and Wagner 2017)"

    def loss(self, logits: Tensor, reference: Tensor) -> Tensor:
        """max over a != a* of z_a, minus z_a*, from logits (n, a) and the clean actions a* (n,)."""
        return margin(logits, reference)


@dataclass(frozen=True, kw_only=True)
class FGSM(PGD):
    """The fast gradient sign method: PGD with one step of epsilon from the state."""

    summary: ClassVar[str] = "one gradient step of epsilon (Goodfellow et al. 2015)"

    steps: Steps = field(default=1, init=False)
    step_size: StepSize | None = field(default=None, init=False)
    restarts: Restarts = field(default=1, init=False)
    start: Start = field(default="state", init=False)

    def _step_size(self) -> float:
        return self.threat.radius
