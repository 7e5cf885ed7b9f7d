"""PGD side by side with Foolbox: time, strength, and the share of the matrix rate that is reached.

    python -m benchmarks.pgd

All forms take the same policy, states, start, steps and step size, in one thread of one run. Times are of the
processor, which other programs disturb least, best of several interleaved repeats. Losses are of the delivered
states, in float32. Foolbox comes with the extra `bench`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import trained
from marlrobust.attacks.gradient import PGD
from marlrobust.attacks.threat import Threat
from marlrobust.games.game import Decisions
from marlrobust.games.magent.battle import Battle
from marlrobust.policies.checkpoint import load_policy
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.policy import sample_actions

EPSILON, STEPS = 0.075, 10
STEP_SIZE = EPSILON / 4


def measure(
    policy: MeanFieldPolicy | None = None, decisions: Decisions | None = None, repeats: int = 5
) -> pd.DataFrame:
    """One row per form; `policy` and `decisions` are synthetic where not given.

    Columns: form; us_per_state; foolbox_ratio, how many times faster than Foolbox; ce, mean cross-entropy to
    the clean action; flipped, share of argmax actions changed; gflops, arithmetic of the products that the
    ascent needs over its time; rate_share, that over the float32 matrix rate of this run.
    """
    if policy is None or decisions is None:
        policy, decisions = synthetic()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(policy, decisions, repeats)
    finally:
        torch.set_num_threads(threads)


def _measure(policy: MeanFieldPolicy, decisions: Decisions, repeats: int) -> pd.DataFrame:
    states = decisions.dense
    labels = _logits(policy, decisions).argmax(1)
    forms = _forms(policy, decisions, labels)
    left, right = states + EPSILON, policy.actor.state.weight.detach()
    product: Callable[[], Tensor] = lambda: left @ right  # noqa: E731
    seconds = interleaved([product, *forms.values()], repeats)
    rate = 2 * left.numel() * right.shape[1] / seconds[0] / 1e9
    work = _products(policy) * len(states) / 1e9
    rows = []
    for (form, run), s in zip(forms.items(), seconds[1:], strict=True):
        logits = _logits(policy, decisions.showing(run()))
        rows.append(
            {
                "form": form,
                "us_per_state": s / len(states) * 1e6,
                "foolbox_ratio": seconds[1] / s,
                "ce": F.cross_entropy(logits, labels).item(),
                "flipped": (logits.argmax(1) != labels).float().mean().item(),
                "gflops": work / s,
                "rate_share": work / s / rate,
            }
        )
    table = pd.DataFrame(rows)
    table.attrs["matrix_rate"] = rate
    return table


def _forms(policy: MeanFieldPolicy, decisions: Decisions, labels: Tensor) -> dict[str, Callable[[], Tensor]]:
    threat = Threat(norm="l_inf", epsilon=EPSILON)
    rng = torch.Generator()

    def ours(precision: str) -> Tensor:
        attack = PGD(threat=threat, steps=STEPS, step_size=STEP_SIZE, precision=precision)  # type: ignore[arg-type]
        return attack.perturb(policy, decisions, rng)

    return {
        "Foolbox LinfPGD": foolbox_pgd(policy, decisions, labels),
        "plain autograd loop": lambda: plain_loop(policy, decisions, labels),
        "ours, float32": lambda: ours("float32"),
        "ours, 8-bit integers": lambda: ours("auto"),
    }


def foolbox_pgd(policy: MeanFieldPolicy, decisions: Decisions, labels: Tensor) -> Callable[[], Tensor]:
    """Foolbox's PGD on the same policy, with bounds that nothing reaches."""
    from foolbox import PyTorchModel  # type: ignore[attr-defined]
    from foolbox.attacks import LinfPGD

    class Bound(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return policy.logits(decisions.showing(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PyTorchModel(Bound().eval(), bounds=(-1000, 1000), device="cpu")
    attack = LinfPGD(rel_stepsize=STEP_SIZE / EPSILON, steps=STEPS, random_start=False)

    def run() -> Tensor:
        perturbed: Tensor = attack.run(model, decisions.dense, labels, epsilon=EPSILON)
        return perturbed

    return run


def plain_loop(policy: MeanFieldPolicy, decisions: Decisions, labels: Tensor) -> Tensor:
    """What one writes first: the whole batch through autograd, step by step."""
    states = decisions.dense
    x = states.clone()
    for _ in range(STEPS):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(policy.logits(decisions.showing(x)), labels), x)
        x = x.detach() + STEP_SIZE * gradient.sign()
        x = torch.minimum(torch.maximum(x, states - EPSILON), states + EPSILON)
    return x


def _products(policy: MeanFieldPolicy) -> float:
    """Operations of the matrix products in one state's ascent, without the first one, which is sparse."""
    d, h = policy.actor.state.weight.shape
    a = policy.shape.n_actions
    return 2 * ((2 * STEPS - 1) * d * h + 2 * STEPS * (h * h + h * a))


def _logits(policy: MeanFieldPolicy, decisions: Decisions) -> Tensor:
    with torch.no_grad():
        return policy.logits(decisions)


def interleaved(runs: list[Callable[[], Tensor]], repeats: int) -> list[float]:
    """Best seconds of each, taken in turns so that a busy moment strikes all alike."""
    for run in runs:
        run()
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.thread_time()
            run()
            best[i] = min(best[i], time.thread_time() - start)
    return best


def synthetic(
    n: int = 2048, state_size: int = 1217, n_actions: int = 21, hidden: int = 256, seed: int = 0
) -> tuple[MeanFieldPolicy, Decisions]:
    """A random policy, its weights enlarged to be as sure as a trained one, and states 8 % full."""
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = MeanFieldPolicy(state_size, n_actions, hidden=hidden)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(4)
    full = torch.rand(n, state_size, generator=rng) < 0.08
    states = torch.where(full, torch.rand(n, state_size, generator=rng), 0.0)
    mean_actions = torch.rand(n, n_actions, generator=rng)
    return policy, Decisions.of(states, mean_actions / mean_actions.sum(1, keepdim=True))


def battle(
    n: int = 2048, path: Path | None = None, seed: int = 0, max_steps: int = 200
) -> tuple[MeanFieldPolicy, Decisions]:
    """A trained policy, and n decisions of battles that it plays against itself, from all stages of a round."""
    policy: MeanFieldPolicy = load_policy(path or trained(), scenario="battle")[0]
    game = Battle(max_steps=max_steps).make(rounds=4)
    game.reset(np.arange(4) + seed, np.zeros(4, bool))
    rng = torch.Generator().manual_seed(seed)
    states, mean_actions = [], []
    while game.active.any():
        actions = []
        for team in (0, 1):
            seen = game.observe(team)
            seen = seen.showing(seen.dense)
            states.append(seen.dense)
            mean_actions.append(seen.mean_actions)
            uniforms = torch.rand(len(seen), generator=rng)
            actions.append(sample_actions(_logits(policy, seen), uniforms).numpy())
        game.step((actions[0], actions[1]))
    rows = torch.randperm(sum(map(len, states)), generator=rng)[:n]
    return policy, Decisions.of(torch.cat(states)[rows], torch.cat(mean_actions)[rows])


def main() -> None:
    """Print the table, of a trained policy in battle."""
    print(f"states of real battles, policy {trained()}")
    table = measure(*battle())
    print(f"float32 matrix rate in this run: {table.attrs['matrix_rate']:.0f} GFLOP/s, one thread")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"))


if __name__ == "__main__":
    main()
