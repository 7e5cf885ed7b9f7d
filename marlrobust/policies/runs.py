"""Where trained policies are: `runs/<scenario>/<name>/<role>.safetensors`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marlrobust.errors import UserError
from marlrobust.policies.checkpoint import Card, load_card

RUNS = Path("runs")
TESTED = {
    "battle": ("soldier", "soldier"),
    "pursuit": ("predator", "prey"),
}  # the team under test, its opponent


@dataclass(frozen=True)
class StoredPolicy:
    """name: as tables show it; path: of its `.safetensors`; card: what is known of it."""

    name: str
    path: Path
    card: Card


def find(name: str, runs: Path, scenario: str, *, opponent: bool = False) -> StoredPolicy | None:
    """The policy called `name` for the tested team of `scenario`, or for its opponent; None where there is none.

    name: a folder's under `runs`, a folder's path, or a `.safetensors` file's.
    """
    role = TESTED[scenario][opponent]
    for path in (
        Path(name),
        Path(name) / f"{role}.safetensors",
        runs / scenario / name / f"{role}.safetensors",
    ):
        if path.is_file() and path.suffix != ".safetensors":
            raise UserError(f"{path} is no .safetensors file: policies are stored so, and nothing else is loaded")
        if path.is_file():
            card = load_card(path)
            if (card.scenario, card.role) == (scenario, role):
                return StoredPolicy(path.parent.name, path, card)
    return None


def every(runs: Path, scenario: str) -> list[StoredPolicy]:
    """Every policy of the tested team of `scenario` under `runs`."""
    paths = sorted((runs / scenario).glob(f"[!.]*/{TESTED[scenario][0]}.safetensors"))
    return [StoredPolicy(path.parent.name, path, load_card(path)) for path in paths]
