"""Policies of others: what is trained elsewhere answers here as it does there, and is attacked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.distributions import Categorical

from marlrobust.attacks import ATTACKS, Threat
from marlrobust.errors import UserError
from marlrobust.games.game import Decisions
from marlrobust.policies.actions import Vectors, actions_of
from marlrobust.policies.adapters import as_policy
from marlrobust.policies.adapters.files import load_file, named
from marlrobust.policies.layers import Stack
from marlrobust.policies.mean_field import MeanFieldPolicy
from marlrobust.policies.policy import Policy, has_values, value_of

D, A, N = 6, 3, 20


def states(*shape: int) -> Tensor:
    return torch.randn(N, *(shape or (D,)), generator=torch.Generator().manual_seed(0))


def decisions(agents: int = 1) -> Decisions:
    made = Decisions.of(states(), torch.zeros(N, 2))
    made.agent[:] = np.arange(N) % agents
    return made


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, A))


class OfStates:
    def logits(self, states: Tensor) -> Tensor:
        y: Tensor = net()(states)
        return y

    def q_values(self, states: Tensor) -> Tensor:
        return -self.logits(states)


class OfMeans:
    def logits(self, states: Tensor, mean_actions: Tensor) -> Tensor:
        assert mean_actions.shape == (len(states), 2)
        y: Tensor = net()(states)
        return y


class OfDecisions:
    def logits(self, decisions: Decisions) -> Tensor:
        y: Tensor = net()(decisions.dense)
        return y


class Agent(nn.Module):
    """As CleanRL writes them: no forward."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = net()
        self.critic = nn.Linear(D, 1)

    def get_action_and_value(self, x: Tensor) -> Any:
        return self.actor(x).argmax(1), self.critic(x)


FORMS: dict[str, Callable[[], Any]] = {
    "module": net,
    "function": lambda: lambda x: net()(x),
    "of states": OfStates,
    "of states and mean actions": OfMeans,
    "of decisions": OfDecisions,
    "CleanRL's": Agent,
    "a distribution": lambda: lambda x: Categorical(logits=net()(x)),
    "a tuple": lambda: lambda x: (net()(x), None),
    "a dict": lambda: lambda x: {"logits": net()(x)},
    "float64": lambda: net().double(),
    "TorchScript": lambda: torch.jit.trace(net(), states()),  # type: ignore[no-untyped-call]
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same_and_is_attacked(form: str) -> None:
    policy, seen = as_policy(FORMS[form]()), decisions()
    probabilities = policy.logits(seen).softmax(1)
    torch.testing.assert_close(probabilities, net()(states()).softmax(1), atol=1e-5, rtol=1e-4)
    moved = ATTACKS["pgd"](threat=Threat(epsilon=0.3)).perturb(policy, seen)
    expected = ATTACKS["pgd"](threat=Threat(epsilon=0.3)).perturb(as_policy(net()), seen)
    assert (moved != expected).float().mean() < 0.02
    assert as_policy(policy) is policy or form != "of decisions"


def test_a_critic_is_one_only_where_there_is_one() -> None:
    with_critic, without = as_policy(OfStates()), as_policy(net())
    assert has_values(with_critic)
    assert not has_values(without)
    ATTACKS["critic"](threat=Threat()).perturb(with_critic, decisions())
    with pytest.raises(UserError, match="asks a critic"):
        ATTACKS["critic"](threat=Threat()).perturb(without, decisions())


def test_images_reach_a_module_in_their_shape() -> None:
    image = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 36, A))
    seen = states(2, 8, 8)
    policy = as_policy(image, (2, 8, 8))
    torch.testing.assert_close(policy.logits(Decisions.of(seen.flatten(1))), image(seen))


def test_each_agent_has_its_own_or_shares_one() -> None:
    one, two = net(1), net(2)
    for given in ([one, two, one], {0: one, 1: two, 2: one}):
        logits = as_policy(given).logits(decisions(3))
        for row in range(N):
            own = two if row % 3 == 1 else one
            torch.testing.assert_close(logits[row], own(states())[row])
    with pytest.raises(UserError, match="none for agent 2"):
        as_policy([one, two]).logits(decisions(3))
    with pytest.raises(UserError, match="3 or 6 logits"):
        as_policy([one, nn.Tanh()]).logits(decisions(2))
    moved = ATTACKS["pgd"](threat=Threat()).perturb(as_policy([one, two]), decisions(2))
    alone = ATTACKS["pgd"](threat=Threat()).perturb(as_policy(two), decisions(2))
    assert (moved[1::2] != alone[1::2]).float().mean() < 0.02
    assert (moved[::2] != alone[::2]).float().mean() > 0.1


class Headless(nn.Module):
    """No forward, and two parts: which one acts?"""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.actor = nn.Linear(D, D), nn.Linear(D, A)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (3, "int is no policy"),
        (Headless(), "has no forward"),
        (lambda a, b, c: a, r"not \(a, b, c\)"),
        ([], "for each agent"),
        ({"one": net()}, "agent's index"),
    ],
)
def test_what_is_no_policy_is_told(thing: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        as_policy(thing)


@pytest.mark.parametrize("answer", [lambda x: 3, lambda x: x.argmax(1), lambda x: x[0], lambda x: {"q": x}])
def test_an_answer_that_is_no_logits_is_told(answer: Any) -> None:
    with pytest.raises(UserError, match="one logit for each action"):
        as_policy(answer).logits(decisions())


def spread() -> Any:
    """simple_spread as an environment of one agent: the others stand still."""
    import gymnasium
    from mpe2 import simple_spread_v3

    class Single(gymnasium.Env[Any, Any]):
        def __init__(self) -> None:
            self.env = simple_spread_v3.parallel_env(N=1, max_cycles=10)
            self.name = self.env.possible_agents[0]
            self.observation_space = self.env.observation_space(self.name)
            self.action_space = self.env.action_space(self.name)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            seen, info = self.env.reset(seed=seed)
            return seen[self.name], info[self.name]

        def step(self, action: Any) -> Any:
            return tuple(part[self.name] for part in self.env.step({self.name: action}))

    return Single()


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN"])
def test_stable_baselines3(algorithm: str, tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    pytest.importorskip("mpe2")
    options: Any = {"n_steps": 64} if algorithm == "PPO" else {"learning_starts": 50} if algorithm == "DQN" else {}
    model = getattr(sb3, algorithm)("MlpPolicy", spread(), seed=0, device="cpu", **options)
    model.learn(200)
    size = model.observation_space.shape[0]
    seen = states(size)
    file = tmp_path / "model.zip"
    model.save(file)
    with pytest.raises(UserError, match=r"pickles.*any code.*--trust"):
        load_file(file)
    for policy in (as_policy(model), load_file(file, trust=True)):
        actions = policy.logits(Decisions.of(seen)).argmax(1)
        assert actions.tolist() == model.predict(seen.numpy(), deterministic=True)[0].tolist()
        moved = ATTACKS["pgd"](threat=Threat(epsilon=0.5)).perturb(policy, Decisions.of(seen))
        turned = policy.logits(Decisions.of(moved)).argmax(1) != actions
        assert turned.any()
        assert has_values(policy) == (algorithm == "DQN")
        assert Stack.of(policy) is not None  # layers alone: no autograd is needed
    plain = ATTACKS["pgd"](threat=Threat(epsilon=0.5)).perturb(model, seen.numpy())
    np.testing.assert_array_equal(plain, moved.numpy())


def test_stable_baselines3_with_another_network() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    pytest.importorskip("mpe2")
    env = spread()
    model = sb3.PPO("MlpPolicy", env, policy_kwargs={"share_features_extractor": False}, device="cpu")
    seen = states(model.observation_space.shape[0])
    actions = as_policy(model).logits(Decisions.of(seen)).argmax(1).tolist()
    assert actions == model.predict(seen.numpy(), deterministic=True)[0].tolist()


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC", "TD3", "DDPG"])
def test_stable_baselines3_with_continuous_actions(algorithm: str, tmp_path: Path) -> None:
    """Its own mean actions, and its own critic's values, of a model and of its file."""
    sb3 = pytest.importorskip("stable_baselines3")
    options: Any = {} if algorithm in ("PPO", "A2C") else {"learning_starts": 50}
    model = getattr(sb3, algorithm)("MlpPolicy", "Pendulum-v1", seed=0, device="cpu", **options)
    model.learn(100)
    model.save(tmp_path / "model.zip")
    seen = states(3)
    for policy in (as_policy(model), load_file(tmp_path / "model.zip", trust=True)):
        kind = actions_of(policy)
        assert isinstance(kind, Vectors)
        actions = kind.best(policy.logits(Decisions.of(seen)))
        expected = model.predict(seen.numpy(), deterministic=True)[0]
        np.testing.assert_allclose(actions.detach().numpy(), expected, atol=1e-5)
        assert has_values(policy) == hasattr(model, "critic")
        if has_values(policy):
            scaled = torch.from_numpy(model.policy.scale_action(expected))
            values = torch.cat(model.critic(seen, scaled), 1).min(1).values
            torch.testing.assert_close(value_of(policy, Decisions.of(seen), actions), values)
        moved = ATTACKS["pgd"](threat=Threat(epsilon=0.5)).perturb(policy, Decisions.of(seen))
        noise = ATTACKS["random"](threat=Threat(epsilon=0.5)).perturb(policy, Decisions.of(seen))
        clean = policy.logits(Decisions.of(seen))
        ways = [float(kind.moved(clean, policy.logits(Decisions.of(x))).mean()) for x in (noise, moved)]
        assert ways[0] < ways[1]


def trained_torchrl(group: bool) -> Any:
    """An actor of TorchRL after some steps of REINFORCE: action 1 pays."""
    pytest.importorskip("torchrl")
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torchrl.modules import MLP, MultiAgentMLP, ProbabilisticActor

    torch.manual_seed(0)
    keys: Any = (("agents", "observation"), ("agents", "logits")) if group else ("observation", "logits")
    options: Any = {"n_agents": 3, "centralized": False, "share_params": False} if group else {}
    kind, sizes = (
        (MultiAgentMLP, ("n_agent_inputs", "n_agent_outputs")) if group else (MLP, ("in_features", "out_features"))
    )
    inner = kind(**dict(zip(sizes, (D, A), strict=True)), depth=2, num_cells=16, **options)
    module = TensorDictModule(inner, in_keys=[keys[0]], out_keys=[keys[1]])
    action: Any = ("agents", "action") if group else "action"
    actor = ProbabilisticActor(
        module, in_keys={"logits": keys[1]}, out_keys=[action], distribution_class=Categorical, return_log_prob=True
    )
    optimizer = torch.optim.Adam(actor.parameters(), 1e-2)
    for _ in range(20):
        x = torch.randn(64, *((3, D) if group else (D,)))
        out = actor(TensorDict({keys[0]: x}, batch_size=[64]))
        log_pi = out.get(keys[1]).log_softmax(-1)
        chosen = out.get(action)
        loss = -(log_pi.gather(-1, chosen[..., None])[..., 0] * (chosen == 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return actor, keys


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("squashed", [False, True])
def test_torchrl_with_continuous_actions(squashed: bool) -> None:
    """An actor that has learned to take the middle of its first two observations; its mean action is its own."""
    pytest.importorskip("torchrl")
    from tensordict import TensorDict
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torch.distributions import Normal
    from torchrl.modules import MLP, ProbabilisticActor, TanhNormal

    torch.manual_seed(0)
    inner = nn.Sequential(MLP(in_features=D, out_features=2, depth=1, num_cells=32), NormalParamExtractor())
    module = TensorDictModule(inner, in_keys=["observation"], out_keys=["loc", "scale"])
    options: Any = {"low": -1.0, "high": 3.0} if squashed else {}
    kind: Any = TanhNormal if squashed else Normal
    actor = ProbabilisticActor(
        module, in_keys=["loc", "scale"], distribution_class=kind, distribution_kwargs=options, return_log_prob=True
    )
    optimizer = torch.optim.Adam(actor.parameters(), 1e-2)
    box = Box(-1, 3, (1,))
    for _ in range(150):
        x = torch.rand(64, D)
        out = actor(TensorDict({"observation": x}, batch_size=[64]))
        loss = ((out.get("action") - x[:, :2].mean(1, keepdim=True)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy, seen = as_policy(actor, None, box), Decisions.of(torch.rand(N, D))
    kinds = actions_of(policy)
    assert isinstance(kinds, Vectors)
    told = actor(TensorDict({"observation": seen.dense}, batch_size=[N]))
    expected = 4 * (torch.tanh(told.get("loc")) + 1) / 2 - 1 if squashed else told.get("loc")
    actions = kinds.best(policy.logits(seen))
    torch.testing.assert_close(actions, expected.clamp(-1, 3))
    torch.testing.assert_close(policy.logits(seen)[:, 1:].exp(), told.get("scale"))
    assert float((actions - seen.dense[:, :2].mean(1, keepdim=True)).abs().mean()) < 0.2
    ways = []
    for name in ("random", "pgd"):
        shown = ATTACKS[name](threat=Threat(epsilon=0.3)).perturb(policy, seen)
        ways.append(float(kinds.moved(policy.logits(seen), policy.logits(seen.showing(shown))).mean()))
    assert ways[1] > 1.5 * ways[0]
    with pytest.raises(UserError, match="as_policy takes their box"):
        as_policy(actor)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", [False, True])
def test_torchrl(group: bool) -> None:
    actor, keys = trained_torchrl(group)
    from tensordict import TensorDict

    seen = decisions(3)
    policy = as_policy(actor)
    x = states()[:, None].expand(-1, 3, -1) if group else states()
    told = actor(TensorDict({keys[0]: x}, batch_size=[N])).get(keys[1])
    expected = told[torch.arange(N), torch.from_numpy(seen.agent)] if group else told
    torch.testing.assert_close(policy.logits(seen), expected)
    assert (policy.logits(seen).argmax(1) == 1).float().mean() > 0.8
    moved = ATTACKS["pgd"](threat=Threat(epsilon=1.0)).perturb(policy, seen)
    assert policy.logits(seen.showing(moved))[:, 1].mean() < expected[:, 1].mean()


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_a_program_and_needs_trust(tmp_path: Path) -> None:
    file = tmp_path / "policy.pt"
    torch.jit.trace(net(), states()).save(str(file))  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match=r"program.*--trust"):
        load_file(file)
    policy = load_file(file, trust=True)
    torch.testing.assert_close(policy.logits(decisions()), net()(states()))
    moved = ATTACKS["pgd"](threat=Threat()).perturb(policy, decisions())
    assert (moved != states()).any()


@pytest.mark.filterwarnings("ignore")
def test_onnx_answers_and_only_attacks_without_gradients_are_made(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "policy.onnx"
    write_onnx(file)
    policy = load_file(file)  # nothing in it is run
    torch.testing.assert_close(policy.logits(decisions()), net()(states()), atol=1e-5, rtol=1e-5)
    for name in ("pgd", "apgd-ce", "auto"):
        with pytest.raises(UserError, match=r"no gradient flows.*'square'"):
            ATTACKS[name](threat=Threat()).perturb(policy, decisions())
    square = ATTACKS["square"](threat=Threat(epsilon=0.5)).perturb(policy, decisions())
    assert (policy.logits(decisions().showing(square)).argmax(1) != net()(states()).argmax(1)).any()


def write_onnx(file: Path) -> None:
    """`net()` as ONNX, node by node: what an exporter writes."""
    onnx: Any = pytest.importorskip("onnx")
    first, last = list(net())[::2]
    weights: dict[str, Any] = {"w1": first.weight, "b1": first.bias, "w2": last.weight, "b2": last.bias}
    make = onnx.helper
    nodes = [
        make.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        make.make_node("Tanh", ["h"], ["t"]),
        make.make_node("Gemm", ["t", "w2", "b2"], ["logits"], transB=1),
    ]
    ends = [make.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", D), ("logits", A))]
    stored = [onnx.numpy_helper.from_array(w.detach().numpy(), name) for name, w in weights.items()]
    graph = make.make_graph(nodes, "policy", ends[:1], ends[1:], stored)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9), str(file))


def test_a_name_of_module_and_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_policies.py").write_text(
        "import torch\nfrom torch import nn\nnet = nn.Linear(6, 3)\n"
        "def made():\n    return net\n"
        "def acts(states):\n    return net(states)\n"
        "class Mine:\n    def logits(self, states):\n        return net(states)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    logits = [as_policy(named(f"my_policies:{name}")).logits(decisions()) for name in ("net", "made", "acts", "Mine")]
    assert all(torch.equal(logits[0], other) for other in logits)
    for name in ("my_policies:other", "no_such_module:net", "my_policies"):
        with pytest.raises(UserError, match=r"there is no (policy|module)"):
            named(name)
    sys.modules.pop("my_policies")


@pytest.mark.parametrize("name", ["policy.pkl", "missing.zip"])
def test_other_files_are_told(name: str, tmp_path: Path) -> None:
    if name == "policy.pkl":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"is no policy: (it is none of|there is nothing)"):
        load_file(tmp_path / name, trust=True)


def test_our_own_policy_is_taken_as_it_is() -> None:
    policy: Policy = MeanFieldPolicy(D, A)
    assert as_policy(policy) is policy


def test_a_policy_whose_states_leave_torch_has_no_gradients_and_says_so() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    policy = as_policy(lambda states: torch.from_numpy(states.numpy() @ weights))
    decisions, rng = Decisions.of(torch.rand(5, 6)), torch.Generator().manual_seed(0)
    with pytest.raises(UserError, match="no gradient flows"):
        ATTACKS["pgd"](threat=Threat()).perturb(policy, decisions, rng)
    assert len(ATTACKS["random"](threat=Threat()).perturb(policy, decisions, rng)) == 5
    with pytest.raises(UserError, match=r"torch tensor.*from_numpy"):
        as_policy(lambda states: states.numpy()).logits(decisions)


class Forgetful(nn.Module):
    """A recurrent module as one writes it for PyTorch: its memory is an argument that nobody gives."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(6, 8), nn.Linear(8, 4)

    def forward(self, states: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, memory = self.cell(states[None], memory)
        return self.out(y[0]), memory


def test_a_module_whose_memory_would_be_lost_is_refused() -> None:
    with pytest.raises(UserError, match=r"has a GRU.*initial_memory"):
        as_policy(Forgetful())
    known = Forgetful()
    known.memoryless = True  # type: ignore[assignment]
    as_policy(known)
