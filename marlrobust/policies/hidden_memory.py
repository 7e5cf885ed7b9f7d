"""How a policy that hides a memory is found out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.layers import known
from marlrobust.policies.policy import Policy

NOISE = 1e-5
"""How far, as a share of their size, two equal forward passes may differ by the order of their sums."""


def refuse_hidden_memory(policy: Policy, decisions: Decisions, who: str = "the policy") -> None:
    """Raises UserError for a policy whose answer to n `decisions` hangs on what it was asked before.

    It is asked twice with every global generator of random numbers at the same state, where they stay afterwards: so a
    policy that is random on purpose answers twice the same, and one that remembers does not. A policy that draws
    from a generator of its own says so by an attribute `random = True`. Nothing is asked of n = 0. who: it is, in
    words. Raises UserError as well where the policy fails.
    """
    if not len(decisions):
        return
    once = _answer(policy, decisions, who)
    if known(policy) or getattr(policy, "random", False) is True:
        return
    again = _answer(policy, decisions, who)
    if once.shape != again.shape or bool(((once - again).abs() > NOISE * (1 + once.abs())).any()):
        raise UserError(
            f"{who} answers the same question twice differently: it remembers what it was asked, and an attack's "
            "own questions would change it. Give it initial_memory(n) and step(decisions, memory); or, if it is random "
            "on purpose, an attribute random = True"
        )


def _answer(policy: Policy, decisions: Decisions, who: str) -> Tensor:
    """The policy's logits; no generator has moved afterwards."""
    try:
        with torch.no_grad(), _chance_undone():
            return policy.logits(decisions).detach().clone()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        asked = f"{len(decisions)} observations of {decisions.dense.shape[1]} numbers"
        raise UserError(f"{who} fails when it is asked about {asked}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def _chance_undone() -> Iterator[None]:
    """Puts all global generators back where they were."""
    numbers, plain, torchs = np.random.get_state(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    on_devices = torch.cuda.get_rng_state_all()  # none where there is no such device
    try:
        yield
    finally:
        np.random.set_state(numbers)  # noqa: NPY002
        random.setstate(plain)
        torch.set_rng_state(torchs)
        torch.cuda.set_rng_state_all(on_devices)
