"""The scoreboard: figures beyond the mean, what is not understood, and metrics that fail."""

from __future__ import annotations

import itertools
import math
import random
import tracemalloc
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import question
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.scoring import Grade, Scoreboard, ScoreTable, default_metric, metric, metrics
from vqa_engine.scoring.report import as_text, score_tables

TWO = ("a cat", "a dog")
EXACT = metric("exact")


def scored(name: str, *rows: tuple[str, Question]) -> ScoreTable:
    board = Scoreboard(metric(name))
    for said, asked in rows:
        board.add(said, asked)
    return board.snapshot()


def yes_no(number: int, truth: str, **facts: Any) -> Question:
    return question(question_id=number, image=b"", answers=(truth,), **facts)


def chosen(number: int, right: int, **facts: Any) -> Question:
    return question(question_id=number, image=b"", answers=(), choices=TWO, right=right, **facts)


def values(table: ScoreTable) -> dict[str, float]:
    return {name: figure.value for name, figure in table.figures.items()}


# --- figures


def test_pope_s_figures() -> None:
    truths_and_answers = [("yes", "Yes"), ("yes", "No"), ("no", "Yes"), ("no", "No"), ("no", "No")]
    rows = [(said, yes_no(n, truth)) for n, (truth, said) in enumerate(truths_and_answers)]
    table = scored("yes-no-pope", *rows)
    assert table.overall.percent == pytest.approx(60)
    assert values(table) == {"precision": 50, "recall": 50, "F1": 50, "answered yes": 40}


def test_pope_s_f1_by_setting() -> None:
    asked = [("random", "yes", "Yes"), ("random", "no", "Yes"), ("popular", "yes", "Yes")]
    rows = [
        (said, yes_no(number, truth, labels={"setting": setting}))
        for number, (setting, truth, said) in enumerate(asked)
    ]
    found = values(scored("yes-no-pope+yes-no:setting", *rows))
    assert found["F1"] == pytest.approx(80)
    assert found["mean F1 over setting"] == pytest.approx((200 / 3 + 100) / 2)
    assert found["F1, setting random"] == pytest.approx(200 / 3)
    assert found["F1, setting popular"] == 100
    assert list(values(scored("yes-no-pope+yes-no:nothing", *rows)))[-1] == "answered yes"


def test_an_answer_that_is_neither_misses_a_yes() -> None:
    rows = [("maybe", yes_no(1, "yes")), ("maybe", yes_no(2, "no")), ("yes", yes_no(3, "yes"))]
    table = scored("yes-no-words", *rows)
    assert [table.overall.percent, table.unparsed] == pytest.approx([100 / 3, 2])
    assert (values(table)["recall"], values(table)["precision"]) == (50, 100)


def test_mme_counts_pairs_of_an_image() -> None:
    rows = [
        ("yes", yes_no(1, "yes", image_id=1, labels={"subtask": "OCR"})),
        ("no", yes_no(2, "no", image_id=1, labels={"subtask": "OCR"})),
        ("yes", yes_no(3, "yes", image_id=2, labels={"subtask": "OCR"})),
        ("yes", yes_no(4, "no", image_id=2, labels={"subtask": "OCR"})),
        ("yes", yes_no(5, "yes", image_id=3, labels={"subtask": "code_reasoning"})),
    ]
    table = scored("mme", *rows)
    assert values(table) | {"F1": 0} == {
        "perception + cognition": 225, "perception": 125, "cognition": 100, "OCR": 125,
        "code_reasoning": 100, "precision": 75, "recall": 100, "F1": 0, "answered yes": 80,
    }  # fmt: skip


def test_circular_wants_every_rotation_and_leaves_out_what_is_cut() -> None:
    def rotated(number: int, group: str, rotation: int) -> Question:
        return chosen(number, 0, group=group, labels={"rotation": str(rotation)})

    rows = [
        ("A", rotated(1, "x", 0)), ("A", rotated(2, "x", 1)),
        ("A", rotated(3, "y", 0)), ("B", rotated(4, "y", 1)),
        ("A", rotated(5, "z", 0)),
    ]  # fmt: skip
    table = scored("circular", *rows)
    assert table.overall.percent == 80
    found = values(table)
    assert (found["circular"], found["rotation 0"]) == (50, 100)
    assert found["incomplete groups (not counted)"] == 1


@pytest.mark.parametrize(("answered", "groups"), [("AAA", 1), ("AA", 0), ("A", 0)])
def test_circular_knows_choices_that_stay_where_they_are(answered: str, groups: int) -> None:
    orders = (("x", "y", "z", "none"), ("z", "x", "y", "none"), ("y", "z", "x", "none"))
    rows = [
        (said, evolve(chosen(turn, 0), choices=order, group="q", labels={"rotation": str(turn)}))
        for turn, (said, order) in enumerate(zip(answered, orders, strict=False))
    ]
    found = values(scored("circular", *rows))
    assert found.get("circular") == (100 if groups else None)
    assert found.get("incomplete groups (not counted)", 0) == 1 - groups


@pytest.mark.parametrize(("said", "groups"), [("ABBCAB", 1), ("ABBCA", 0)])
def test_circular_counts_every_order_where_more_than_rotations_are_asked(
    said: str, groups: int
) -> None:
    rows = []
    orders = itertools.permutations(("x", "y", "z"))
    for turn, (one, order) in enumerate(zip(said, orders, strict=False)):
        asked = chosen(turn, 0, group="q", labels={"rotation": str(turn)})
        rows.append((one, evolve(asked, choices=order, right=order.index("x"))))
    assert values(scored("circular", *rows)).get("incomplete groups (not counted)", 0) == 1 - groups


def test_circular_is_counted_for_each_value_of_a_label() -> None:
    rows = [
        (said, chosen(number, 0, group=group, labels={"rotation": turn, "kind": kind}))
        for number, (said, group, turn, kind) in enumerate(
            [("A", 1, "0", "x"), ("A", 1, "1", "x"), ("A", 2, "0", "y"), ("B", 2, "1", "y")]
        )
    ]
    found = values(scored("circular+circular:kind", *rows))
    assert (found["circular"], found["rotation 0"]) == (50, 100)
    assert (found["circular, kind x"], found["circular, kind y"]) == (100, 0)


def test_letters_are_counted_and_constants_are_baselines() -> None:
    rows = [("A", chosen(1, 0)), ("A", chosen(2, 1)), ("?", chosen(3, 1))]
    found = values(scored("choice", *rows))
    assert found["right B"] == pytest.approx(200 / 3)
    assert [found["given A"], found["given B"]] == pytest.approx([200 / 3, 0])
    assert found["baseline: always B"] == pytest.approx(200 / 3)
    assert found["baseline: longest choice"] == 50


def test_no_choice_is_the_longest_where_their_texts_are_not_known() -> None:
    asked = evolve(chosen(1, 0), choices=("A", "B", "C"))
    assert "baseline: longest choice" not in values(scored("choice", ("A", asked)))


def test_hallusion_groups_by_figure_and_by_question() -> None:
    def row(number: int, category: str, figure: str, asked: str) -> Question:
        labels = {"category": category, "subcategory": "map", "set_id": "0", "figure_id": figure,
                  "question_id": asked}  # fmt: skip
        return yes_no(number, "yes", labels=labels)

    rows = [
        ("yes", row(1, "VS", "0", "0")), ("yes", row(2, "VS", "1", "0")),
        ("yes", row(3, "VS", "1", "1")), ("no", row(4, "VS", "2", "1")),
    ]  # fmt: skip
    found = values(scored("hallusion", *rows))
    assert (found["aAcc"], found["fAcc"], found["qAcc"]) == (75, 50, 50)


def test_means_over_a_label_and_for_each_of_its_values() -> None:
    rows = [
        (
            "yes",
            yes_no(number, "yes" if number else "no", labels={"part": "x" if number < 3 else "y"}),
        )
        for number in range(4)
    ]
    found = values(scored("exact+macro:part+by:part", *rows))
    assert found["mean over part"] == pytest.approx((200 / 3 + 100) / 2)
    assert [found["part x"], found["part y"]] == pytest.approx([200 / 3, 100])


def test_a_label_with_no_right_answer_has_zero() -> None:
    rows = [("no", yes_no(number, "yes", labels={"part": "a"})) for number in range(3)]
    assert values(scored("exact+macro:part+by:part", *rows)) == {"mean over part": 0, "part a": 0}


def test_figures_have_intervals_unless_they_describe_the_set() -> None:
    rows = [
        ("A" if number % 3 else "B", chosen(number, 0, labels={"part": "x"}))
        for number in range(30)
    ]
    table = scored("choice+macro:part", *rows)
    assert math.isnan(table.figures["right A"].low)
    mean = table.figures["mean over part"]
    assert table.overall.low - 4 < mean.low < mean.value < mean.high < table.overall.high + 4


def test_what_a_rule_credits_without_understanding_is_shown() -> None:
    table = scored("mmmu-official", ("?", chosen(1, 0)), ("A", chosen(2, 0)))
    assert (table.overall.percent, table.unparsed, table.credited) == (75, 1, 1)
    text = as_text(score_tables({"model": [table]}))
    assert "1  (50.0 %)" in text
    assert "of these credited by the rule" in text


def test_each_answer_s_grade_comes_back() -> None:
    board = Scoreboard(EXACT)
    assert board.add("yes", yes_no(1, "yes")) == Grade(1.0)
    assert board.add("yes", question(answers=())) is None
    assert board.overall.percent == board.snapshot().overall.percent == 100


# --- clusters


def test_answers_about_one_image_are_not_independent() -> None:
    def interval(images: int) -> float:
        rows = [
            ("yes", yes_no(n, "yes" if n % images % 2 else "no", image_id=n % images))
            for n in range(60)
        ]
        overall = scored("exact", *rows).overall
        assert overall.clusters == images
        return overall.high - overall.low

    assert interval(10) > 2 * interval(60)


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["yes", "no", "?"]), st.sampled_from("ab")),
    min_size=1,
    max_size=20,
)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_answers_makes_no_difference(
    rows: list[tuple[int, str, str]], shuffled: random.Random
) -> None:
    answers = [
        (said, yes_no(number, "yes", image_id=image, question_type=kind))
        for number, (image, said, kind) in enumerate(rows)
    ]
    tables = []
    for _ in range(2):
        board = Scoreboard(EXACT)
        for said, asked in answers:
            board.add(said, asked)
        tables.append(board.snapshot())
        shuffled.shuffle(answers)
    one, other = tables
    assert one.by_question_type.keys() == other.by_question_type.keys()
    assert (one.overall.percent, one.overall.clusters) == pytest.approx(
        (other.overall.percent, other.overall.clusters)
    )
    assert (one.overall.low, one.overall.high) == pytest.approx(
        (other.overall.low, other.overall.high), abs=1e-6
    )


def test_memory_grows_with_images_and_not_with_questions() -> None:
    def grown(per_image: int) -> int:
        board = Scoreboard(EXACT)
        tracemalloc.start()
        for number in range(300 * per_image):
            board.add("yes", yes_no(number, "yes", image_id=number // per_image, question_type="a"))
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    grown(1)  # what is made once, such as caches
    assert grown(8) < 1.5 * grown(1)


# --- metrics that fail


class Failing:
    """A metric of another package that is wrong from its second question on."""

    name, version, decimals, aggregates = "failing", 1, None, ()

    def __init__(self, second: object) -> None:
        self._second = second

    def grade(self, prediction: str, asked: Question) -> Any:
        if asked.question_id == 1:
            return Grade(1.0)
        if isinstance(self._second, Exception):
            raise self._second
        return self._second


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (ValueError("no such thing"), "question 2: ValueError: no such thing"),
        (Grade(1.5), "gave 1.5, and a score is in 0..1"),
        (Grade(math.nan), "gave nan"),
        (Grade(cast("Any", "yes")), "gave 'yes', and a score is in 0..1"),
        (0.5, "gave float, not a Grade"),
    ],
)
def test_a_metric_that_fails_costs_its_own_column(second: object, reason: str) -> None:
    boards = [Scoreboard(metric(Failing(second))), Scoreboard(metric("exact"))]
    for number in (1, 2, 3):
        for board in boards:
            board.add("yes", yes_no(number, "yes"))
    failed, healthy = (board.snapshot() for board in boards)
    assert reason in failed.failure
    assert failed.overall.count == 0
    assert healthy.overall.percent == 100
    text = as_text(score_tables({"model": [failed, healthy]}))
    assert "has no scores, for it failed: question 2" in text
    assert "100.00" in text


# --- metrics as functions, and the default


def test_a_function_is_a_metric() -> None:
    def brief(prediction: str, asked: Question) -> float:
        return float(len(prediction) < 10)

    board = Scoreboard(metric(brief))
    board.add("yes", yes_no(1, "no"))
    assert (board.snapshot().metric, board.snapshot().overall.percent) == ("brief", 100)


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="which does not implement Metric"):
        metric(7)  # type: ignore[arg-type]


def test_a_metric_named_twice_is_used_once() -> None:
    assert [one.name for one in metrics(["exact", "anls", "exact"])] == ["exact", "anls"]


@pytest.mark.parametrize(
    ("questions", "name"),
    [
        ([question()], "vqa-v2-normalised"),
        ([question(answers=("couch", "sofa"))], "exact"),
        ([chosen(1, 0)], "choice"),
        ([chosen(1, 0, labels={"rotation": "0"})], "circular"),
        ([question(choices=TWO, answers=("a cat",))], "choice"),
        ([question(choices=TWO, answers=("B",))], "choice"),
        ([question(choices=TWO, answers=("a horse",))], "exact"),
        ([question(), chosen(1, 0)], "by-question"),
        ([question(answers=())], "vqa-v2-normalised"),
    ],
)
def test_the_default_metric_is_for_what_the_questions_have(
    questions: list[Question], name: str
) -> None:
    default = default_metric(questions)
    assert default.metric.name == name
    assert default.why


def test_synonyms_are_accepted_answers_and_not_votes() -> None:
    asked = [question(question_id=n, answers=("couch", "sofa")) for n in range(60)]
    table = scored(default_metric(asked).metric.name, *(("sofa", one) for one in asked))
    assert table.overall.percent == 100


def test_by_question_grades_each_by_what_it_has() -> None:
    table = scored(
        "by-question", ("B", chosen(1, 1)), ("yes", question()), ("Two.", yes_no(3, "2"))
    )
    assert (table.overall.percent, table.overall.count) == (100, 3)
