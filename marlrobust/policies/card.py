"""What is known of a stored policy: the JSON beside its weights, typed and checked. No torch is needed to read it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marlrobust.config import reasons
from marlrobust.errors import UserError
from marlrobust.files import write_bytes

Count = Annotated[str, Field(pattern=r"^\d{1,9}$")]


class Results(BaseModel):
    """What an evaluation found: count of attacked agents (a whole number, as text) to columns of its table."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    attack: str
    epsilon: float
    attacked_agents: dict[Count, dict[str, float]] = Field(min_length=1)


class Card(BaseModel):
    """The JSON beside a policy's weights.

    network, shape: what the weights belong to (`policies.NETWORKS`); critic: whether they hold a critic's too;
    hash: SHA-256 of the weights' file; settings: of its training; rounds, planned_rounds: that it was, and should
    have been, trained for; against: hash of the policy that an adversary was trained against; versions: of what it
    was trained with; results: of its evaluation, where it had one (`tools/zoo.py`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    method: str
    scenario: str
    role: str
    network: str = "mean_field"
    shape: dict[str, Any]
    critic: bool = True
    seed: int = Field(ge=0)
    rounds: int = Field(ge=0)
    planned_rounds: int = Field(ge=0)
    seconds: float = Field(ge=0)
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    hash: str = ""
    against: str = ""
    results: Results | None = None

    @property
    def interrupted(self) -> bool:
        """Whether its training ended before its end."""
        return self.rounds < self.planned_rounds

    @property
    def state_size(self) -> int:
        """d, the length of a state that it takes; 0 where the card does not say."""
        size = self.shape.get("state_size", 0)
        return size if isinstance(size, int) else 0

    def summary(self) -> str:
        """One line: how it was trained, and what its evaluation found, clean and with the most agents attacked."""
        words = [*dict.fromkeys((self.method, self.role)), f"{self.rounds} rounds", f"seed {self.seed}"]
        words.append(f"{self.seconds / 60:.0f} min")
        if self.interrupted:
            words.append(f"interrupted before round {self.planned_rounds}")
        if self.results is not None:
            ends = (self.results.attacked_agents[end(self.results.attacked_agents, key=int)] for end in (min, max))
            clean, attacked = (line.get("reward_mean", float("nan")) for line in ends)
            words.append(f"reward {clean:.0f}, under {self.results.attack} {attacked:.0f}")
        return ", ".join([*words, self.hash[:12]])


def versions() -> dict[str, str]:
    """Versions of what a number depends on."""
    packages = ("marlrobust", "torch", "magent2", "numpy")
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def save_card(path: Path, card: Card) -> None:
    """Write the card of the weights at `path` beside them, atomically."""
    write_bytes(path.with_suffix(".json"), (card.model_dump_json(indent=2, exclude_none=True) + "\n").encode())


def load_card(path: Path) -> Card:
    """The card beside the weights at `path`; raises UserError where it is missing or malformed."""
    beside = path.with_suffix(".json")
    try:
        return Card.model_validate(json.loads(beside.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path} has no card: {beside.name} is missing beside it") from None
    except ValidationError as error:
        raise UserError(f"the card {beside} is damaged: {reasons(error)}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the card {beside} is damaged: {error}") from None
