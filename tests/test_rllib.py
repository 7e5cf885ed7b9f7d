"""RLlib, where it is installed: it asks for a Gymnasium of its own, so that it is in no extra but its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.adapters.files import load_file

ray: Any = pytest.importorskip("ray", reason="pip install 'marlrobust[rllib]'")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def module() -> Iterator[Any]:
    """The module of a PPO after one iteration on CartPole."""
    from ray.rllib.algorithms.ppo import PPOConfig

    ray.init(num_cpus=1, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    algorithm = config.training(train_batch_size_per_learner=200, minibatch_size=64, num_epochs=2).build_algo()
    algorithm.train()
    yield algorithm.get_module()
    ray.shutdown()


def test_a_module_answers_as_it_does_there_and_is_attacked(module: Any, tmp_path: Path) -> None:
    module.save_to_path(str(tmp_path / "module"))
    with pytest.raises(UserError, match=r"RLlib checkpoint.*pickles.*--trust"):
        load_file(tmp_path / "module")
    seen = Decisions.of(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    expected = module.forward_inference({"obs": seen.dense})["action_dist_inputs"]
    for policy in (as_policy(module), load_file(tmp_path / "module", trust=True)):
        torch.testing.assert_close(policy.logits(seen), expected)
        moved = ATTACKS["pgd"](threat=Threat(epsilon=0.5)).perturb(policy, seen)
        assert (policy.logits(seen.showing(moved)).argmax(1) != expected.argmax(1)).float().mean() > 0.1


def test_what_is_no_module_is_told(module: Any) -> None:
    with pytest.raises(UserError, match="no RLModule on torch"):
        as_policy(type("Odd", (), {"__module__": "ray.odd", "__call__": lambda self: None})())
