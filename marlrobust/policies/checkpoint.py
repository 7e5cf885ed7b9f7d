"""Policies as files: safetensors with a JSON beside them. Nothing in them is ever run."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import zipfile
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from marlrobust.errors import UserError
from marlrobust.files import write_atomically
from marlrobust.policies.networks import MeanFieldPolicy

ADVERSARY = "adversary"  # role of those that the attack `learned` uses


@dataclass(frozen=True)
class Card:
    """What is known of a stored policy, in the JSON beside its weights.

    hash: SHA-256 of the weights' file; settings: of its training; trained: rounds, seconds and seed; against: hash of
    the policy that an adversary was trained against; versions: of what it was trained with; results: of its
    evaluation, where it had one (see `zoo.py`).
    """

    method: str
    scenario: str
    role: str
    state_size: int
    n_actions: int
    hidden: int
    embedding: int
    mean_field: bool
    seed: int
    rounds: int
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hash: str = ""
    against: str = ""
    results: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> str:
        """One line: how it was trained, and what its evaluation found, clean and with the most agents attacked."""
        words = [
            *dict.fromkeys((self.method, self.role)),
            f"{self.rounds} rounds",
            f"seed {self.seed}",
            f"{self.seconds / 60:.0f} min",
        ]
        by_count = self.results.get("attacked_agents", {})
        if by_count:
            clean, attacked = (by_count[end(by_count, key=int)]["reward_mean"] for end in (min, max))
            words.append(f"reward {clean:.0f}, under {self.results['attack']} {attacked:.0f}")
        return ", ".join([*words, self.hash[:12]])


def versions() -> dict[str, str]:
    """Versions of what a number depends on."""
    packages = ("marlrobust", "torch", "magent2", "numpy")
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def save_policy(folder: Path, policy: MeanFieldPolicy, card: Card, *, dtype: torch.dtype = torch.float32) -> None:
    """Write `<role>.safetensors`, its weights rounded to `dtype`, and `<role>.json` into `folder`, each atomically.

    Of an adversary only the actor is kept: once trained, nobody asks for its values.
    A card that has versions keeps them; else they are those of now.
    """
    path = folder / f"{card.role}.safetensors"
    weights = _stored(policy, card)
    tensors = {k: v.detach().cpu().to(dtype).contiguous() for k, v in weights.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary))
    save_card(path, replace(card, versions=card.versions or versions(), hash=file_hash(path)))


def save_card(path: Path, card: Card) -> None:
    """Write the card of the weights at `path` beside them, atomically."""
    text = json.dumps(asdict(card), indent=2)
    write_atomically(path.with_suffix(".json"), lambda temporary: temporary.write_text(text + "\n"))


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_card(path: Path) -> Card:
    """The card beside the weights at `path`; raises UserError where it is missing or malformed."""
    beside = path.with_suffix(".json")
    try:
        return Card(**json.loads(beside.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path} has no card: {beside.name} is missing beside it") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"the card {beside} is damaged: {error}") from None


def load_policy(path: Path, *, scenario: str, role: str | None = None) -> tuple[MeanFieldPolicy, Card]:
    """The policy stored at `path` (`.safetensors`) and its card, in evaluation mode, on the CPU.

    Raises UserError, each with its own sentence, for a missing file, a pickle, a damaged file, one that is not
    what its card describes, and one of another scenario or role.
    """
    if not path.is_file():
        raise UserError(f"there is no policy at {path}")
    if _is_pickle(path):
        raise UserError(f"{path} is a pickle, which can run code when it is loaded: save it as safetensors")
    card = load_card(path)
    if card.scenario != scenario:
        raise UserError(f"{path} was trained on {card.scenario}, not on {scenario}")
    if role is not None and card.role != role:
        raise UserError(f"{path} is the policy of a {card.role}, not of a {role}")
    if file_hash(path) != card.hash:
        raise UserError(
            f"{path} is damaged or was changed: its hash is not the one in {path.with_suffix('.json').name}"
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from None
    policy = MeanFieldPolicy(
        card.state_size,
        card.n_actions,
        hidden=card.hidden,
        embedding=card.embedding,
        mean_field=card.mean_field,
    )
    weights = _stored(policy, card)
    expected = {k: tuple(v.shape) for k, v in weights.items()}
    found = {k: tuple(v.shape) for k, v in tensors.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise UserError(f"{path} has the wrong shape: {odd} is {found.get(odd)}, its card says {expected.get(odd)}")
    absent = {k: torch.full_like(v, math.nan) for k, v in policy.state_dict().items() if k not in weights}
    policy.load_state_dict(absent | {k: v.to(torch.float32) for k, v in tensors.items()})
    return policy.eval(), card


def _stored(policy: MeanFieldPolicy, card: Card) -> dict[str, torch.Tensor]:
    """The policy's weights that its file holds."""
    return {k: v for k, v in policy.state_dict().items() if card.role != ADVERSARY or k.startswith("actor.")}


def _is_pickle(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(2)
    return (start[:1] == b"\x80" and start[1:] in b"\x02\x03\x04\x05") or zipfile.is_zipfile(path)
