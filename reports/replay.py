"""Recorded rounds, to be watched on a page: which are set side by side, and what is told of them in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from marlrobust.recorded import ALIVE, Recorded
from marlrobust.reports.labels import attack_label, label, method_order

MOST_BYTES = 6_000_000
"""Of recorded rounds on a report's page."""

PAIR = ("scenario", "team", "policy", "policy_hash", "opponent_hash", "game", "seed", "greedy")
"""In what a clean and an attacked round that are set side by side agree, beside their number."""

LEGEND = (
    ("own", "own", "agent of the team under test; the strong part is its health"),
    ("foe", "foe", "agent of its opponent; the strong part is its health"),
    ("nobody", "nobody", "played by nobody"),
    ("attacked", "attackedNow", "attacked: what it sees is moved"),
    ("changed", "changed", "its action in this step is another one than without the attack"),
    ("doing", "arrows", "what it does (a cross: it hits that cell; a ring: it stays)"),
    ("instead", "arrows", "what it would have done, by the same chance"),
    ("proven", "proven", "proven: no attack of this size turns its likeliest action"),
    ("fallen", "deaths", "died a few steps ago"),
)
"""Symbol, what a round must have for it to be shown, and what it means."""

HINT = (
    "The same round twice, step by step: with the same start and the same chance, without an attack and under attack. "
    "It opens at the step by which half of the difference in reward has come about. Space plays it, the arrow keys go "
    "step by step, and a click on a curve goes there."
)


def part(recorded: Sequence[Recorded]) -> Markup:
    """The section of a page that plays these rounds; nothing where there are none."""
    return Markup(_template("replay.html.j2").render(_told(recorded))) if recorded else Markup("")


def page(recorded: Sequence[Recorded]) -> str:
    """A page of its own that plays these rounds, one or more."""
    title = f"{_policy(recorded[-1])}, round {recorded[-1].round.round}"
    return _template("replay_page.html.j2").render(_told(recorded) | {"title": title})


def fitting(recorded: Sequence[Recorded], most: int = MOST_BYTES) -> tuple[list[Recorded], str]:
    """Those of `recorded` whose bytes fit on one page, in the order of their methods, and what must be said of the
    others."""
    kept, size = [], 0
    places = {name: place for place, name in enumerate(method_order(one.facts.method for one in recorded))}
    for one in sorted(recorded, key=lambda one: (one.facts.scenario, places[one.facts.method], one.name)):
        size += len(one.packed)
        if size <= most:
            kept.append(one)
    left = len(recorded) - len(kept)
    note = f"{left} recorded rounds are too large for this page: see them with 'marlrobust replay'." if left else ""
    return kept, note


def words(one: Recorded) -> dict[str, str]:
    """title: whether it is under attack; words: who plays, and how it is attacked; result: how it ended."""
    f, own, foe = one.facts, label(one.facts.method), label(one.facts.opponent_method)
    who = f"{_policy(one)} against {foe}" if one.facts.opponent else _policy(one)
    attack = f"{f.attacked_agents} of {f.team_size} agents, {_attack(one)}"
    return {
        "title": "Under attack" if f.attacked_agents else "Not attacked",
        "words": f"{who}, round {one.round.round}" + (f": {attack}" if f.attacked_agents else ""),
        "result": _result(one),
        "own": own if own != foe else f"{own} (tested)",
        "foe": foe,
        "nobody": ", ".join(kind.role for kind in one.stage.kinds if kind.team < 0),
    }


@dataclass(frozen=True)
class Pair:
    """What can be chosen to be watched. clean, attacked: the numbers of two rounds; one of them may be None; view: see
    `view`."""

    policy: str
    attack: str
    clean: int | None
    attacked: int | None
    view: dict[str, float]


def pairs(recorded: Sequence[Recorded]) -> list[Pair]:
    """Each attacked round beside the clean one with which it shares all but the attack, and clean ones that are left
    alone. Names are told apart."""
    keys = [(*(getattr(one.facts, name) for name in PAIR), one.round.round) for one in recorded]
    clean = {key: i for i, (key, one) in enumerate(zip(keys, recorded, strict=True)) if not one.facts.attacked_agents}
    attacked = [i for i, one in enumerate(recorded) if one.facts.attacked_agents]
    alone = [i for key, i in clean.items() if key not in {keys[j] for j in attacked}]
    numbers = [*((clean.get(keys[i]), i) for i in attacked), *((i, None) for i in alone)]
    shown = [[recorded[i] for i in pair if i is not None] for pair in numbers]
    names = [(_who(both[-1], recorded), _how(both[-1], recorded)) for both in shown]
    times, found = Counter(names), []
    for pair, both, (policy, attack) in zip(numbers, shown, names, strict=True):
        apart = f" #{both[-1].facts.cell[:6]}" if times[policy, attack] > 1 else ""
        found.append(Pair(policy, attack + apart, *pair, view(both)))
    return found


def _who(one: Recorded, among: Sequence[Recorded]) -> str:
    """The policy, with its game and its own name where there are several."""
    alike = {other.facts.policy_hash for other in among if _policy(other) == _policy(one)}
    games = {other.facts.scenario for other in among}
    own = f" ({one.facts.policy})" if len(alike) > len(games) and one.facts.policy != _policy(one) else ""
    return (f"{one.facts.scenario}, " if len(games) > 1 else "") + _policy(one) + own


def _how(one: Recorded, among: Sequence[Recorded]) -> str:
    """The attack and the count, with the round's number where there are several."""
    attack = f"{_attack(one)}, {one.facts.attacked_agents} agents" if one.facts.attacked_agents else "not attacked"
    several = len({other.round.round for other in among}) > 1
    return f"{attack}, round {one.round.round}" if several else attack


def view(shown: Sequence[Recorded]) -> dict[str, float]:
    """The part of the stage in which somebody is in all of these rounds, with a little room around it, as a
    rectangle that is at most a quarter longer than it is wide, or the other way round: left, top, width, height."""
    stage = shown[0].stage
    ends = np.concatenate([_reach(one) for one in shown])
    low, high = ends[:, :2].min(0), ends[:, 2:].max(0)
    middle, extent = (low + high) / 2, (high - low) + 3 * min(min(kind.body) for kind in stage.kinds)
    whole = np.array([stage.width, stage.height])
    extent = np.minimum(np.maximum(extent, 0.8 * extent[::-1]), whole)
    corner = np.clip(middle - extent / 2, 0, whole - extent)
    return dict(zip(("left", "top", "width", "height"), (*corner.tolist(), *extent.tolist()), strict=True))


def _reach(one: Recorded) -> npt.NDArray[np.float64]:
    """The least x and y and the largest of each group, (g, 4)."""
    found, first = [], 0
    for kind in one.stage.kinds:
        own = slice(first, first + kind.size)
        first += kind.size
        alive = (one.frames.marks[:, own] & ALIVE) > 0
        x, y = (of[:, own][alive] * one.stage.unit for of in (one.frames.x, one.frames.y))
        found.append([x.min(), y.min(), x.max() + kind.body[0], y.max() + kind.body[1]])
    return np.array(found)


@cache
def look() -> dict[str, dict[str, str]]:
    """The colours of the picture, in light and in dark."""
    colours: dict[str, dict[str, str]] = json.loads(_file("replay_look.json"))
    return colours


def _told(recorded: Sequence[Recorded]) -> dict[str, Any]:
    """What the templates need."""
    rounds = []
    for one in recorded:
        told = words(one)
        names = {name: told.pop(name) for name in ("own", "foe", "nobody")}
        stage = one.stage.model_dump(mode="json")
        flag = {"attacked": one.facts.attacked_agents > 0, "tested": one.tested}
        rounds.append({**told, **flag, "names": names, "stage": stage, "frames": one.packed})
    data = {"look": look(), "pairs": [asdict(pair) for pair in pairs(recorded)], "rounds": rounds}
    script = Markup(_file("replay_board.js") + _file("replay.js"))
    return {"style": Markup(_file("replay.css")), "script": script, "data": data, "legend": LEGEND, "hint": HINT}


def _policy(one: Recorded) -> str:
    """`RoMFAC`, or `brought my_policy`: what a reader knows it by."""
    name = label(one.facts.method)
    return name if name != one.facts.method else one.facts.policy


def _attack(one: Recorded) -> str:
    f = one.facts
    return attack_label(f.attack, f.epsilon, f.norm, f.features, f.victims, f.budget)


def _result(one: Recorded) -> str:
    row = one.round
    end = "won" if row.win else "drew" if row.draw else "lost" if row.win is not None else "over"
    return f"{end} {'at the limit of' if row.cut else 'after'} {row.steps} steps"


def _template(name: str) -> jinja2.Template:
    loader = jinja2.PackageLoader("marlrobust.reports", "templates")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


def _file(name: str) -> str:
    return files("marlrobust.reports").joinpath(name).read_text("utf-8")
