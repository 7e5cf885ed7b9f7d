"""Victims: drawn without replacement, and nested, so that counts can be compared in pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marlrobust.attacks.victims import draw_victims


@given(st.integers(0, 80), st.integers(0, 64), st.integers(0, 2**31))
def test_they_are_distinct_sorted_agents_of_the_team(count: int, team: int, seed: int) -> None:
    victims = draw_victims(count, team, np.random.default_rng(seed))
    assert len(victims) == min(count, team)
    assert (np.diff(victims) > 0).all()
    assert ((victims >= 0) & (victims < team)).all()


@given(st.integers(0, 64), st.integers(0, 64), st.integers(0, 2**31))
def test_fewer_are_among_more_under_the_same_seed(a: int, b: int, seed: int) -> None:
    fewer, more = (draw_victims(n, 64, np.random.default_rng(seed)) for n in sorted((a, b)))
    assert set(fewer.tolist()) <= set(more.tolist())


def test_every_agent_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    hits = np.bincount(np.concatenate([draw_victims(8, 32, rng) for _ in range(4000)]), minlength=32)
    assert abs(hits / 4000 - 0.25).max() < 0.03


def test_the_seed_decides() -> None:
    first, again, other = (draw_victims(16, 64, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_count_above_the_team_is_the_whole_team() -> None:
    assert draw_victims(64, 32, np.random.default_rng(0)).tolist() == list(range(32))


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        draw_victims(-1, 4, np.random.default_rng(0))
