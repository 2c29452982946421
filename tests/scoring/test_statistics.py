"""Standard errors, intervals and tests: against published values, and against simulation."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.scoring.statistics import (
    MOST_UNITS,
    Moments,
    bootstrap,
    mcnemar,
    t_quantile,
    wilson,
)

Clusters = Sequence[Sequence[float]]


def moments(clusters: Clusters) -> Moments:
    made = Moments()
    for cluster in clusters:
        for place, score in enumerate(cluster):
            made.add(score, sum(cluster[:place]), place)
    return made


def drawn(chance: random.Random, images: int, per_image: int, spread: float) -> list[list[float]]:
    """Yes-or-no scores whose chance differs by image."""
    levels = [0.6 + chance.uniform(-spread, spread) for _ in range(images)]
    return [[float(chance.random() < level) for _ in range(per_image)] for level in levels]


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.4])
def test_the_standard_error_is_the_spread_of_means(spread: float) -> None:
    chance = random.Random(1)
    runs = [moments(drawn(chance, 100, 6, spread)) for _ in range(300)]
    assert fmean(run.standard_error() for run in runs) == pytest.approx(
        stdev(run.mean for run in runs), rel=0.12
    )


@pytest.mark.parametrize(
    ("images", "per_image", "spread"), [(8, 5, 0.3), (30, 6, 0.4), (110, 5, 0.4), (110, 1, 0.4)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    images: int, per_image: int, spread: float
) -> None:
    chance = random.Random(2)
    runs = 600
    hits = 0
    for _ in range(runs):
        low, high = moments(drawn(chance, images, per_image, spread)).interval()
        hits += low <= 0.6 <= high
    assert 0.93 <= hits / runs <= 0.985


def test_an_interval_that_takes_answers_as_independent_is_too_narrow() -> None:
    chance = random.Random(3)
    runs = [moments(drawn(chance, 60, 6, 0.4)) for _ in range(400)]
    naive = [wilson(run.mean, run.count) for run in runs]
    assert sum(low <= 0.6 <= high for low, high in naive) / len(naive) < 0.9


def test_clusters_of_one_give_the_usual_standard_error() -> None:
    scores = [0.0, 1.0, 1.0, 0.3, 0.6]
    found = moments([[score] for score in scores]).standard_error()
    assert found == pytest.approx(stdev(scores) / math.sqrt(len(scores)))


def test_one_image_says_little_and_equal_scores_say_as_much_as_there_are_images() -> None:
    assert moments([[1.0] * 50]).interval() == wilson(1.0, 1)
    assert moments([[1.0] * 5] * 10).interval() == wilson(1.0, 10)
    assert math.isnan(moments([[1.0] * 50]).standard_error())


SCORES = st.floats(0, 1) | st.sampled_from([0.0, 0.3, 1.0])


@given(st.lists(st.lists(SCORES, min_size=1, max_size=6), min_size=1, max_size=20))
def test_running_sums_give_what_the_formula_gives(clusters: list[list[float]]) -> None:
    found = moments(clusters)
    low, high = found.interval()
    assert 0 <= low <= min(1.0, found.mean) + 1e-12
    assert min(1.0, found.mean) - 1e-12 <= high <= 1
    if len(clusters) > 1:
        mean, count = found.mean, found.count
        squares = sum((sum(one) - mean * len(one)) ** 2 for one in clusters)
        factor = len(clusters) / (len(clusters) - 1)
        assert found.standard_error() == pytest.approx(
            math.sqrt(squares * factor) / count, abs=1e-5
        )


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_more_answers_never_widen_wilson(mean: float, count: int) -> None:
    low, high = wilson(mean, count)
    lower, higher = wilson(mean, count + 1)
    assert high - low >= higher - lower - 1e-12


def test_quantiles_of_student_against_tables() -> None:
    # Fisher and Yates, Statistical Tables (1963), table III
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980}
    for freedom, quantile in table.items():
        assert t_quantile(freedom) == pytest.approx(quantile, abs=0.01)


@pytest.mark.parametrize(
    ("fixed", "broken", "p"),
    [(0, 0, 1), (5, 5, 1), (12, 5, 0.14346313), (1, 9, 0.02148438), (0, 6, 0.03125)],
)
def test_mcnemar_against_the_binomial(fixed: int, broken: int, p: float) -> None:
    assert mcnemar(fixed, broken) == pytest.approx(p)
    assert mcnemar(broken, fixed) == mcnemar(fixed, broken)


def test_mcnemar_of_a_large_set() -> None:
    assert 0 < mcnemar(20_000, 20_500) < 0.05


def mean(counts: object) -> dict[str, float]:
    assert isinstance(counts, dict)
    return {"mean": counts["sum"] / counts["count"]} if counts.get("count") else {}


def as_counts(clusters: Clusters) -> list[dict[str, float]]:
    return [{"sum": sum(one), "count": len(one)} for one in clusters]


@pytest.mark.parametrize("images", [200, MOST_UNITS + 700])
def test_the_bootstrap_agrees_with_the_standard_error(images: int) -> None:
    clusters = drawn(random.Random(4), images, 4, 0.4)
    low, high = bootstrap(as_counts(clusters), mean, resamples=800)["mean"]
    assert high - low == pytest.approx(2 * 1.96 * moments(clusters).standard_error(), rel=0.1)


def test_the_bootstrap_is_the_same_each_time_and_says_nothing_of_one_cluster() -> None:
    clusters = as_counts(drawn(random.Random(5), 20, 3, 0.3))
    assert bootstrap(clusters, mean) == bootstrap(clusters, mean)
    assert bootstrap(clusters[:1], mean) == {}


def test_a_figure_that_no_draw_changes_has_no_interval() -> None:
    clusters = as_counts([[1.0], [1.0, 1.0], [1.0]])
    assert bootstrap(clusters, mean) == {}
