"""Probabilities against how often the answers are right."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.scoring.calibration import calibration

SHARE = st.floats(0, 1)


def test_the_error_is_the_weighted_gap_of_the_bins() -> None:
    """0.95 in three answers of which two are right, 0.3 in one that is wrong."""
    made = calibration([(0.95, 1), (0.95, 1), (0.95, 0), (0.3, 0)])
    assert made.error == pytest.approx((3 * (0.95 - 2 / 3) + 0.3) / 4)
    assert [one.count for one in made.bins] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 3]


def test_a_bin_has_its_upper_bound() -> None:
    made = calibration([(0.0, 0), (0.1, 0), (0.5, 1), (1.0, 1)])
    assert [one.count for one in made.bins] == [2, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_without_answers_there_is_no_error() -> None:
    assert math.isnan(calibration([]).error)


@given(st.lists(st.tuples(SHARE, SHARE), min_size=1))
def test_every_answer_is_in_a_bin_and_the_error_is_a_share(
    pairs: list[tuple[float, float]],
) -> None:
    made = calibration(pairs)
    assert sum(one.count for one in made.bins) == len(pairs)
    assert -1e-9 <= made.error <= 1 + 1e-9
