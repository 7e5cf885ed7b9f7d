"""Proofs by optimised slopes and by branch and bound, for decisions that CROWN leaves open.

Slopes under the ReLUs are chosen by gradient, for the second layer's intervals and for the margins (alpha-CROWN, Xu et
al. 2021). What is then open is split at a ReLU into the states where its input is positive and those where it is not,
again and again; what a split says enters a part's bound with a multiplier that is chosen in the same way (beta-CROWN,
Wang et al. 2021). Nothing is random, and a bound holds whatever its slopes and multipliers are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marlrobust.policies.boxes import Box, interval
from marlrobust.policies.crown import Lines, below, through_first, through_second, usual

STEPS, PART_STEPS, RATE, FADE = 20, 8, 0.25, 0.9
"""Of an ascent that chooses slopes and multipliers, and of one for a part: its step size falls by FADE."""

WIDTH = 16
"""Parts that are split together."""


def ascend(bound: Callable[[], Tensor], slopes: list[Tensor], held: list[Tensor], steps: int) -> Tensor:
    """The largest of `bound` (n, k) on the way of an ascent in `slopes`, kept in [0, 1], and the multipliers `held`,
    kept at 0 or above. Each row has its own of them; they are left at their last values."""
    chosen = [*slopes, *held]
    best = bound()
    with torch.enable_grad():
        for tensor in chosen:
            tensor.requires_grad_()
        optimizer = torch.optim.Adam(chosen, RATE, maximize=True)
        for _ in range(steps):
            optimizer.zero_grad()
            found = bound()
            best = torch.maximum(best, found.detach())
            found.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.param_groups[0]["lr"] *= FADE
            for tensor in slopes:
                tensor.data.clamp_(0, 1)
            for tensor in held:
                tensor.data.clamp_(min=0)
    for tensor in chosen:
        tensor.requires_grad_(False)
    return torch.maximum(best, bound())


def tightened(box: Box) -> Box:
    """The box of one state, with the second layer's intervals tightened by chosen slopes where they hold 0."""
    units = ((box.low2 < 0) & (box.high2 > 0))[0].nonzero()[:, 0]
    if not len(units):
        return box
    weight, bias = box.layers.w2[units], box.constant[:, units]
    weight, bias = torch.cat([weight, -weight])[None], torch.cat([bias, -bias], 1)
    under = usual(box.low1, box.high1).expand_as(weight).clone()
    found = ascend(lambda: through_first(box, weight, bias, under), [under], [], STEPS)
    low, high = box.low2.clone(), box.high2.clone()
    low[:, units] = torch.maximum(low[:, units], found[:, : len(units)])
    high[:, units] = torch.minimum(high[:, units], -found[:, len(units) :])
    return replace(box, low2=low, high2=high)


def by_alpha(box: Box, actions: Tensor, branches: int = 0) -> Tensor:
    """A lower bound (n,) of the least margin of `actions` (n,), by chosen slopes; the second layer's intervals are
    CROWN's already.

    branches: parts into which what they leave open is split, at most, for each action. A decision that the parts prove
    has a margin above 0 of which nothing more is known: the least positive number.
    """
    margins = []
    for i in range(len(actions)):
        one, action = tightened(box.only(torch.tensor([i]))), actions[i : i + 1]
        weight, bias = one.layers.margins(action)
        lines = Lines(*(usual(*ends).expand_as(weight).clone() for ends in _ends(one)))
        found = ascend(lambda: through_second(one, weight, bias, lines), [lines.under1, lines.under2], [], STEPS)  # noqa: B023
        safe = one.safe(found, action)
        safe[0, action] = torch.inf
        for a in (safe[0] <= 0).nonzero()[:, 0].tolist() if branches else []:
            room = float(found[0, a] - safe[0, a])
            of_one = Lines(lines.under1[:, a : a + 1], lines.under2[:, a : a + 1])
            if not _by_parts(_root(one, of_one), weight[:, a : a + 1], bias[:, a : a + 1], room, branches):
                break
            safe[0, a] = torch.finfo(torch.float64).tiny
        margins.append(safe.min())
    return torch.stack(margins)


def _ends(box: Box) -> list[tuple[Tensor, Tensor]]:
    return [(box.low1, box.high1), (box.low2, box.high2)]


@dataclass(frozen=True)
class _Parts:
    """p parts of one state's box. box: of p rows; signs1, signs2: (p, h), of each unit's input where a split says it, 1
    positive, -1 negative, else 0; lines: (p, 1, h) each, of which the multipliers are without those signs."""

    box: Box
    signs1: Tensor
    signs2: Tensor
    lines: Lines

    def take(self, rows: Tensor) -> _Parts:
        kept = [x[rows].clone() for x in (self.lines.under1, self.lines.under2, *self.held)]
        return _Parts(self.box.only(rows), self.signs1[rows], self.signs2[rows], Lines(*kept))

    @property
    def held(self) -> list[Tensor]:
        """The multipliers."""
        return [x for x in (self.lines.held1, self.lines.held2) if x is not None]

    def bound(self, weight: Tensor, bias: Tensor) -> Tensor:
        """(p, 1)."""
        held1, held2 = (s[:, None] * h for s, h in zip((self.signs1, self.signs2), self.held, strict=True))
        p = len(self.signs1)
        lines = replace(self.lines, held1=held1, held2=held2)
        return through_second(self.box, weight.expand(p, -1, -1), bias.expand(p, -1), lines)


def _root(box: Box, lines: Lines) -> _Parts:
    none = torch.zeros_like(box.low1)
    under = (lines.under1.clone(), lines.under2.clone())
    return _Parts(box, none, none, Lines(*under, torch.zeros_like(under[0]), torch.zeros_like(under[0])))


def _by_parts(root: _Parts, weight: Tensor, bias: Tensor, room: float, branches: int) -> bool:
    """Whether weight (1, 1, h) times the second layer plus bias (1, 1) is above `room` everywhere in the box, shown by
    at most `branches` parts."""
    parts, bounds, made = root, torch.full((1,), -torch.inf, dtype=torch.float64), 0
    while len(bounds):
        order = bounds.argsort(stable=True)
        worst, rest = order[:WIDTH], order[WIDTH:]
        made += 2 * len(worst)
        if made > branches:
            return False
        halves = _split(parts.take(worst), weight)
        found = ascend(
            lambda: halves.bound(weight, bias),  # noqa: B023
            [halves.lines.under1, halves.lines.under2],
            halves.held,
            PART_STEPS,
        )[:, 0]
        open_ = (found <= room).nonzero()[:, 0]
        parts, bounds = _joined(parts.take(rest), halves.take(open_)), torch.cat([bounds[rest], found[open_]])
    return True


def _split(parts: _Parts, weight: Tensor) -> _Parts:
    """Both halves of each part, split at the ReLU that costs its bound most; halves that hold no state are left out."""
    p, h = parts.signs1.shape
    box = parts.box
    of_second = weight.expand(p, -1, -1)
    line, _ = below(of_second, torch.zeros(p, 1, dtype=torch.float64), box.low2, box.high2, parts.lines.under2)
    of_first = (line - parts.signs2[:, None] * parts.held[1]) @ box.layers.w2
    costs = [_cost(w[:, 0], *ends) for w, ends in zip((of_first, of_second), _ends(box), strict=True)]
    unit = torch.cat(costs, 1).argmax(1)
    rows = torch.arange(p)
    halves = []
    for sign in (1.0, -1.0):
        ends = [[x.clone() for x in pair] for pair in _ends(box)]
        signs = [parts.signs1.clone(), parts.signs2.clone()]
        for layer in (0, 1):
            mine = rows[unit // h == layer]
            at = unit[mine] % h
            side = 0 if sign > 0 else 1  # what is positive has 0 as its low end
            ends[layer][side][mine, at] = 0.0
            signs[layer][mine, at] = sign
        (low1, high1), (low2, high2) = ends
        low, high = interval(low1.relu(), high1.relu(), box.layers.w2, box.constant)
        low2, high2 = torch.maximum(low2, low), torch.minimum(high2, high)
        half = replace(box, low1=low1, high1=high1, low2=low2, high2=high2)
        whole = _Parts(half, signs[0], signs[1], parts.lines)
        halves.append(whole.take((low2 <= high2 + 1e-9).all(1).nonzero()[:, 0]))
    return _joined(*halves)


def _cost(weight: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(p, h): how far relu and the lines that bound it may be apart, times how much the bound needs it; below 0 where
    its input has one sign."""
    either = (low < 0) & (high > 0)
    chord = -low * high / (high - low).clamp_min(1e-300)
    room = torch.where(weight < 0, chord, torch.minimum(-low, high))
    return torch.where(either, weight.abs() * room, -1.0)


def _joined(one: _Parts, other: _Parts) -> _Parts:
    mine, theirs = ([p.lines.under1, p.lines.under2, *p.held] for p in (one, other))
    lines = Lines(*(torch.cat(pair) for pair in zip(mine, theirs, strict=True)))
    return _Parts(
        one.box.joined(other.box), torch.cat([one.signs1, other.signs1]), torch.cat([one.signs2, other.signs2]), lines
    )
