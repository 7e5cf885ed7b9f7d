"""Gradient attacks: one ascent loop; an attack is a loss and, if it likes, a step rule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from marlrobust.attacks.attack import Attack
from marlrobust.attacks.cross_entropy import CrossEntropySlope
from marlrobust.attacks.fast.network import Int8Network
from marlrobust.attacks.oracle import Loss, Oracle, oracle, with_slope
from marlrobust.attacks.vectors import drift, vectors_of
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors, is_continuous
from marlrobust.policies.adapters.states import StatePolicy
from marlrobust.policies.layers import Stack
from marlrobust.policies.policy import Policy

CHUNK, INT8_CHUNK, CACHED = 256, 2048, 2**17
"""States perturbed together, at least, in float32 and in integers, which have their own blocks; and the numbers of
the widest layer that a float32 step is to touch at most, so that they stay in the cache."""

SMALL, FEW = 2**14, 2**21
"""Weights of a stack of layers, and those times states, below which float32 is quicker than making integers first."""

StepRule = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From delta (n, d), the gradient (n, d) and the loss (n,) there to the next delta, not yet projected."""

Steps = Annotated[int, Field(ge=1, description="Gradient steps.")]
StepSize = Annotated[float, Field(gt=0, description="In state units; none is 2.5 * epsilon / steps.")]
Restarts = Annotated[int, Field(ge=1, description="Ascents from different starts, of which the best is kept.")]
Start = Annotated[Literal["state", "uniform"], Field(description="Where the first ascent starts.")]
Drift = Annotated[
    Literal["distance", "density"],
    Field(description="Of continuous actions: ascend their squared distance, or minus the log density, of the clean."),
]


class _Ways(NamedTuple):
    """How one policy is asked for gradients; autograd always can."""

    integers: Int8Network | None
    stack: Stack | None
    adapted: bool  # others keep the chunks that their stored results were computed in
    sure: bool = True  # whether the stack is the policy itself, not what was read off its forward

    def together(self, d: int) -> int:
        """States of d numbers that are perturbed together."""
        if self.integers is not None:
            return INT8_CHUNK
        widths = [d] if self.stack is None else [d, *map(len, self.stack.weights)]
        return max(CHUNK, CACHED // max(1, *widths)) if self.adapted else CHUNK

    def stack_for(self, states: Tensor, answers: Tensor) -> Stack | None:
        """The stack, where it is sure, or gives the policy's own `answers` (n, m) to clean states (n, d)."""
        return self.stack if self.stack is None or self.sure or self.stack.agrees(states, answers) else None


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

    noise_first: ClassVar[bool] = False
    """Whether ascents on continuous actions start from noise, as their loss is flat at the state itself."""

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

    def of_vectors(
        self, kind: Vectors, policy: Policy, decisions: Decisions, answers: Tensor, reference: Tensor | None
    ) -> Loss:
        """What is ascended where actions are vectors: a loss of answers (n, m), of which the clean ones are given, and
        perhaps what it compares with. An attack that has such a loss says so by `continuous`."""
        raise NotImplementedError(f"{type(self).__name__} is continuous, and has no loss for vectors")

    def objective(self, policy: Policy, decisions: Decisions, answers: Tensor, reference: Tensor | None = None) -> Loss:
        """What is ascended on `decisions`, whose clean answers are (n, m)."""
        if (kind := vectors_of(policy)) is not None:
            return self.of_vectors(kind, policy, decisions, answers, reference)
        return Loss(self.loss, self.reference(policy, decisions, answers) if reference is None else reference)

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
            starts, ways = self._starts(policy, rng), self._ways(policy, len(decisions))
            size = ways.together(decisions.dense.shape[1])
            perturbed = torch.empty_like(decisions.dense)
            for first in range(0, len(decisions), size):
                rows = slice(first, first + size)
                given = None if reference is None else reference[rows]
                perturbed[rows] = self._perturb(policy, ways, decisions.take(rows), starts, given)
            return perturbed

    def _starts(self, policy: Policy, rng: torch.Generator) -> list[torch.Generator | None]:
        """A generator for each restart's start, None where that is the state.

        Each has its own, drawn in order, so that another restart changes nothing for those before it.
        """
        seeds = torch.randint(2**62, (self.restarts,), generator=rng, device=rng.device).tolist()
        starts = [torch.Generator(rng.device).manual_seed(seed) for seed in seeds]
        flat = self.noise_first and is_continuous(policy)
        return [None, *starts[1:]] if self.start == "state" and not flat else [*starts]

    def _ways(self, policy: Policy, n: int) -> _Ways:
        """How the policy is asked about n states: in integers, if its steps can be taken there and it pays."""
        threat, stack = self.threat, Stack.of(policy)
        adapted = isinstance(policy, StatePolicy)
        plain = type(self).step_rule is GradientAttack.step_rule and threat.ball.signed and not is_continuous(policy)
        if self.precision != "auto" or not plain or threat.ranged:
            return _Ways(None, stack or Stack.read(policy), adapted, sure=stack is not None)
        if stack is not None and (stack.size < SMALL or stack.size * n < FEW):
            return _Ways(None, stack, adapted)
        integers = Int8Network.of(policy, threat, self._step_size())
        if integers is None and stack is None:
            return _Ways(None, Stack.read(policy), adapted, sure=False)
        return _Ways(integers, stack, adapted)

    def _perturb(
        self,
        policy: Policy,
        ways: _Ways,
        decisions: Decisions,
        starts: list[torch.Generator | None],
        reference: Tensor | None,
    ) -> Tensor:
        """The best of one ascent from each of `starts`: perturbed states (n, d) of one chunk."""
        states = decisions.dense
        batch = None if ways.integers is None else ways.integers.batch(states, decisions.mean_actions)
        logits = policy.logits(decisions) if batch is None else batch.clean_logits
        loss = self.objective(policy, decisions, logits, reference)

        def look(shown: Tensor) -> Tensor:
            return loss(policy.logits(decisions.showing(shown)))

        if batch is None:
            ask = oracle(policy, ways.stack_for(states, logits), decisions, loss)
            climb = partial(self._ascend, ask, look, states)
        else:
            climb = partial(batch.ascend, loss, self.steps)
        best, best_loss = states, torch.full((len(states),), -torch.inf, device=states.device)
        for start in starts:
            perturbed = self.threat.deliver(states, climb(start))
            if len(starts) == 1:
                return perturbed
            best, best_loss = _better(best, best_loss, perturbed, look(perturbed))
        return best

    def _ascend(
        self, ask: Oracle, look: Callable[[Tensor], Tensor], states: Tensor, start: torch.Generator | None
    ) -> Tensor:
        """The ascent loop: a perturbation (n, d) of `states`. look: the loss (n,) at states, without its gradient."""
        delta = torch.zeros_like(states) if start is None else self.threat.uniform(states, start)
        step = self.step_rule(states)
        best, highest = delta, torch.full((len(states),), -torch.inf, device=states.device)
        for _ in range(self.steps):
            value, gradient = ask(states + delta)
            if self.keep_best:
                best, highest = _better(best, highest, delta, value)
            delta = self.threat.project(step(delta, gradient, value), states)
        if not self.keep_best:
            return delta
        return _better(best, highest, delta, look(states + delta))[0]


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
    continuous: ClassVar[bool] = True
    noise_first: ClassVar[bool] = True

    drift: Drift = "distance"

    def of_vectors(
        self, kind: Vectors, policy: Policy, decisions: Decisions, answers: Tensor, reference: Tensor | None
    ) -> Loss:
        """See `GradientAttack.of_vectors`: the clean action is what is left."""
        return Loss(*drift(self.drift, kind, answers, reference))

    def parameters(self) -> dict[str, Any]:
        """See `Attack.parameters`; `drift` only where another than the first was chosen."""
        own = super().parameters()
        return {k: v for k, v in own.items() if (k, v) != ("drift", "distance")}

    @with_slope(CrossEntropySlope)
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
