"""How much attacks achieve, and in what time: ours beside Foolbox, torchattacks and ART.

    python -m benchmarks.strength

All perturb the same real states of the same policy inside the same l_inf ball, in one run, on one thread. torchattacks
and ART, where pip can fetch them, are put into a folder of their own, without what they would bring along (it would
replace torch), and run in a process that imports them from there. torchattacks clips to [0, 1]: it is given states
and epsilon scaled into that range.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import trained
from benchmarks.pgd import EPSILON, STEP_SIZE, STEPS, battle, foolbox_pgd
from marlrobust.attacks import ATTACKS, Attack, Threat
from marlrobust.attacks.gradient import margin
from marlrobust.games.game import Decisions
from marlrobust.policies.mean_field import MeanFieldPolicy

OURS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("fgsm", {}),
    ("pgd", {"step_size": STEP_SIZE}),
    ("mim", {"step_size": STEP_SIZE}),
    ("margin", {}),
    ("apgd-ce", {}),
    ("apgd-dlr", {}),
    ("targeted", {}),
    ("critic", {}),
    ("square", {}),
    ("auto", {}),
)
PEERS = {
    "torchattacks": (),
    "adversarial-robustness-toolbox": ("six", "scikit-learn", "joblib", "threadpoolctl", "narwhals"),
}
"""Package to what it imports and we have not."""


def measure(path: Path | None = None, n: int = 512) -> pd.DataFrame:
    """One row per attack: who, attack, flipped (share of argmax actions changed), ce and margin (means, of the
    delivered states), us_per_state. path: the policy's file; n: states."""
    torch.set_num_threads(1)
    policy, decisions = battle(n, path or trained())
    with torch.no_grad():
        labels = policy.logits(decisions).argmax(1)
    rows = []

    def add(who: str, name: str, run: Callable[[], Tensor]) -> None:
        run()  # what is compiled, is compiled now
        began = time.thread_time()
        perturbed = run()
        rows.append({"who": who, "attack": name, **_strength(policy, decisions.showing(perturbed), labels),
                     "us_per_state": (time.thread_time() - began) / n * 1e6})  # fmt: skip

    for name, parameters in OURS:
        attack = ATTACKS[name](threat=Threat(epsilon=EPSILON), **parameters)
        add("ours", name, _run(attack, policy, decisions))
    add("Foolbox", "LinfPGD", foolbox_pgd(policy, decisions, labels))
    for who, name, run in _foolbox_others(policy, decisions, labels):
        add(who, name, run)
    return pd.DataFrame([*rows, *_peers(path or trained(), n)])


def _run(attack: Attack, policy: MeanFieldPolicy, decisions: Decisions) -> Callable[[], Tensor]:
    """The attack, with the same noise each time."""
    return lambda: attack.perturb(policy, decisions, torch.Generator().manual_seed(0))


def _strength(policy: MeanFieldPolicy, shown: Decisions, labels: Tensor) -> dict[str, float]:
    with torch.no_grad():
        logits = policy.logits(shown.showing(shown.dense.detach().float()))
    return {
        "flipped": (logits.argmax(1) != labels).float().mean().item(),
        "ce": F.cross_entropy(logits, labels).item(),
        "margin": margin(logits, labels).mean().item(),
    }


def _foolbox_others(
    policy: MeanFieldPolicy, decisions: Decisions, labels: Tensor
) -> list[tuple[str, str, Callable[[], Tensor]]]:
    """Foolbox's momentum attack, where its version has one."""
    import foolbox
    from foolbox import PyTorchModel  # type: ignore[attr-defined]

    kind = getattr(foolbox.attacks, "LinfMomentumIterativeFastGradientMethod", None)
    if kind is None:  # before Foolbox 3.3.4
        return []

    class Bound(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return policy.logits(decisions.showing(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PyTorchModel(Bound().eval(), bounds=(-1000, 1000), device="cpu")
    attack = kind(abs_stepsize=STEP_SIZE, steps=STEPS, random_start=False)
    return [("Foolbox", "MIM", lambda: attack.run(model, decisions.dense, labels, epsilon=EPSILON))]


def _peers(path: Path, n: int) -> list[dict[str, Any]]:
    """Rows of torchattacks and ART, from a process of their own; a row that says so for one that does not run."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for package, needs in PEERS.items():
            own = Path(folder) / package
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                str(own),
                package,
                *needs,
            ]
            run = [sys.executable, "-m", "benchmarks.strength", package, str(path), str(n)]
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(own)])),
            }
            try:
                subprocess.run(pip, check=True, capture_output=True, text=True)
                done = subprocess.run(run, check=True, capture_output=True, text=True, env=environment)
                rows += json.loads(done.stdout.splitlines()[-1])
            except subprocess.CalledProcessError as error:
                reason = (error.stderr.strip().splitlines() or ["no reason"])[-1]
                rows.append({"who": package, "attack": f"does not run: {reason}"})
    return rows


def _peer(package: str, path: Path, n: int) -> list[dict[str, Any]]:
    """In its own process: the package's PGD, MIM and, where it has one, its ensemble."""
    torch.set_num_threads(1)
    policy, decisions = battle(n, path)
    states = decisions.dense
    low, high = states.min().item() - EPSILON, states.max().item() + EPSILON
    scale = high - low
    with torch.no_grad():
        labels = policy.logits(decisions).argmax(1)

    class Unit(torch.nn.Module):
        """The policy on states scaled into [0, 1] and shaped as images, of one row of pixels; all of them, in order."""

        def forward(self, x: Tensor) -> Tensor:
            return policy.logits(decisions.take(slice(len(x))).showing(x.flatten(1) * scale + low))

    unit, epsilon, step = (states - low)[:, None, None] / scale, EPSILON / scale, STEP_SIZE / scale
    runs: dict[str, Callable[[], Tensor]]
    if package == "torchattacks":
        import torchattacks  # type: ignore[import-not-found]

        model = Unit().eval()
        made = {
            "PGD": torchattacks.PGD(model, eps=epsilon, alpha=step, steps=STEPS, random_start=False),
            "MIFGSM": torchattacks.MIFGSM(model, eps=epsilon, alpha=step, steps=STEPS),
        }
        runs = {name: partial(attack, unit, labels) for name, attack in made.items()}
    else:
        from art.attacks.evasion import (  # type: ignore[import-not-found]
            MomentumIterativeMethod,
            ProjectedGradientDescent,
        )
        from art.estimators.classification import PyTorchClassifier  # type: ignore[import-not-found]

        classifier = PyTorchClassifier(
            Unit().eval(), torch.nn.CrossEntropyLoss(), unit.shape[1:], policy.shape.n_actions
        )
        shared = {"eps": epsilon, "eps_step": step, "max_iter": STEPS, "batch_size": n, "verbose": False}
        kinds = {"PGD": ProjectedGradientDescent, "MIM": MomentumIterativeMethod}

        def generated(kind: Any) -> Tensor:
            return torch.from_numpy(kind(classifier, **shared).generate(unit.numpy(), labels.numpy()))

        runs = {name: partial(generated, kind) for name, kind in kinds.items()}
    rows = []
    for name, run in runs.items():
        run()
        began = time.thread_time()
        perturbed = run().flatten(1) * scale + low
        took = (time.thread_time() - began) / n * 1e6
        rows.append(
            {
                "who": package,
                "attack": name,
                **_strength(policy, decisions.showing(perturbed), labels),
                "us_per_state": took,
            }
        )
    return rows


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(_peer(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        given = Path(sys.argv[1]) if len(sys.argv) == 2 else None
        print(measure(given).to_string(index=False, float_format=lambda x: f"{x:.3g}"))
