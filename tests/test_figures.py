"""Figures: what is drawn is what the table says."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, PolyCollection

from marlrobust.metrics import KILLS, WIN
from marlrobust.reports import drawing, figures, tables
from tests.synthetic import ATTACKED, COUNTS, FIVE, WHOLES, frame, row, synthetic
from tests.test_tables import THREE, runs_of


def of(rows: pd.DataFrame) -> tables.Tables:
    return tables.of(rows, WHOLES)


def ours(panel: Any) -> list[str]:
    return [str(line.get_label()) for line in panel.lines if "paper" not in str(line.get_label())]


def test_a_figure_has_a_line_per_method_and_a_panel_per_scenario() -> None:
    made = of(synthetic())
    figure = figures.figure(made)
    assert len(figure.axes) == 2
    for panel in figure.axes:
        assert ours(panel) == ["MFAC", "SA-MFAC", "SA-MFAC³", "RoMFAC¹", "RoMFAC"]
        assert len(panel.lines) == 10
        assert len({line.get_color() for line in panel.lines}) == 5
    assert len(figure.legends) == 1
    assert [len(panel.lines) for panel in figures.figure(made, paper=False).axes] == [5, 5]


def test_attacks_are_panels_beside_each_other_and_epsilon_is_none() -> None:
    made = of(synthetic(attacks=(("pgd", 0.075), ("pgd", 0.15), ("fgsm", 0.075))))
    figure = figures.figure(made)
    assert [panel.get_title(loc="right") for panel in figure.axes] == ["FGSM, ε = 0.075", "PGD, ε = 0.075"] * 2
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["Battle"] * 2 + ["Pursuit"] * 2
    assert [len(panel.lines) for panel in figure.axes] == [5, 10, 5, 10]
    assert len({panel.get_ylim() for panel in figure.axes[:2]}) == 1


def test_reward_over_epsilon_starts_at_the_clean_rounds() -> None:
    epsilons = [0.05, 0.1, 0.2, 0.3]
    made = of(synthetic(("battle",), tuple(("pgd", e) for e in epsilons), ["romfac"], counts=[8, 64]))
    names = [picture.file for picture in figures.pictures(made)]
    assert names == ["figure4", "epsilon", "win_rate", "kills"]
    (panel,) = figures.epsilon_figure(made).axes
    assert panel.get_title(loc="right") == "PGD, 64 attacked"
    lines = made.lines.set_index(["attacked_agents", "epsilon"])["reward_mean"]
    expected = [lines[0, 0.05], *(lines[64, e] for e in epsilons)]
    assert np.asarray(panel.lines[0].get_ydata()) == pytest.approx(expected)
    assert np.asarray(panel.lines[0].get_xdata(), float) == pytest.approx([0, *epsilons], abs=0.01)


def test_epsilons_are_compared_at_the_same_count_alone() -> None:
    """One epsilon was played with 16 attacked, two with 8: there is no curve with most agents attacked."""
    made = of(frame(*(row(**ATTACKED | cell) for cell in ({}, {"epsilon": 0.15}, {"attacked_agents": 16}))))
    assert "epsilon" not in [picture.file for picture in figures.pictures(made)]


def test_a_figure_has_twelve_panels_at_most_and_says_so() -> None:
    many = frame(*(row(**ATTACKED | {"attack": f"attack{i:02}"}) for i in range(30)))
    figure = figures.figure(of(many))
    assert len(figure.axes) == 12
    assert figure.get_suptitle() == "12 of 30 panels; the numbers of all are in table.csv"
    assert figures.figure(of(synthetic())).get_suptitle() == ""


def test_attacks_are_lines_of_the_attack_figure() -> None:
    attacks = (("pgd", 0.075), ("fgsm", 0.075), ("random", 0.075))
    made = of(synthetic(attacks=attacks, methods=["romfac", "mfac"]))
    figure = figures.attack_figure(made)
    assert [panel.get_title(loc="right") for panel in figure.axes] == ["MFAC", "RoMFAC"] * 2
    lines = made.lines
    for panel in figure.axes[:2]:
        assert ours(panel) == ["FGSM, ε = 0.075", "PGD, ε = 0.075", "random, ε = 0.075"]
    drawn = np.asarray(figure.axes[1].lines[1].get_ydata())
    pgd = lines[(lines["scenario"] == "battle") & (lines["method"] == "romfac") & (lines["attack"] == "pgd")]
    assert drawn == pytest.approx(pgd["reward_mean"].to_numpy())


def test_other_opponents_are_other_panels() -> None:
    rows = frame(*(row(opponent=o, opponent_hash=o * 32, **cell) for o in ("a2", "b2") for cell in ({}, ATTACKED)))
    titles = [panel.get_title(loc="right") for panel in figures.figure(of(rows)).axes]
    assert titles == ["PGD, ε = 0.075\nagainst a2", "PGD, ε = 0.075\nagainst b2"]


def test_wins_are_drawn_where_somebody_can_win() -> None:
    for metric in (WIN, KILLS):
        figure = figures.figure(of(synthetic()), metric)
        assert [panel.get_title(loc="left") for panel in figure.axes] == ["Battle"]
    with pytest.raises(ValueError, match="no win"):
        figures.figure(of(synthetic(scenarios=("pursuit",))), WIN)
    assert [p.file for p in figures.pictures(of(synthetic(scenarios=("pursuit",))))] == ["figure4"]


def test_curves_start_at_the_clean_rounds_and_show_the_table() -> None:
    made = of(synthetic(scenarios=("battle",)))
    curve = next(line for line in figures.figure(made).axes[0].lines if line.get_label() == "MFAC")
    expected = made.lines.query("method == 'mfac'")["reward_mean"].to_numpy()
    assert np.asarray(curve.get_ydata()) == pytest.approx(expected)
    assert np.asarray(curve.get_xdata(), float) == pytest.approx([0, *COUNTS], abs=64 / 30)


def test_training_runs_have_a_band() -> None:
    rows = frame(*runs_of("mfac", THREE, [0, 1, 2]), *runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    figure = figures.figure(of(rows))
    assert len([drawn for drawn in figure.axes[0].collections if isinstance(drawn, PolyCollection)]) == 1
    assert "over training runs" in str([text.get_text() for text in figure.legends[0].texts])
    apart = frame(*runs_of("mfac", THREE, [0, 0, 1]), *runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    assert ours(figures.figure(of(apart)).axes[0]) == ["RoMFAC", "a", "b", "c"]


def test_a_method_keeps_its_colour_whoever_is_with_it() -> None:
    alone, together = drawing.method_style(["romfac"]), drawing.method_style([*FIVE, "mine", "yours", "a2c"])
    assert alone["romfac"] == together["romfac"]
    assert len(set(together.values())) == 8


def test_drawing_leaves_matplotlib_as_it_was_and_repeats_itself() -> None:
    before = dict(matplotlib.rcParams)
    made = of(synthetic(scenarios=("battle",)))
    first, second = (drawing.svg(figures.figure(made)) for _ in range(2))
    assert dict(matplotlib.rcParams) == before
    assert first == second
    assert b"dc:date" not in first


def test_a_figure_is_text_and_turns_dark_on_a_dark_screen() -> None:
    drawn = drawing.svg(figures.figure(of(synthetic()))).decode()
    assert {"MFAC", "Battle", "Attacked agents"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", drawn))
    style = drawn[drawn.index("<style>") : drawn.index("</style>")]
    assert "screen and (prefers-color-scheme: dark)" in style
    for name, light in drawing.LIGHT.items():
        assert f'{light}"]{{fill:{drawing.DARK[name]}!important}}' in style
    assert len(drawing.svg(figures.figure(of(synthetic()), narrow=True))) > 1000


def test_on_a_phone_panels_are_below_each_other() -> None:
    made = of(synthetic(attacks=(("pgd", 0.075), ("fgsm", 0.075))))
    for drawn in (figures.figure(made, narrow=True), figures.attack_figure(made, narrow=True)):
        places = [panel.get_subplotspec() for panel in drawn.axes]
        assert {place.colspan.start for place in places if place} == {0}
        assert drawn.get_figwidth() < 4.5


def test_all_lines_begin_at_0_and_are_beside_each_other_elsewhere() -> None:
    panel = figures.figure(of(synthetic(("battle",)))).axes[0]
    at = np.array([line.get_xdata() for line in panel.lines if str(line.get_label()) in ("MFAC", "RoMFAC")], float)
    assert (at[:, 0] == 0).all()
    assert (at[0, 1:] != at[1, 1:]).all()


def test_ticks_and_titles_do_not_run_into_each_other() -> None:
    counts = [*range(1, 12), 60, 64]
    long = synthetic(("battle",), (("pgd", 0.0784314),), ["mfac"], rounds=2, counts=counts)
    long = long.assign(budget=40, victims="worst").where(long["attacked_agents"] > 0, long)
    epsilons = tuple(("pgd", e) for e in (0.01, 0.0125, 0.015, 0.3))
    for drawn in (
        figures.figure(of(long), narrow=True),
        figures.figure(of(long.assign(scenario="a_rather_long_name"))),
        figures.epsilon_figure(of(synthetic(("battle",), epsilons, ["mfac"], counts=[8])), narrow=True),
    ):
        drawn.draw_without_rendering()
        (panel,) = drawn.axes
        boxes = [label.get_window_extent() for label in panel.get_xticklabels() if label.get_text()]
        assert len(boxes) > 2
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
        titles = [panel.title, *(getattr(panel, f"_{side}_title") for side in ("left", "right"))]
        shown = [title.get_window_extent() for title in titles if title.get_text().strip()]
        assert not any(one.overlaps(other) for one, other in combinations(shown, 2)) or "\n" in titles[1].get_text()


def test_each_training_run_is_a_ring() -> None:
    rows = frame(*runs_of("mfac", THREE, [0, 1, 2]), *runs_of("romfac", {"r": [1.0, 2.0]}, [0]))
    panel = figures.figure(of(rows)).axes[0]
    (rings,) = [drawn for drawn in panel.collections if isinstance(drawn, PathCollection)]
    assert sorted(np.asarray(rings.get_offsets())[:, 1]) == pytest.approx([101, 101, 112, 112, 121, 121])
