"""Names to policies: `runs/<scenario>/<name>/<role>.safetensors`, the bundled ones in `zoo/`, and files anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from marlrobust.errors import UserError
from marlrobust.files import digest
from marlrobust.games import PLACE, kind_of
from marlrobust.policies.card import Card, load_card
from marlrobust.registry import unknown
from marlrobust.rows import slug

ZOO = Path(__file__).parents[1] / "zoo"
BUNDLED = "zoo:"
RUNS = Path("runs")
LOG = "train.csv"
"""Of a training, beside the policy that it left."""


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
    def log(self) -> Path:
        """Where the log of its training stands, if it has one."""
        return self.path.with_name(LOG)

    @property
    def bundled(self) -> bool:
        """Whether it is one of the bundled policies."""
        return self.path.is_relative_to(ZOO)

    def load(self, device: str = "cpu") -> Any:
        """The policy, on `device`; raises UserError where its file is no longer what the card says."""
        return _loaded(self.path, self.card.hash, device)


@dataclass(frozen=True)
class StoredTeam:
    """The stored policies of some teams. name: as tables show it; scenario: the game that they play here; policies:
    one for each role."""

    name: str
    scenario: str
    policies: tuple[StoredPolicy, ...]

    @property
    def card(self) -> Card:
        """What is known of the first of them; those of one training differ in role and shape alone."""
        return self.policies[0].card

    @property
    def hash(self) -> str:
        """Of the policy's file; of several a digest of all."""
        hashes = [p.card.hash for p in self.policies]
        return hashes[0] if len(hashes) == 1 else digest(hashes)

    @property
    def full_name(self) -> str:
        """See `StoredPolicy.full_name`."""
        return replace(self.policies[0], name=self.name).full_name

    @property
    def bundled(self) -> bool:
        """Whether they are bundled policies."""
        return self.policies[0].bundled

    def load(self, device: str = "cpu") -> dict[str, Any]:
        """Role to policy, on `device`; see `StoredPolicy.load`."""
        return {p.card.role: p.load(device) for p in self.policies}


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
    """The policies under `runs`, the bundled ones, and those that a user brings. trust: whether a file that can run
    code when it is loaded may be."""

    runs: Path = RUNS
    trust: bool = False

    def find(self, name: str, scenario: str, role: str, *, of_any_game: bool = False) -> StoredPolicy | None:
        """The policy called `name` for `role` in `scenario`; None where there is none.

        name: a folder's under `runs`, a folder's path, a `.safetensors` file's, or a bundled policy's: `zoo:NAME`,
        `zoo:SCENARIO/NAME`, or NAME alone where `runs` has none; or one that a user brings: see `policies.brought`.
        of_any_game: one that a path, or its scenario, names may have been trained in another game; nobody knows in
        which a brought one was. Raises UserError for a `zoo:` name that there is not.
        """
        from marlrobust.policies.brought import brought, is_brought  # which builds on this module

        if is_brought(name) and not name.startswith(BUNDLED):
            return brought(name, scenario, role, self.trust) if of_any_game else None
        file = f"{role}.safetensors"
        paths: tuple[Path, ...] = (
            Path(name),
            Path(name) / file,
            self.runs / slug(scenario) / name / file,
            ZOO / scenario / name / file,
        )
        if name.startswith(BUNDLED):
            of, _, short = name.removeprefix(BUNDLED).rpartition("/")
            if short not in (p.parent.name for p in ZOO.glob(f"{of or '*'}/*/*.safetensors")):
                raise UserError(unknown("policy", name, [p.full_name for p in bundled()]))
            paths = (ZOO / (of or scenario) / short / file,) if of_any_game or of in ("", scenario) else ()
        for path in paths:
            if path.is_file() and path.suffix != ".safetensors":
                hint = f": did you mean {path.stem}:NAME, of what stands in it?" if path.suffix == ".py" else ""
                raise UserError(f"{path} is no .safetensors file, and no other kind of policy that can be loaded{hint}")
            if path.is_file():
                card = load_card(path)
                if card.role == role and (of_any_game or card.scenario == scenario):
                    return StoredPolicy(path.parent.name, path, card)
        return None

    def team(self, name: str, scenario: str, roles: Sequence[str], *, of_any_game: bool = False) -> StoredTeam | None:
        """The policies called `name` for all of `roles` in `scenario`; None where one of them is not there. See
        `find`."""
        found = [self.find(name, scenario, role, of_any_game=of_any_game) for role in roles]
        policies = tuple(p for p in found if p is not None)
        return StoredTeam(policies[0].name, scenario, policies) if policies and len(policies) == len(roles) else None

    def tested(self, scenario: str, roles: Sequence[str]) -> list[StoredTeam]:
        """Every policy under `runs` of these roles; one that cannot be read ends in UserError."""
        folders = [path.parent for path in sorted((self.runs / slug(scenario)).glob(f"[!.]*/{roles[0]}.safetensors"))]
        teams = [[folder / f"{role}.safetensors" for role in roles] for folder in folders]
        return [
            StoredTeam(paths[0].parent.name, scenario, tuple(map(_stored, paths)))
            for paths in teams
            if all(path.is_file() for path in paths)
        ]

    def named(self, name: str) -> StoredPolicy:
        """The policy with the path, or with the full name, `name`; UserError where there is none."""
        if Path(name).is_file():
            return _stored(Path(name))
        known = {stored.full_name: stored for _, stored in self.every() if isinstance(stored, StoredPolicy)}
        if name not in known:
            raise UserError(unknown("policy", name, known))
        return known[name]

    def policy(self, name: str, scenario: str, role: str) -> StoredPolicy:
        """The policy called `name` for `role`; UserError where there is none."""
        found = self.find(name, scenario, role)
        if found is None:
            raise UserError(_why_not(name, [scenario]))
        return found

    def opponent(self, name: str, scenario: str, roles: Sequence[str]) -> StoredTeam:
        """The opponent called `name`, for all of `roles`; UserError where there is none."""
        found = self.team(name, scenario, roles, of_any_game=True)
        if found is None:
            ways = _ways(scenario, "--opponent", f"--method {name}")
            raise UserError(f"there is no opponent '{name}' for {scenario} under {self.runs}: {ways}")
        return found

    def choose(self, names: Sequence[str], roles: Mapping[str, Sequence[str]]) -> list[StoredTeam]:
        """The policies under test: those called `names`, or if no name is given all under `runs`, or the bundled ones
        where nothing was trained; of the scenarios in `roles`, which says the roles that are under test in each.
        Raises UserError where there is none."""
        chosen: list[StoredTeam] = []
        for name in names:
            alone = len(roles) == 1  # the game was named: a policy that fits may have been trained in another
            found = [p for scenario, own in roles.items() if (p := self.team(name, scenario, own, of_any_game=alone))]
            if not found:
                raise UserError(_why_not(name, list(roles)))
            chosen += found
        if not names:
            folders = (self.runs, ZOO) if self.runs == RUNS else (self.runs,)  # a folder that was named is meant
            for folder in folders:
                stored = [p for scenario, own in roles.items() for p in Library(folder).tested(scenario, own)]
                chosen = chosen or [p for p in stored if p.name != kind_of(p.scenario)[0].opponent]
        if not chosen:
            (one, *more) = roles
            where = "" if more else f"for {one} "
            ways = _ways("" if more else one, "--policy", "--method mfac")
            raise UserError(f"there are no policies {where}under {self.runs}: {ways}")
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


def _told_apart(policies: Iterable[StoredTeam]) -> list[StoredTeam]:
    """The policies, each once, those of one name told apart; UserError where they cannot be."""
    chosen = list(policies)
    own_names = {(p.scenario, p.name) for p in chosen if not p.bundled}
    chosen = [
        replace(p, name=f"zoo-{p.name}") if p.bundled and (p.scenario, p.name) in own_names else p for p in chosen
    ]
    hashes: dict[tuple[str, str], str] = {}
    for p in chosen:
        if hashes.setdefault((p.scenario, p.name), p.hash) != p.hash:
            raise UserError(
                f"two policies are called '{p.name}', and one table cannot tell them apart: rename a folder"
            )
    return list({(p.scenario, p.name): p for p in chosen}.values())


def _ways(scenario: str, option: str, method: str) -> str:
    """How to come by a policy for a game: one that a user brought has no bundled ones."""
    game = f" --game {scenario}" if scenario else ""
    if PLACE not in scenario:
        return f"train one with 'marlrobust train {method}{game}'"
    return (
        f"give yours by {option} MODULE:ATTRIBUTE (a policy, or a dict from each role to its own) or {option} FILE, or "
        f"train one with 'marlrobust train --learner ippo{game}'"
    )


def _why_not(name: str, scenarios: Sequence[str]) -> str:
    """Why `name` is no policy of these scenarios."""
    from marlrobust.policies.brought import is_brought

    if is_brought(name):
        return f"{name} may be a policy for any game: say which one by --game"
    if Path(name).is_file():
        card = load_card(Path(name))
        return f"{name} is a {card.role}'s policy for {card.scenario}: it cannot be tested on {' or '.join(scenarios)}"
    return f"there is no policy '{name}': see 'marlrobust list policies', or give the path of its file"
