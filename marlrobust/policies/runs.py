"""Where trained policies are: `runs/<scenario>/<name>/<role>.safetensors`, and the bundled ones in `zoo/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import marlrobust
from marlrobust.errors import UserError
from marlrobust.policies.checkpoint import Card, load_card
from marlrobust.registry import unknown

RUNS = Path("runs")
ZOO = Path(marlrobust.__file__).parent / "zoo"
BUNDLED = "zoo:"
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

    @property
    def full_name(self) -> str:
        """`battle/romfac`, or `zoo:battle/romfac`."""
        return f"{BUNDLED if self.bundled else ''}{self.card.scenario}/{self.name}"

    @property
    def bundled(self) -> bool:
        """Whether it is one of the bundled policies."""
        return self.path.is_relative_to(ZOO)


def training_name(method: str, seed: int) -> str:
    """What a training is called, and its folder, unless it is given another."""
    return method if seed == 0 else f"{method}-seed{seed}"


def find(name: str, runs: Path, scenario: str, *, opponent: bool = False) -> StoredPolicy | None:
    """The policy called `name` for the tested team of `scenario`, or for its opponent; None where there is none.

    name: a folder's under `runs`, a folder's path, a `.safetensors` file's, or a bundled policy's: `zoo:NAME`,
    `zoo:SCENARIO/NAME`, or NAME alone where `runs` has none. Raises UserError for a `zoo:` name that there is not.
    """
    role = TESTED[scenario][opponent]
    paths: tuple[Path, ...] = (
        Path(name),
        Path(name) / f"{role}.safetensors",
        runs / scenario / name / f"{role}.safetensors",
        ZOO / scenario / name / f"{role}.safetensors",
    )
    if name.startswith(BUNDLED):
        of, _, short = name.removeprefix(BUNDLED).rpartition("/")
        known = [p.full_name for p in bundled()]
        if not any(full.endswith(f"/{short}") and of in full for full in known):
            raise UserError(unknown("policy", name, known))
        paths = (ZOO / scenario / short / f"{role}.safetensors",) if of in ("", scenario) else ()
    for path in paths:
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


def bundled() -> list[StoredPolicy]:
    """Every policy that comes with the package, of tested teams and opponents."""
    paths = sorted(ZOO.glob("*/*/*.safetensors"))
    return [StoredPolicy(path.parent.name, path, load_card(path)) for path in paths]
