"""Slopes and predictions hold for any numbers, not only for ours."""

from __future__ import annotations

from collections.abc import Callable
from operator import mul

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqa_engine.adapter import GenerationPlan, MemoryProfile, QuestionCost
from vqa_engine.memory.estimator import MARGIN, Estimator, stages
from vqa_engine.memory.trend import rising, theil_sen

slopes = st.integers(-10_000, 10_000)


@settings(deadline=None, max_examples=40)
@given(slopes, st.integers(0, 10**9), st.integers(3, 40))
def test_a_line_gives_its_slope(slope: int, start: int, count: int) -> None:
    assert theil_sen([(x, start + slope * x) for x in range(count)]) == slope


@settings(deadline=None, max_examples=40)
@given(slopes, st.data())
def test_a_quarter_of_wild_points_does_not_turn_the_slope(slope: int, data: st.DataObject) -> None:
    points = [(float(x), float(slope * x)) for x in range(24)]
    wild = data.draw(st.lists(st.integers(0, 23), max_size=5, unique=True))
    for index in wild:
        points[index] = (float(index), data.draw(st.floats(-1e12, 1e12)))
    found = theil_sen(points)
    assert found is not None
    assert abs(found - slope) < 1e-6


def test_too_few_points_have_no_slope() -> None:
    assert theil_sen([]) is None
    assert theil_sen([(1.0, 2.0), (1.0, 3.0)]) is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(), min_size=2, max_size=30, unique=True))
def test_rising_is_one_for_the_sorted_and_minus_one_for_the_reversed(values: list[int]) -> None:
    assert rising(sorted(values)) == 1.0
    assert rising(sorted(values, reverse=True)) == -1.0


coefficients = st.tuples(
    st.integers(0, 50_000_000),
    st.integers(1_000, 500_000),
    st.integers(0, 500_000),
    st.integers(1, 200),
    st.integers(0, 5_000_000),
)


def varied(number: int) -> tuple[QuestionCost, GenerationPlan]:
    """Questions of varied length, tiles and step, the same for every example."""
    tokens = 80 + (number * 613) % 1900
    step = (32, 128, 512, 2048)[number % 4]
    return (
        QuestionCost(prompt_tokens=tokens, image_tiles=1 + number % 17),
        GenerationPlan(prefill_step=step),
    )


@settings(deadline=None, max_examples=20)
@given(coefficients)
@example((0, 1000, 542, 1, 79956))
@example((0, 219194, 0, 3, 4969))
def test_the_form_is_learned_whatever_its_weights(truth: tuple[int, ...]) -> None:
    estimator, errors = Estimator(MemoryProfile()), []
    for number in range(100):
        case = stages(*varied(number))
        need = max(int(sum(map(mul, truth, chunk))) for chunk in case.chunks)
        errors.append((estimator.predict(case) - need) / need)
        estimator.learn(case, need)
    later = errors[40:]
    assert sum(map(abs, later)) / len(later) < 0.02
    assert min(later) > -MARGIN  # too much is only careful, too little is a death


@pytest.mark.parametrize("line", [max, lambda *both: sum(both)])
def test_an_encoder_that_sets_the_peak_is_told_apart(line: Callable[..., int]) -> None:
    estimator, errors = Estimator(MemoryProfile()), []
    for number in range(120):
        case = stages(*varied(number), beside=line is not max)
        _, tokens, _, pairs, _ = max(case.chunks, key=lambda chunk: chunk[3])
        tiles = varied(number)[0].image_tiles
        need = int(line(100_000 + 450_000 * tiles, 200_000 + 700 * tokens + 16 * pairs))
        errors.append(abs(estimator.predict(case) - need) / need)
        estimator.learn(case, need)
    assert sum(errors[40:]) / 80 < 0.06


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=60))
def test_predictions_stay_finite_and_the_margin_one_sided(needs: list[int]) -> None:
    estimator = Estimator(MemoryProfile(kv_per_token=1000))
    for number, need in enumerate(needs):
        estimator.learn(stages(*varied(number)), need)
        following = stages(*varied(number + 1))
        assert 0.0 <= estimator.predict(following) < float("inf")
        assert estimator.bound(following) >= estimator.predict(following) * (1.0 + MARGIN)


def test_a_seed_predicts_before_anything_was_learned() -> None:
    profile = MemoryProfile(kv_per_token=100, attention_per_pair=2, per_tile=1000)
    estimator = Estimator(profile)
    cost = QuestionCost(prompt_tokens=1000, image_tiles=5)
    # The prefill's keys, values and scores; they are more than five tiles.
    assert estimator.predict(stages(cost, GenerationPlan(prefill_step=100))) == 300_000
    assert estimator.known
    assert not Estimator(MemoryProfile(kv_per_token=100)).known


def test_only_new_tokens_and_tiles_in_hand_count() -> None:
    cost = QuestionCost(prompt_tokens=1000, reused_tokens=900, image_tiles=17)
    found = stages(cost, GenerationPlan(encoder_batch=4))
    assert found.encoder == (4.0, 17.0)
    assert found.chunks == ((1.0, 100.0, 100.0, 100_000.0, 0.0),)


def test_what_is_computed_apart_has_chunks_of_its_own() -> None:
    cost = QuestionCost(prompt_tokens=700, apart_tokens=600, cache_tokens=768)
    assert stages(cost, GenerationPlan(prefill_step=256)).chunks == (
        (1.0, 600.0, 256.0, 256.0 * 512, 0.0),
        (1.0, 600.0, 88.0, 88.0 * 600, 0.0),
        (1.0, 768.0, 100.0, 100.0 * 700, 0.0),
    )


def test_caches_that_make_room_lower_the_need() -> None:
    estimator = Estimator(MemoryProfile(attention_per_pair=1))
    alone = QuestionCost(prompt_tokens=100)
    for _ in range(20):
        estimator.learn(stages(alone, GenerationPlan()), 1_000_000)
        estimator.learn(stages(evolve(alone, freed_bytes=400_000), GenerationPlan()), 600_000)
    found = estimator.predict(stages(evolve(alone, freed_bytes=400_000), GenerationPlan()))
    assert found == pytest.approx(600_000, rel=0.01)
    assert estimator.predict(stages(alone, GenerationPlan())) == pytest.approx(1e6, rel=0.01)


def test_a_need_far_below_the_usual_one_gets_the_usual_slack() -> None:
    estimator, small = Estimator(MemoryProfile()), QuestionCost(prompt_tokens=10)
    for _ in range(20):
        estimator.learn(stages(QuestionCost(prompt_tokens=1000), GenerationPlan()), 1_000_000)
    asked = stages(small, GenerationPlan())
    slack = estimator.bound(asked) - estimator.predict(asked)
    assert slack == pytest.approx(MARGIN * 1_000_000, rel=0.1)


def test_a_larger_step_than_any_measured_is_bounded_in_proportion() -> None:
    estimator, cost = Estimator(MemoryProfile()), QuestionCost(prompt_tokens=1024)
    for _ in range(3):
        estimator.learn(stages(cost, GenerationPlan(prefill_step=32)), 1_000_000)
    assert estimator.bound(stages(cost, GenerationPlan(prefill_step=1024))) >= 32_000_000


def test_a_prefill_that_the_encoder_hid_is_bounded_by_all_that_was_needed() -> None:
    estimator = Estimator(MemoryProfile())
    for number in range(20):
        cost = QuestionCost(prompt_tokens=100 + number, image_tiles=4)
        estimator.learn(stages(cost, GenerationPlan()), 1_000_000)
    longer = stages(QuestionCost(prompt_tokens=1190, image_tiles=4), GenerationPlan())
    assert estimator.bound(longer) >= 10_000_000


def test_questions_about_the_last_image_are_learned_apart() -> None:
    estimator, errors = Estimator(MemoryProfile(kv_per_token=512)), []
    for number in range(60):
        words = 40 + 13 * number % 200
        first = QuestionCost(prompt_tokens=600 + words, image_tiles=4, apart_tokens=600)
        again = QuestionCost(prompt_tokens=600 + words, reused_tokens=600, cache_tokens=0)
        for cost, need in ((first, 7_000_000), (again, 9_000 * words - 200_000)):
            case = stages(cost, GenerationPlan())
            errors.append(abs(estimator.predict(case) - need) / need)
            estimator.learn(case, need)
    assert sum(errors[40:]) / 80 < 0.03
