"""The scenario of any PettingZoo parallel environment, named by where it is made."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import yaml
from pydantic import Field, model_validator

from marlrobust.errors import UserError
from marlrobust.files import file_hash
from marlrobust.games.broken import of_environment
from marlrobust.games.modules import attribute_of, module_at
from marlrobust.games.scenario import Scenario, Teams
from marlrobust.games.spaces import Grouping, Kind, kinds_of
from marlrobust.metrics import REWARD, SUCCESS, Metric

if TYPE_CHECKING:
    from marlrobust.games.pettingzoo import ParallelGame

ZOO = "pettingzoo:"


class Parallel(Scenario):
    """A PettingZoo parallel environment. Any setting that is not here is a keyword argument of what makes it."""

    summary: ClassVar[str] = "any PettingZoo parallel environment, by what makes it"
    metrics: ClassVar[tuple[Metric, ...]] = (REWARD, SUCCESS)
    max_steps: int = Field(
        400, ge=1, le=100_000, description="Steps per round, at most; the environment may end a round before."
    )
    environment: str = Field(
        description="What makes it: pettingzoo:MODULE, which has a parallel_env, or MODULE:FUNCTION."
    )
    grouping: Grouping = Field(
        "kind",
        description="Who shares a policy: agents of one kind (a name but for its number, and spaces), of the same "
        "space, or no agent with another.",
    )
    sides: dict[str, list[str]] = Field(
        default_factory=dict, description="Teams: name to roles, as in {hunters: [adversary], prey: [agent]}."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of what makes it.")
    processes: int = Field(
        1,
        ge=1,
        le=1024,
        exclude=True,  # no part of what is played: rounds are the same
        description="Processes in which copies of the environment are stepped side by side.",
    )

    @model_validator(mode="before")
    @classmethod
    def _others_are_options(cls, values: Any) -> Any:
        """Settings that are none of these belong to the environment; text is read as YAML: 5, true, [1, 2]."""
        if not isinstance(values, dict):
            return values
        read = {k: v if k == "environment" else _read(v) for k, v in values.items()}
        known = {k: v for k, v in read.items() if k in cls.model_fields}
        more = {k: v for k, v in read.items() if k not in known}
        return {**known, "options": {**(known.get("options") or {}), **more}}

    @property
    def span(self) -> float:  # type: ignore[override]
        """The widest range of a number in an observation; infinite where a space says none."""
        widths = [kind.width for kind in self._kinds]
        return max(widths, default=math.inf)

    @property
    def teams(self) -> Teams:  # type: ignore[override]
        """One team of all, unless `sides` says otherwise."""
        roles = [kind.role for kind in self._kinds]
        sides = {name: tuple(of) for name, of in self.sides.items()} or {"all": tuple(roles)}
        if sorted(role for of in sides.values() for role in of) != sorted(roles):
            raise UserError(f"sides must name each role of {self.environment} once: it has {', '.join(roles)}")
        return sides

    def make(self, rounds: int) -> ParallelGame:
        """See `Scenario.make`."""
        from marlrobust.games.copies import Copies, Here, Spread
        from marlrobust.games.pettingzoo import ParallelGame

        what = (self.environment, self.made, rounds, self._kinds)
        copies: Copies = Here(*what) if min(self.processes, rounds) == 1 else Spread(*what, self.processes)
        return ParallelGame(copies, rounds, self._kinds, list(self.teams.values()), self.max_steps)

    def made(self) -> Any:
        """One environment."""
        return _made(self.environment, self.options)

    @property
    def versions(self) -> dict[str, str]:
        """See `Scenario.versions`."""
        return dict(_version_of(_home(self.environment)))

    @property
    def _kinds(self) -> list[Kind]:
        return _kinds(self.environment, json.dumps(self.options, sort_keys=True), self.grouping)


@lru_cache(16)
def _kinds(environment: str, options: str, grouping: Grouping) -> list[Kind]:
    made = _made(environment, json.loads(options))
    try:
        _, infos = made.reset(seed=0)  # which may tell of legal actions
    except Exception as error:
        raise of_environment(environment, error, "when it is reset with the seed 0") from error
    found = kinds_of(made, grouping, infos)
    made.close()
    return found


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _made(name: str, options: dict[str, Any]) -> Any:
    """An environment; raises UserError where it cannot be made, or is of another kind."""
    try:
        environment = _maker(name)(**options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} cannot be made with the options {options}: {error}") from error
    missing = [part for part in ("possible_agents", "observation_space", "step") if not hasattr(environment, part)]
    if missing or hasattr(environment, "agent_iter"):
        raise UserError(
            f"{name} makes no PettingZoo parallel environment, but {type(environment).__name__}: "
            "turn it into one, as pettingzoo.utils.conversions.aec_to_parallel does"
        )
    return environment


def _maker(name: str) -> Callable[..., Any]:
    """What makes the environment called `name`; raises UserError where there is no such thing."""
    attribute = "parallel_env" if name.startswith(ZOO) else name.rpartition(":")[2]
    maker = attribute_of(_home(name), attribute, "function")
    if not callable(maker):
        raise UserError(f"{name} is no function that makes an environment: give pettingzoo:MODULE or MODULE:FUNCTION")
    made: Callable[..., Any] = maker
    return made


def _home(name: str) -> Any:
    """The module in which the maker of `name` is found; raises UserError where there is none."""
    place = name.removeprefix(ZOO) if name.startswith(ZOO) else name.rpartition(":")[0]
    return module_at(place, "pettingzoo")


@cache
def _version_of(module: Any) -> dict[str, str]:
    """The version of the package that `module` belongs to, or a digest of its file."""
    top = str(module.__name__).partition(".")[0]
    for package in packages_distributions().get(top, []):  # takes a second: it reads what every package holds
        return {package: version(package)}
    return {top: file_hash(Path(module.__file__))[:12]} if getattr(module, "__file__", None) else {}
