"""Probabilities against how often the answers are right."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.scoring.calibration import Calibration, Reliability

SHARE = st.floats(0, 1)


def calibration(pairs: Iterable[tuple[float, float]]) -> Calibration:
    """Of (probability, score) of each answer."""
    collected = Reliability()
    for pair in pairs:
        collected.add(*pair)
    made = collected.calibration()
    assert made is not None
    return made


def counts(made: Calibration) -> dict[float, int]:
    """Answers in the bins that have any, by their lower bound."""
    return {one.low: one.count for one in made.bins}


def test_the_error_is_the_weighted_gap_of_the_bins() -> None:
    """0.95 in three answers of which two are right, 0.3 in one that is wrong."""
    made = calibration([(0.95, 1), (0.95, 1), (0.95, 0), (0.3, 0)])
    assert made.error == pytest.approx((3 * (0.95 - 2 / 3) + 0.3) / 4)
    assert counts(made) == {0.2: 1, 0.9: 3}


def test_a_bin_has_its_upper_bound() -> None:
    made = calibration([(0.0, 0), (0.1, 0), (0.5, 1), (1.0, 1)])
    assert counts(made) == {0.0: 2, 0.4: 1, 0.9: 1}


def test_without_answers_there_is_no_error() -> None:
    assert Reliability().calibration() is None


@given(st.lists(st.tuples(SHARE, SHARE), min_size=1))
def test_every_answer_is_in_a_bin_and_the_error_is_a_share(
    pairs: list[tuple[float, float]],
) -> None:
    made = calibration(pairs)
    assert sum(one.count for one in made.bins) == len(pairs)
    assert -1e-9 <= made.error <= 1 + 1e-9
