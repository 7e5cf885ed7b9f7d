"""A round that was recorded, step by step: what it holds, and its file. No torch, no game.

Frames are bytes: what changes from one to the next, deflated. `reports/replay.js` reads the same bytes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from marlrobust.files import Damaged, read_sealed, write_sealed
from marlrobust.rows import Facts, Round, slug

VERSION: Literal[1] = 1
"""Of the file and of its bytes: what another version wrote is not read."""

FOLDER = "replays"
"""Of an evaluation's recorded rounds, in its own."""

NOTHING = 255
"""The action of who does not act: the dead, and everybody after the last step."""

ALIVE, ATTACKED, TURNED, PROVEN, GAINED = (1 << bit for bit in range(5))
"""Marks of an agent in a frame: it lives; its state is attacked; its likeliest action is turned by that; it is proven
that no attack of this radius turns it; its action brings it a positive reward."""

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
PLANES = 8
"""Bytes of an agent in a frame: x and y (low and high byte), health, marks, action, action without the attack."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Act(_Part):
    """Where an action goes: a move, or a hit of a cell, by x and y from the middle of the agent."""

    kind: Literal["move", "hit"]
    x: float
    y: float


class Kind(_Part):
    """A group on the stage. team: its number; -1 of what nobody plays; body: width and height; acts: of each action,
    in order; none where nobody knows where actions go."""

    role: str
    team: int = Field(ge=-1)
    size: int = Field(ge=0)
    body: tuple[float, float]
    acts: tuple[Act, ...] = ()


class Stage(_Part):
    """Where a round is played: a rectangle, in cells or whatever the game measures in.

    left, top: its corner with the least x and y; unit: the smallest distance that is told; walls: x and y of cells.
    """

    left: float = 0.0
    top: float = 0.0
    width: float = Field(gt=0)
    height: float = Field(gt=0)
    unit: float = Field(1.0, gt=0)
    walls: tuple[tuple[int, int], ...] = ()
    kinds: tuple[Kind, ...]

    @property
    def agents(self) -> int:
        """N, all who are on the stage at the start."""
        return sum(kind.size for kind in self.kinds)


class Frames(NamedTuple):
    """T steps of N agents, and how things stood after the last: T + 1 frames. The dead keep what they had last.

    x, y: (T + 1, N) in units from the stage's corner; health: (T + 1, N), 255 is whole; marks: (T + 1, N);
    action, without: (T + 1, N), NOTHING where there is none; rewards: (T,) float32 of the team under test.
    """

    x: U16
    y: U16
    health: U8
    marks: U8
    action: U8
    without: U8
    rewards: npt.NDArray[np.float32]

    def packed(self) -> str:
        """As text. Places, health and marks are told as what they differ by from the frame before (modulo 256), the
        action without the attack by its difference from the action; planes of (T + 1) x N bytes one after the other,
        then the rewards, little-endian; deflated, in base64."""
        halves = [part for u in (self.x, self.y) for part in (u & 255, u >> 8)]
        planes = np.stack([*halves, self.health, self.marks, self.action, self.without]).astype(np.uint8)
        planes[:6, 1:] -= planes[:6, :-1].copy()
        planes[7] ^= planes[6]
        return base64.b64encode(zlib.compress(planes.tobytes() + self.rewards.astype("<f4").tobytes(), 9)).decode()

    @classmethod
    def unpacked(cls, text: str, agents: int) -> Frames:
        """What `packed` made of frames of so many agents; raises ValueError for anything else."""
        try:
            content = zlib.decompress(base64.b64decode(text, validate=True))
        except zlib.error as error:
            raise ValueError(f"its frames cannot be read: {error}") from None
        frames, rest = divmod(len(content) + 4, PLANES * agents + 4)
        if rest or not frames:
            raise ValueError(f"its frames are not those of {agents} agents")
        size = PLANES * frames * agents
        planes = np.frombuffer(content[:size], np.uint8).reshape(PLANES, frames, agents).copy()
        planes[:6] = planes[:6].cumsum(1, dtype=np.uint8)
        planes[7] ^= planes[6]
        x, y = (planes[i].astype(np.uint16) | planes[i + 1].astype(np.uint16) << 8 for i in (0, 2))
        health, marks, action, without = planes[4:]
        return cls(x, y, health, marks, action, without, np.frombuffer(content[size:], "<f4").astype(np.float32))


@dataclass(frozen=True, eq=False)
class Recorded:
    """A round, its cell's facts, and what was seen of it. teams: names by number; tested: numbers of those under
    test."""

    facts: Facts
    round: Round
    teams: tuple[str, ...]
    tested: tuple[int, ...]
    stage: Stage
    frames: Frames

    @property
    def name(self) -> str:
        """Of its file: readable, and unique."""
        return name_of(self.facts, self.round.round)

    @cached_property
    def packed(self) -> str:
        """Its frames as text."""
        return self.frames.packed()

    def content(self) -> dict[str, Any]:
        """As JSON-able values."""
        parts = {"facts": self.facts, "round": self.round, "stage": self.stage}
        told = {name: part.model_dump(mode="json") for name, part in parts.items()}
        who = {"teams": list(self.teams), "tested": list(self.tested)}
        return {"version": VERSION, **told, **who, "frames": self.packed}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Recorded:
        """What `content` told; raises ValueError for anything else."""
        if content.get("version") != VERSION:
            raise ValueError("another version of marlrobust wrote it")
        stage = Stage.model_validate(content.get("stage"))
        frames = Frames.unpacked(str(content.get("frames")), stage.agents)
        facts, round = Facts.model_validate(content.get("facts")), Round.model_validate(content.get("round"))
        teams, tested = TypeAdapter(tuple[str, ...]), TypeAdapter(tuple[int, ...])
        who = teams.validate_python(content.get("teams")), tested.validate_python(content.get("tested"))
        return cls(facts, round, *who, stage, frames)


def name_of(facts: Facts, number: int) -> str:
    """What the recorded round of this number is called."""
    who = slug(f"{facts.policy}-{facts.attack}-k{facts.attacked_agents}")
    return f"{who}-{facts.cell}-round{number}"


class Replays:
    """The recorded rounds of the evaluation in `folder`: a sealed file each."""

    def __init__(self, folder: Path, say: Callable[[str], object]) -> None:
        """say: told, in a sentence, of a file that cannot be used."""
        self.folder, self.say = folder / FOLDER, say

    def write(self, recorded: Recorded) -> Path:
        """Store it, in the place of what was stored of the same round."""
        path = self.folder / f"{recorded.name}.json"
        write_sealed(path, recorded.content())
        return path

    def read(self, facts: Facts, number: int) -> Recorded | None:
        """The round of this number of a cell; None where it is not stored, or cannot be used."""
        return self._read(self.folder / f"{name_of(facts, number)}.json")

    def of(self, cells: Collection[str]) -> list[Recorded]:
        """All that are stored of these cells."""
        paths = sorted(self.folder.glob("*-round*.json"))
        mine = [path for path in paths if path.stem.rpartition("-round")[0].rpartition("-")[2] in cells]
        return [found for path in mine if (found := self._read(path)) is not None]

    def _read(self, path: Path) -> Recorded | None:
        try:
            found = Recorded.of(read_sealed(path))
            if path.stem != found.name:
                raise ValueError("it holds another round")
        except FileNotFoundError:
            return None
        except (Damaged, ValueError) as error:
            self.say(f"{path} is no recorded round ({str(error).splitlines()[0]}): not shown")
            return None
        return found
