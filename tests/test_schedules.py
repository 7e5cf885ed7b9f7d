"""Eq. 13 and its special cases, at rounds worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marlrobust.defenses.methods import METHODS
from marlrobust.defenses.schedules import Schedule

SHAPE: dict[str, Any] = {"normal_rounds": 100, "loop_rounds": 50, "loops": 3, "ramp": 0.8}  # w M_adv = 40


@pytest.mark.parametrize(
    ("m", "share"),
    [
        (0, 0.0),
        (99, 0.0),
        (100, 0.0),  # the first loop begins at 0
        (110, 0.25),  # 10 of 40
        (120, 0.5),
        (139, 0.975),
        (140, 1.0),
        (149, 1.0),  # the plateau after w M_adv
        (150, 0.0),  # the second loop begins again
        (170, 0.5),
        (199, 1.0),
        (200, 0.0),
        (245, 1.0),
    ],
)
def test_loops_follow_equation_13(m: int, share: float) -> None:
    assert Schedule("loops")(m, **SHAPE) == pytest.approx(share)


@pytest.mark.parametrize(("m", "share"), [(99, 0.0), (100, 0.0), (160, 0.5), (190, 0.75), (220, 1.0), (249, 1.0)])
def test_once_rises_over_all_rounds_of_the_loops(m: int, share: float) -> None:
    """One loop of 150 rounds: w M_adv = 120."""
    assert Schedule("once")(m, **SHAPE) == pytest.approx(share)


@given(m=st.integers(0, 1000), kind=st.sampled_from(["zero", "constant", "once", "loops"]))
def test_a_share_is_a_share_and_nothing_rises_before_m_norm(m: int, kind: str) -> None:
    share = Schedule(kind)(m, **SHAPE)  # type: ignore[arg-type]
    assert 0 <= share <= 1
    if m < SHAPE["normal_rounds"]:
        assert share == 0
    if kind == "constant":
        assert share == (m >= SHAPE["normal_rounds"])


def test_the_five_methods_are_the_papers() -> None:
    kinds = {name: (m.mu.kind, m.epsilon.kind, m.mean_field, m.loops) for name, m in METHODS.items()}
    losses = {"sa-kl": "divergence", "certified": "worst_case", "wocar": "WorstValue", "atla": "cross_entropy"}
    assert all(m.loss_name.endswith(f":{losses.get(name, 'cross_entropy')}") for name, m in METHODS.items())
    assert {name: kind for name, kind in kinds.items() if name not in losses} == {
        "mfac": ("zero", "zero", True, True),
        "sa-mfac": ("constant", "once", True, True),
        "sa-mfac3": ("constant", "loops", True, True),
        "romfac1": ("once", "constant", True, True),
        "romfac": ("loops", "constant", True, True),
        "a2c": ("zero", "zero", False, False),
    }
