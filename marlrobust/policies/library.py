"""Names to policies: `runs/<scenario>/<name>/<role>.safetensors`, the bundled ones in `zoo/`, and files anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from marlrobust.errors import UserError
from marlrobust.games import SCENARIOS
from marlrobust.policies.card import Card, load_card
from marlrobust.registry import unknown

ZOO = Path(__file__).parents[1] / "zoo"
BUNDLED = "zoo:"
RUNS = Path("runs")


@dataclass(frozen=True)
class StoredPolicy:
    """name: as tables show it; path: of its `.safetensors`; card: what is known of it."""

    name: str
    path: Path
    card: Card

    @property
    def full_name(self) -> str:
        """`battle/romfac`, or `zoo:battle/romfac`: a name, wherever the file is."""
        return f"{BUNDLED if self.bundled else ''}{self.card.scenario}/{self.name}"

    @property
    def bundled(self) -> bool:
        """Whether it is one of the bundled policies."""
        return self.path.is_relative_to(ZOO)

    def load(self, device: str = "cpu") -> Any:
        """The policy, on `device`; raises UserError where its file is no longer what the card says."""
        return _loaded(self.path, self.card.hash, device)


@lru_cache(8)
def _loaded(path: Path, digest: str, device: str) -> Any:
    from marlrobust.policies.checkpoint import load_policy

    policy, card = load_policy(path)
    if card.hash != digest:
        raise UserError(f"{path} has changed since it was chosen: run the same command again")
    return policy.to(device)


def training_name(method: str, seed: int) -> str:
    """What a training is called, and its folder, unless it is given another."""
    return method if seed == 0 else f"{method}-seed{seed}"


@dataclass(frozen=True)
class Library:
    """The policies under `runs`, and the bundled ones."""

    runs: Path = RUNS

    def find(self, name: str, scenario: str, role: str) -> StoredPolicy | None:
        """The policy called `name` for `role` in `scenario`; None where there is none.

        name: a folder's under `runs`, a folder's path, a `.safetensors` file's, or a bundled policy's: `zoo:NAME`,
        `zoo:SCENARIO/NAME`, or NAME alone where `runs` has none. Raises UserError for a `zoo:` name that there is not.
        """
        file = f"{role}.safetensors"
        paths: tuple[Path, ...] = (
            Path(name),
            Path(name) / file,
            self.runs / scenario / name / file,
            ZOO / scenario / name / file,
        )
        if name.startswith(BUNDLED):
            of, _, short = name.removeprefix(BUNDLED).rpartition("/")
            if short not in (p.parent.name for p in ZOO.glob(f"{of or '*'}/*/*.safetensors")):
                raise UserError(unknown("policy", name, [p.full_name for p in bundled()]))
            paths = (ZOO / scenario / short / file,) if of in ("", scenario) else ()
        for path in paths:
            if path.is_file() and path.suffix != ".safetensors":
                raise UserError(f"{path} is no .safetensors file: policies are stored so, and nothing else is loaded")
            if path.is_file():
                card = load_card(path)
                if (card.scenario, card.role) == (scenario, role):
                    return StoredPolicy(path.parent.name, path, card)
        return None

    def tested(self, scenario: str) -> list[StoredPolicy]:
        """Every policy under `runs` of the team under test; one that cannot be read ends in UserError."""
        own = SCENARIOS[scenario].roles[0]
        return [_stored(path) for path in sorted((self.runs / scenario).glob(f"[!.]*/{own}.safetensors"))]

    def named(self, name: str) -> StoredPolicy:
        """The policy with the path, or with the full name, `name`; UserError where there is none."""
        if Path(name).is_file():
            return _stored(Path(name))
        known = {stored.full_name: stored for _, stored in self.every() if isinstance(stored, StoredPolicy)}
        if name not in known:
            raise UserError(unknown("policy", name, known))
        return known[name]

    def policy(self, name: str, scenario: str) -> StoredPolicy:
        """The policy called `name` for the team under test; UserError where there is none."""
        found = self.find(name, scenario, SCENARIOS[scenario].roles[0])
        if found is None:
            raise UserError(_why_not(name, [scenario]))
        return found

    def opponent(self, name: str | None, scenario: str) -> StoredPolicy:
        """The opponent called `name`, or the scenario's own; UserError where there is none."""
        name = name or SCENARIOS[scenario].opponent
        found = self.find(name, scenario, SCENARIOS[scenario].roles[1])
        if found is None:
            train = f"marlrobust train --method {name} --scenario {scenario}"
            raise UserError(f"there is no opponent '{name}' for {scenario} under {self.runs}: train it with '{train}'")
        return found

    def choose(self, names: Sequence[str], scenario: str | None) -> list[StoredPolicy]:
        """The policies under test: those called `names`, of `scenario` or of every one, or if no name is given all
        under `runs`, or the bundled ones where nothing was trained. Raises UserError where there is none."""
        scenarios = [scenario] if scenario else list(SCENARIOS)
        chosen: list[StoredPolicy] = []
        for name in names:
            found = [p for s in scenarios if (p := self.find(name, s, SCENARIOS[s].roles[0]))]
            if not found:
                raise UserError(_why_not(name, scenarios))
            chosen += found
        if not names:
            folders = (self.runs, ZOO) if self.runs == RUNS else (self.runs,)  # a folder that was named is meant
            for folder in folders:
                stored = [p for s in scenarios for p in Library(folder).tested(s)]
                chosen = chosen or [p for p in stored if p.name != SCENARIOS[p.card.scenario].opponent]
        if not chosen:
            where = f"for {scenario} " if scenario else ""
            raise UserError(
                f"there are no policies {where}under {self.runs}: train one with 'marlrobust train --method mfac'"
            )
        return _told_apart(chosen)

    def every(self) -> Iterator[tuple[str, StoredPolicy | UserError]]:
        """Name and policy of all that are stored or bundled; in place of one that cannot be read, why."""
        for folder, start in ((self.runs, ""), (ZOO, BUNDLED)):
            for path in sorted(folder.glob("*/[!.]*/*.safetensors")):
                if path.with_suffix(".json").exists():
                    try:
                        yield f"{start}{path.parent.parent.name}/{path.parent.name}", _stored(path)
                    except UserError as error:
                        yield f"{start}{path.parent.parent.name}/{path.parent.name}", error


def bundled() -> list[StoredPolicy]:
    """Every policy that comes with the package, of tested teams, opponents and adversaries."""
    return [_stored(path) for path in sorted(ZOO.glob("*/*/*.safetensors"))]


def _stored(path: Path) -> StoredPolicy:
    return StoredPolicy(path.parent.name, path, load_card(path))


def _told_apart(policies: Iterable[StoredPolicy]) -> list[StoredPolicy]:
    """The policies, each once, those of one name told apart; UserError where they cannot be."""
    chosen = list(policies)
    own_names = {(p.card.scenario, p.name) for p in chosen if not p.bundled}
    chosen = [
        replace(p, name=f"zoo-{p.name}") if p.bundled and (p.card.scenario, p.name) in own_names else p for p in chosen
    ]
    hashes: dict[tuple[str, str], str] = {}
    for p in chosen:
        if hashes.setdefault((p.card.scenario, p.name), p.card.hash) != p.card.hash:
            raise UserError(
                f"two policies are called '{p.name}', and one table cannot tell them apart: rename a folder"
            )
    return list({(p.card.scenario, p.name): p for p in chosen}.values())


def _why_not(name: str, scenarios: Sequence[str]) -> str:
    """Why `name` is no policy of these scenarios."""
    if Path(name).is_file():
        card = load_card(Path(name))
        return f"{name} is a {card.role}'s policy for {card.scenario}: it cannot be tested on {' or '.join(scenarios)}"
    return f"there is no policy '{name}': see 'marlrobust list policies', or give the path of its file"
