"""Figures of the theory, each from the stored values alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from marlrobust.theory.examples import EXAMPLES, Example

COLOURS = ("#3b6fb6", "#d1603d", "#4b9b6e", "#8a63b0", "#8c8c8c")
MARKERS = ("o", "s", "^", "D", "v")


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element; its text stays text, and equal values give equal bytes."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "theory"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return text.getvalue()[text.getvalue().index("<svg") :]


def _plot(width: float = 6.4, height: float = 3.8) -> tuple[Figure, Axes]:
    figure = Figure((width, height))
    axes: Axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def convergence(values: Mapping[str, Any]) -> Figure:
    """The operator's distance to its fixed point, per step, beside gamma^k."""
    figure, axes = _plot()
    for (name, curve), colour, marker in zip(values["convergence"].items(), COLOURS, MARKERS, strict=False):
        error = np.maximum(curve["error"], 1e-14)
        steps, gamma = np.arange(len(error)), curve["gamma"]
        axes.semilogy(steps, error, color=colour, marker=marker, markevery=6, label=f"{name} (gamma {gamma:g})")
        axes.semilogy(steps, error[0] * gamma**steps, color=colour, linestyle=":", linewidth=1)
    axes.set(xlabel="Steps of the operator", ylabel="Distance to its fixed point", ylim=(1e-12, None))
    axes.legend(frameon=False, fontsize=8)
    return figure


def bound_histogram(values: Mapping[str, Any]) -> Figure:
    """How much of the printed bound is used, in random games; the game `leak` beyond 1."""
    figure, axes = _plot()
    edges = np.array(values["edges"])
    for (gamma, counts), colour in zip(values["histogram"].items(), COLOURS, strict=False):
        axes.stairs(counts, edges, color=colour, linewidth=1.6, label=f"gamma {gamma}")
    leak = values["leak"]["loss"] / values["leak"]["printed"]
    axes.axvline(1, color="black", linewidth=1)
    axes.text(1.05, axes.get_ylim()[1] * 0.7, "printed bound", rotation=90, fontsize=8, va="center")
    axes.plot([leak], [0], marker="*", markersize=13, color="#b00020", clip_on=False, linestyle="", label="leak")
    axes.set(xscale="log", xlabel="Loss as a share of the printed bound", ylabel="Games and attacked agents")
    axes.legend(frameon=False, fontsize=8)
    return figure


def bound_points(values: Mapping[str, Any]) -> Figure:
    """Bound against damage: each point is an attacked agent of a random game."""
    figure, axes = _plot()
    for (gamma, points), colour, marker in zip(values["points"].items(), COLOURS, MARKERS, strict=False):
        loss = np.maximum(points["loss"], 1e-4)
        axes.loglog(points["bound"], loss, linestyle="", marker=marker, markersize=3, color=colour, alpha=0.6,
                    label=f"gamma {gamma}")  # fmt: skip
    ends = np.array([5e-2, 5e4])
    axes.plot(ends, ends, color="black", linewidth=1, label="loss = bound")
    leak = values["leak"]
    axes.plot([leak["printed"]], [leak["loss"]], marker="*", markersize=13, color="#b00020", linestyle="", label="leak")
    axes.set(xlabel="Printed bound", ylabel="Loss", ylim=(5e-4, 2e2))
    axes.legend(frameon=False, fontsize=8)
    return figure


def leak_over_gamma(values: Mapping[str, Any]) -> Figure:
    """Where the printed bound is too small: the game `leak` with a small shift, over gamma."""
    figure, axes = _plot()
    curve = values["leak_over_gamma"]
    gammas, used = [float(g) for g in curve], list(curve.values())
    axes.plot(gammas, used, color="#b00020")
    axes.fill_between(gammas, 1, used, where=[u > 1 for u in used], color="#b00020", alpha=0.15)
    axes.axhline(1, color="black", linewidth=1)
    axes.set(xlabel="gamma", ylabel="Loss as a share of the printed bound", ylim=(0.9, 1.4))
    return figure


def game_graph(name: str) -> Figure:
    """A deterministic game of two states as a graph: joint actions on the arrows, with the team's reward."""
    example = EXAMPLES[name]
    figure = Figure((7.2, 2.8))
    axes: Axes = figure.subplots()
    middle, radius = 1.2, 0.5
    for state, side in enumerate((-1, 1)):
        axes.add_patch(Circle((side * middle, 0), radius, facecolor="white", edgecolor="black", zorder=3))
        axes.text(side * middle, 0, example.states[state], ha="center", va="center", zorder=4)
    for (source, target), labels in _arrows(example).items():
        side = -1 if source == 0 else 1
        if source == target:  # a loop on the outer side, its label beyond it
            x = side * (middle + 0.85 * radius)
            ends, bend = ((x, -side * 0.26), (x, side * 0.26)), 2.0
            axes.text(side * 2.55, 0, "\n".join(labels), ha="left" if side > 0 else "right", va="center", fontsize=9)
        else:  # there above, back below
            y = -side * 0.3
            x = side * (middle - 0.85 * radius)
            ends, bend = ((x, y), (-x, y)), -0.25
            place = "bottom" if y > 0 else "top"
            axes.text(0, 1.75 * y, "\n".join(labels), ha="center", va=place, fontsize=9)
        style = f"arc3,rad={bend}"
        how: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 14, "connectionstyle": style, "shrinkA": 0}
        axes.add_patch(FancyArrowPatch(*ends, zorder=4, shrinkB=0, **how))
    axes.set(xlim=(-4.2, 4.2), ylim=(-1.2, 1.2), aspect="equal")
    axes.axis("off")
    return figure


def _arrows(example: Example) -> dict[tuple[int, int], list[str]]:
    """(state, next state) to the joint actions that lead there, with what they earn."""
    game, found = example.game, dict[tuple[int, int], list[str]]()
    for state in range(game.n_states):
        for joint, actions in enumerate(game.actions().T):
            names = ", ".join(example.actions[a] for a in actions)
            target = int(game.transitions[state, joint].argmax())
            found.setdefault((state, target), []).append(f"{names}: {game.rewards[0, state, joint]:g}")
    return found


def attack_shares(values: Mapping[str, Any]) -> Figure:
    """Each attack's share of the optimal damage, each game a point."""
    names = list(values["share"])
    figure, axes = _plot(height=0.4 * len(names) + 1.2)
    places = np.arange(len(names))[::-1]
    axes.barh(places, [values["share"][name] for name in names], color=COLOURS[0], alpha=0.75, height=0.6)
    for place, name in zip(places, names, strict=True):
        points = [game["damage"][name] for game in values["games"]]
        axes.plot(points, np.full(len(points), place), "o", markersize=3, color="black", alpha=0.5)
    axes.set_yticks(places, names)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xlabel="Share of the optimal damage", xlim=(0, 1.05))
    axes.grid(axis="y", visible=False)
    return figure


def team_costs(values: Mapping[str, Any]) -> Figure:
    """Total variation against the share of the reward that is lost, on trained teams."""
    figure, axes = _plot()
    for i, (name, team) in enumerate(values["teams"].items()):
        share = team["lost"] / team["clean"]
        axes.plot(team["variation"], share, linestyle="", marker=MARKERS[i // 5], color=COLOURS[i % 5], label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="Mean total variation of an attacked decision", ylabel="Share of the reward lost", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=8, loc="upper center")
    return figure
