"""How a policy's answers become actions: one of a few by logits, or vectors of numbers in a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.policies.policy import sample_actions

if TYPE_CHECKING:
    from gymnasium.spaces import Box

HALF = 2.0**-25
"""Half of the distance between two of the uniform numbers that chance is made of: none of them is then 0 or 1."""


class Choice:
    """One of a actions: answers are logits (n, a)."""

    parts = 1
    """Numbers of chance that an action takes."""

    def widths(self, n_actions: int) -> Sequence[int]:
        """How many numbers an answer may have."""
        return (n_actions,)

    def best(self, answers: Tensor) -> Tensor:
        """The likeliest action (n,)."""
        return answers.argmax(1)

    def drawn(self, answers: Tensor, uniforms: Tensor) -> Tensor:
        """An action (n,), each as likely as the logits say. uniforms: (n, 1) in [0, 1)."""
        return sample_actions(answers, uniforms[:, 0])

    def moved(self, clean: Tensor, attacked: Tensor) -> Tensor:
        """1 (n,) where the likeliest action is another one, else 0."""
        return (clean.argmax(1) != attacked.argmax(1)).double()


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of k numbers in a box: answers are mean actions (n, k), or, of a policy that is random, these and the
    logarithms of their standard deviations beside them, (n, 2k).

    squashed: whether tanh brings the numbers into the box; if not, they are cut off at its ends.
    """

    box: Box
    squashed: bool = False

    def __post_init__(self) -> None:
        if self.squashed and not self.box.is_bounded():
            raise UserError(f"tanh leads into a box with finite ends, not into {self.box}")

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The least and the largest value (k,) of each number."""
        low, high = (torch.from_numpy(end.reshape(-1).astype("float32")) for end in (self.box.low, self.box.high))
        return low, high

    @cached_property
    def half(self) -> Tensor:
        """Half of each number's range (k,); 1 where it has no end."""
        low, high = self.ends
        width = (high - low) / 2
        return torch.where(width.isfinite() & (width > 0), width, 1.0)

    @property
    def size(self) -> int:
        """k."""
        return len(self.half)

    @property
    def parts(self) -> int:
        """Numbers of chance that an action takes."""
        return self.size

    def widths(self, n_actions: int) -> Sequence[int]:
        """How many numbers an answer may have."""
        return (self.size, 2 * self.size)

    def means(self, answers: Tensor) -> Tensor:
        """Mean actions (n, k); those that are not squashed may be outside the box."""
        return self._unsquashed(answers[:, : self.size])

    def best(self, answers: Tensor) -> Tensor:
        """The mean action (n, k), in the box."""
        return self.inside(self.means(answers))

    def drawn(self, answers: Tensor, uniforms: Tensor) -> Tensor:
        """An action (n, k) in the box: Gaussian, where the policy says how wide. uniforms: (n, k) in [0, 1)."""
        if answers.shape[1] == self.size:
            return self.best(answers)
        normal = torch.special.ndtri(uniforms.double() + HALF).to(answers.dtype)
        drawn = answers[:, : self.size] + answers[:, self.size :].exp() * normal
        return self.inside(self._unsquashed(drawn))

    def moved(self, clean: Tensor, attacked: Tensor) -> Tensor:
        """How far the mean action moved, in halves of the box's width: the mean over its k numbers."""
        return ((self.best(clean) - self.best(attacked)).abs() / self.half.to(clean.device)).mean(1).double()

    def inside(self, actions: Tensor) -> Tensor:
        """Actions (n, k) as they are played."""
        low, high = (end.to(actions.device) for end in self.ends)
        return torch.minimum(torch.maximum(actions, low), high)

    def _unsquashed(self, numbers: Tensor) -> Tensor:
        if not self.squashed:
            return numbers
        low, high = (end.to(numbers.device) for end in self.ends)
        return low + (high - low) * (torch.tanh(numbers) + 1) / 2

    def read(self, answer: Any) -> Tensor:
        """(n, k) or (n, 2k) float32 from what a policy answers: a tensor, a pair of mean and logarithm of the standard
        deviation, or a Gaussian of torch.distributions. Raises UserError for anything else."""
        if isinstance(answer, torch.distributions.Distribution):
            answer = _of_gaussian(answer)
        mean, log_std = answer if isinstance(answer, tuple | list) and len(answer) == 2 else (answer, None)
        shaped = isinstance(mean, Tensor) and mean.is_floating_point() and mean.shape[1:] == (self.size,)
        if not shaped:
            found = f"{mean.dtype} {tuple(mean.shape)}" if isinstance(mean, Tensor) else type(mean).__name__
            raise UserError(
                f"a policy of continuous actions answers with mean actions, a torch tensor (n, {self.size}) of floats, "
                f"or with a pair (means, logarithms of standard deviations), not with {found}"
            )
        if log_std is None:
            return torch.as_tensor(mean, dtype=torch.float32)
        return torch.cat([mean, torch.as_tensor(log_std, device=mean.device).expand_as(mean)], dim=1).float()


def _of_gaussian(answer: torch.distributions.Distribution) -> tuple[Tensor, Tensor]:
    """Its mean, and the logarithm of its standard deviation; raises UserError for another distribution."""
    base = answer.base_dist if isinstance(answer, torch.distributions.Independent) else answer
    if not isinstance(base, torch.distributions.Normal):
        raise UserError(
            f"a policy of continuous actions answers with a Gaussian, not with {type(answer).__name__}: "
            "give its mean actions instead"
        )
    return base.mean, base.stddev.log()


CHOICE = Choice()


def actions_of(policy: object) -> Choice | Vectors:
    """How the policy's answers become actions; one that says nothing gives logits."""
    found = getattr(policy, "actions", None)
    return found if isinstance(found, Vectors) else CHOICE


def is_continuous(policy: object) -> bool:
    """Whether the policy's actions are vectors."""
    return isinstance(actions_of(policy), Vectors)
