"""Recorded rounds as a moving picture: the look of the page (`replay_board.js`), drawn by Pillow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from marlrobust.recorded import ALIVE, ATTACKED, GAINED, PROVEN, Act, Recorded
from marlrobust.reports.replay import look, view, words

FINE = 2
"""Pictures are drawn this many times as large, and made smaller: lines become smooth."""

BOARD, GAP, TOP, CURVE = 420, 24, 52, 84
"""Width of a board, and heights and distances, in pixels."""

TRACE = 6
"""Steps for which the place of a dead agent stays marked."""

Numbers = npt.NDArray[Any]
Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Shown:
    """A round, and what is drawn of it at all its steps."""

    one: Recorded

    @cached_property
    def sides(self) -> list[str]:
        """Of each agent: own, foe or nobody."""
        side = {True: "own", False: "foe"}
        kinds = [("nobody" if k.team < 0 else side[k.team in self.one.tested], k.size) for k in self.one.stage.kinds]
        return [name for name, size in kinds for _ in range(size)]

    @cached_property
    def agents(self) -> list[tuple[float, float, tuple[Act, ...]]]:
        """Of each agent: width, height, and where its actions go."""
        return [(*kind.body, kind.acts) for kind in self.one.stage.kinds for _ in range(kind.size)]

    @property
    def steps(self) -> int:
        return len(self.one.frames.rewards)

    def count(self, side: str, mark: int) -> Numbers:
        """(T + 1,) agents of a side that have a mark."""
        mine = np.array(self.sides) == side
        found: Numbers = ((self.one.frames.marks[:, mine] & mark) > 0).sum(1)
        return found

    @cached_property
    def reward(self) -> Numbers:
        return np.concatenate([[0.0], self.one.frames.rewards.cumsum(dtype=np.float64)])

    @cached_property
    def fight(self) -> bool:
        """Whether anybody dies."""
        alive = self.count("own", ALIVE) + self.count("foe", ALIVE)
        return bool(alive.min() < alive[0])

    @cached_property
    def curves(self) -> tuple[str, list[tuple[Numbers, str]]]:
        """Title and curves of what tells the score: who is alive, or what was gained where nobody dies."""
        if self.fight:
            return "alive", [(self.count(side, ALIVE), side) for side in ("own", "foe") if side in self.sides]
        gains = np.concatenate([[0], self.count("own", GAINED)[:-1].cumsum()])
        return "actions that brought an agent reward, so far", [(gains, "own")]

    def state(self, t: int, told: dict[str, str]) -> str:
        """The line below the board."""
        now, f = min(t, self.steps), self.one.frames
        teams = [f"{told[side]} {self.count(side, ALIVE)[now]}" for side in ("own", "foe") if side in self.sides]
        parts = [told["result"] if t >= self.steps else f"step {now}"]
        parts += [f"{', '.join(teams)} alive"] if self.fight else []
        parts.append(f"reward {self.reward[now]:.1f}")
        if attacked := self.count("own", ATTACKED)[now]:
            parts.append(f"{(f.action[now] != f.without[now]).sum()} of {attacked} actions changed")
        return " · ".join(parts)


def pictures(recorded: Sequence[Recorded], *, dark: bool = False) -> Iterator[Image.Image]:
    """A picture for each step of one or two rounds of one stage, side by side."""
    shown, part = [_Shown(one) for one in recorded], view(recorded)
    told = [words(one) for one in recorded]
    steps, height = max(s.steps for s in shown), round(BOARD * part["height"] / part["width"])
    size = (len(shown) * (BOARD + GAP) + GAP, TOP + height + 32 + 2 * CURVE + GAP)
    for t in range(steps + 1):
        pen = _Pen(size, look()["dark" if dark else "light"])
        for i, (one, what) in enumerate(zip(shown, told, strict=True)):
            left = GAP + i * (BOARD + GAP)
            pen.text(left, 8, what["title"], 16, "ink", bold=True)
            pen.text(left, 29, what["words"], 12, "faint")
            pen.paste(_board(one, part, t, pen.look, (BOARD, height)), left, TOP)
            pen.text(left, TOP + height + 8, one.state(t, what), 11, "ink")
            title, curves = one.curves
            pen.curves(left, TOP + height + 30, BOARD, title, curves, steps, t)
        rewards = [(one.reward, "mark" if one.one.facts.attacked_agents else "own") for one in shown]
        across = size[0] - 2 * GAP
        pen.curves(GAP, TOP + height + 34 + CURVE, across, "reward so far", rewards, steps, t)
        yield pen.picture()


def _board(shown: _Shown, part: dict[str, float], t: int, colours: dict[str, str], size: tuple[int, int]) -> _Pen:
    """The map at step t; see `drawBoard`."""
    one, now = shown.one, min(t, shown.steps)
    cell, f, unit = size[0] / part["width"], one.frames, one.stage.unit
    grain = cell * min(min(kind.body) for kind in one.stage.kinds)
    pen = _Pen(size, colours)
    corner = np.array([part["left"], part["top"]])
    for wall in one.stage.walls:
        x, y = (np.array(wall) - corner) * cell
        pen.box(x, y, x + cell, y + cell, "wall")
    attacked = []
    for i, (side, (w, h, acts)) in enumerate(zip(shown.sides, shown.agents, strict=True)):
        x, y = ((np.array([f.x[now, i], f.y[now, i]]) * unit + (w / 2, h / 2)) - corner) * cell
        radius, marks = max(0.42 * min(w, h) * cell, 1.5), int(f.marks[now, i])
        if not marks & ALIVE:
            ago = now - int(np.argmax((f.marks[:, i] & ALIVE) == 0))
            pen.cross(x, y, radius * 0.6, side, radius * 0.35, 0.7 * (1 - ago / TRACE)) if ago < TRACE else None
            continue
        pen.agent(side, x, y, radius, f.health[now, i] / 255)
        action, without = int(f.action[now, i]), int(f.without[now, i])
        doing, instead = (acts[a] if a < len(acts) else None for a in (action, without))
        if doing and doing.kind == "hit" and grain >= 5:
            pen.line(x, y, x + doing.x * cell, y + doing.y * cell, side, max(1, grain * 0.09))
        if marks & ATTACKED:
            attacked.append((action != without, x, y, radius, marks, doing, instead))
    for changed, x, y, radius, marks, doing, instead in sorted(attacked, key=lambda a: a[0]):
        width = grain * (0.16 if changed else 0.07)
        pen.ring(x, y, radius + grain * 0.06, "mark" if changed else "ink", width)
        if marks & PROVEN:
            pen.diamond(x + radius * 0.75, y - radius * 0.75, grain * 0.2, "proof")
        if changed and doing and instead and cell >= 5:
            pen.way(doing, x, y, cell, radius, "ink", False)
            pen.way(instead, x, y, cell, radius, "mark", True)
    pen.frame()
    return pen


class _Pen:
    """Draws in pixels of the finished picture, in the colours of a look."""

    def __init__(self, size: tuple[int, int], colours: dict[str, str]) -> None:
        self.size, self.look = size, colours
        self.image = Image.new("RGB", (size[0] * FINE, size[1] * FINE), colours["ground"])
        self.draw = ImageDraw.Draw(self.image)

    def colour(self, name: str, share: float = 1.0) -> Colour:
        """A colour of the look, of which only a share covers the ground."""
        ground, own = (np.array(tuple(bytes.fromhex(self.look[n][1:])), float) for n in ("ground", name))
        red, green, blue = np.rint(own * share + ground * (1 - share)).astype(int).tolist()
        return red, green, blue

    def line(self, x1: float, y1: float, x2: float, y2: float, name: str, width: float, share: float = 1.0) -> None:
        ends = [FINE * v for v in (x1, y1, x2, y2)]
        self.draw.line(ends, self.colour(name, share), max(1, round(FINE * width)))

    def box(self, x1: float, y1: float, x2: float, y2: float, name: str, share: float = 1.0, r: float = 0) -> None:
        self.draw.rounded_rectangle([FINE * v for v in (x1, y1, x2, y2)], FINE * r, self.colour(name, share))

    def disc(self, x: float, y: float, radius: float, name: str, share: float = 1.0) -> None:
        corners = (x - radius, y - radius, x + radius, y + radius)
        self.draw.ellipse([FINE * v for v in corners], self.colour(name, share))

    def ring(self, x: float, y: float, radius: float, name: str, width: float) -> None:
        r = radius + width / 2
        corners = [FINE * v for v in (x - r, y - r, x + r, y + r)]
        self.draw.ellipse(corners, None, self.colour(name), max(1, round(FINE * width)))

    def agent(self, side: str, x: float, y: float, radius: float, health: float) -> None:
        """Round under test, square against it, small where nobody plays; as strong as it is healthy."""
        for r, share in ((radius, 0.3), (radius * math.sqrt(health), 1.0)):
            if side == "own":
                self.disc(x, y, r, side, share)
            else:
                r *= 0.9 if side == "foe" else 0.55
                self.box(x - r, y - r, x + r, y + r, side, share, 0.3 * r)

    def cross(self, x: float, y: float, r: float, name: str, width: float, share: float = 1.0) -> None:
        self.line(x - r, y - r, x + r, y + r, name, width, share)
        self.line(x - r, y + r, x + r, y - r, name, width, share)

    def diamond(self, x: float, y: float, r: float, name: str) -> None:
        points = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
        self.draw.polygon([(FINE * a, FINE * b) for a, b in points], self.colour(name), self.colour("ground"))

    def way(self, act: Act, x: float, y: float, cell: float, radius: float, name: str, dashed: bool) -> None:
        """Where an action goes; see `way` of the page."""
        far, width, head = math.hypot(act.x, act.y), max(1.0, cell * 0.11), cell * 0.24
        if not far:
            self.ring(x, y, radius * 0.45, name, width)
            return
        ux, uy = act.x / far, act.y / far
        end = far * cell + (max(radius - cell * 0.42, 0) if act.kind == "move" else 0)  # outside of a large body
        start, tx, ty = min(radius, end - far * cell * 0.5), x + ux * end, y + uy * end
        piece, step = (cell * 0.16, cell * 0.36) if dashed else (end, end)
        while start < end:
            stop = min(start + piece, end)
            self.line(x + ux * start, y + uy * start, x + ux * stop, y + uy * stop, name, width)
            start += step
        if act.kind == "hit":
            self.cross(tx, ty, head, name, width)
        else:
            self.line(tx, ty, tx - head * (ux + uy), ty - head * (uy - ux), name, width)
            self.line(tx, ty, tx - head * (ux - uy), ty - head * (uy + ux), name, width)

    def text(
        self, x: float, y: float, text: str, size: int, name: str, *, bold: bool = False, anchor: str = "la"
    ) -> None:
        self.draw.text((FINE * x, FINE * y), text, self.colour(name), _font(size, bold), anchor)

    def curves(
        self, left: float, top: float, width: float, title: str, curves: list[tuple[Numbers, str]], steps: int, t: int
    ) -> None:
        """Values over the steps, and where step t is; see `drawChart`."""
        low = min(0.0, *(float(values.min()) for values, _ in curves))
        high = max(0.0 if low < 0 else 1.0, *(float(values.max()) for values, _ in curves))
        high, x0, x1, y0, y1 = (
            max(high, 0.0 if low < 0 else 1.0),
            left + 36,
            left + width - 6,
            top + 18,
            top + CURVE - 8,
        )

        def place(step: float, value: float) -> tuple[float, float]:
            return x0 + (x1 - x0) * step / max(steps, 1), y0 + (y1 - y0) * (high - value) / (high - low)

        self.text(x0, top, title, 11, "faint")
        for value in {high, low}:
            y = place(0, value)[1]
            self.text(x0 - 6, y, f"{value:.0f}", 11, "faint", anchor="rm")
            self.line(x0, y, x1, y, "grid", 1)
        for values, name in curves:
            points = [place(i, value) for i, value in enumerate(values.tolist())]
            self.draw.line([(FINE * x, FINE * y) for x, y in points], self.colour(name), FINE * 2, "curve")
            self.disc(*points[min(t, len(points) - 1)], 3.5, name)
        x = place(t, 0)[0]
        self.line(x, y0 - 4, x, y1 + 4, "ink", 1)

    def frame(self) -> None:
        self.draw.rectangle([0, 0, self.image.width - 1, self.image.height - 1], None, self.colour("wall"), FINE)

    def paste(self, other: _Pen, x: int, y: int) -> None:
        self.image.paste(other.image, (FINE * x, FINE * y))

    def picture(self) -> Image.Image:
        return self.image.resize(self.size, Image.Resampling.BOX)


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib: alike on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), FINE * size)
