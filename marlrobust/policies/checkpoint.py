"""Weights as files: safetensors, with a card beside them. Nothing in them is ever run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes

from marlrobust.config import reasons
from marlrobust.errors import UserError
from marlrobust.files import file_hash, write_bytes
from marlrobust.policies import NETWORKS
from marlrobust.policies.card import Card, load_card, save_card, versions


def save_policy(folder: Path, policy: torch.nn.Module, card: Card, *, dtype: torch.dtype = torch.float32) -> Card:
    """Write `<role>.safetensors`, its weights rounded to `dtype`, and `<role>.json` into `folder`, each atomically.

    Returns the card as it was written. One without a critic keeps the actor alone; one that has versions keeps them,
    else they are those of now.
    """
    path = folder / f"{card.role}.safetensors"
    tensors = {k: v.detach().cpu().to(dtype).contiguous() for k, v in _stored(policy, card).items()}
    write_bytes(path, tensor_bytes(tensors))
    shape: Any = policy.shape
    known = {"shape": shape.model_dump(), "versions": card.versions or versions(), "hash": file_hash(path)}
    card = card.model_copy(update=known)
    save_card(path, card)
    return card


def load_policy(path: Path, *, scenario: str | None = None, role: str | None = None) -> tuple[Any, Card]:
    """The policy stored at `path` (`.safetensors`) and its card, in evaluation mode, on the CPU.

    Raises UserError, each with its own sentence, for a missing file, a pickle, a damaged file, one that is not
    what its card describes, weights that are not finite numbers, and one of another scenario or role.
    """
    if not path.is_file():
        raise UserError(f"there is no policy at {path}")
    if _is_pickle(path):
        raise UserError(f"{path} is a pickle, which can run code when it is loaded: save it as safetensors")
    card = load_card(path)
    if scenario is not None and card.scenario != scenario:
        raise UserError(f"{path} was trained on {card.scenario}, not on {scenario}")
    if role is not None and card.role != role:
        raise UserError(f"{path} is the policy of a {card.role}, not of a {role}")
    content = path.read_bytes()
    if file_hash(path) != card.hash:
        raise UserError(
            f"{path} is damaged or was changed: its hash is not the one in {path.with_suffix('.json').name}"
        )
    try:
        tensors = read_tensors(content)
    except SafetensorError as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from None
    policy = _module(path, card)
    expected = {k: tuple(v.shape) for k, v in _stored(policy, card).items()}
    found = {k: tuple(v.shape) for k, v in tensors.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise UserError(f"{path} has the wrong shape: {odd} is {found.get(odd)}, its card says {expected.get(odd)}")
    weights = {k: v.to(torch.float32) for k, v in tensors.items()}
    if odd := next((k for k, v in weights.items() if not bool(torch.isfinite(v).all())), ""):
        raise UserError(f"{path} has weights that are not finite numbers ({odd}): such a policy decides nothing")
    # what the file has not is never to be asked: it answers with NaN
    absent = {k: torch.full(v.shape, torch.nan) for k, v in policy.state_dict().items() if k not in weights}
    policy.load_state_dict(absent | weights, assign=True)
    return policy.requires_grad_().eval(), card


def _module(path: Path, card: Card) -> Any:
    """The card's network without memory for its weights."""
    try:
        with torch.device("meta"):
            return NETWORKS[card.network](**card.shape)
    except ValidationError as error:
        raise UserError(f"the card of {path} has no shape of a policy: {reasons(error)}") from None
    except (UserError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the card of {path} has no shape of a policy: {error}") from None


def _stored(policy: torch.nn.Module, card: Card) -> dict[str, torch.Tensor]:
    """The policy's weights that its file holds."""
    return {k: v for k, v in policy.state_dict().items() if card.critic or k.startswith("actor.")}


def _is_pickle(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(2)
    return (start[:1] == b"\x80" and start[1:] in b"\x02\x03\x04\x05") or zipfile.is_zipfile(path)
