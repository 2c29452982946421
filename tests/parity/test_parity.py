"""The first stage at which two answers to one question part ways."""

from __future__ import annotations

import pytest
from attrs import evolve

from vqa_engine.adapter import Answer, GenerationPlan, Question, Trace
from vqa_engine.parity import NO_ANSWER, STAGES, compare
from vqa_engine.results import Failure, Row

TRACE = Trace(
    prompt="<image>What?",
    prompt_ids=(1, 9, 9, 4),
    image_size=(30, 20),
    pixel_shape=(1, 3, 8, 8),
    pixels=(0.5, -0.25),
    image_positions=(1, 2),
    first=((7, -0.1), (8, -2.5)),
)
ANSWER = Answer(text="red", plan=GenerationPlan(), token_ids=(7, 5), trace=TRACE)


def row(answer: Answer | None, question_id: int = 1) -> Row:
    """A row with this answer, or with a failure."""
    return Row(
        adapter="a",
        question=Question(question_id=question_id, image=b"", text="What?"),
        answer=answer,
        failure=None if answer else Failure(cause="adapter", message="it broke"),
    )


CHANGES: tuple[tuple[str, Answer], ...] = (
    ("prompt", evolve(ANSWER, trace=evolve(TRACE, prompt="What?", prompt_ids=(1,)))),
    ("prompt ids", evolve(ANSWER, trace=evolve(TRACE, prompt_ids=(1, 1, 9, 9, 4)))),
    ("picture size", evolve(ANSWER, trace=evolve(TRACE, image_size=(20, 30), pixels=(1.0, 2.0)))),
    ("picture tiles", evolve(ANSWER, trace=evolve(TRACE, pixel_shape=(1, 5, 3, 8, 8)))),
    ("pixels", evolve(ANSWER, trace=evolve(TRACE, pixels=(0.5, -0.27)))),
    ("image positions", evolve(ANSWER, trace=evolve(TRACE, image_positions=(0, 2)))),
    ("first token", evolve(ANSWER, trace=evolve(TRACE, first=((7, -0.2), (8, -2.5))))),
    ("ids", evolve(ANSWER, token_ids=(7, 6), text="blue")),
    ("text", evolve(ANSWER, text="Red")),
)


@pytest.mark.parametrize(("stage", "other"), CHANGES, ids=[stage for stage, _ in CHANGES])
def test_the_first_stage_is_named(stage: str, other: Answer) -> None:
    found = compare([row(ANSWER)], [row(other)])
    assert found.counts == {stage: 1}
    assert found.example(stage).one != found.example(stage).other


def test_every_stage_can_be_named() -> None:
    assert [stage for stage, _ in CHANGES] == [stage for stage in STAGES if stage != NO_ANSWER]


def test_what_is_the_same() -> None:
    near = evolve(TRACE, pixels=(0.5 + 1e-5, -0.25), first=((8, -2.5), (7, -0.1001)))
    near = evolve(near, pixel_shape=(3, 8, 8))
    found = compare([row(ANSWER)], [row(evolve(ANSWER, trace=near))])
    assert (found.same, found.differences) == (1, ())


def test_what_one_does_not_show_is_passed_over() -> None:
    server = Answer(text="red", plan=GenerationPlan())
    assert compare([row(ANSWER)], [row(server)]).same == 1
    assert compare([row(ANSWER)], [row(evolve(server, text="blue"))]).counts == {"text": 1}


def test_a_failure_is_a_difference() -> None:
    found = compare([row(ANSWER), row(ANSWER, 2)], [row(None), row(ANSWER, 2)])
    assert found.counts == {NO_ANSWER: 1}
    assert found.same == 1
    assert found.example(NO_ANSWER).other == "it broke"


def test_a_wider_tolerance_finds_less() -> None:
    other = evolve(ANSWER, trace=evolve(TRACE, pixels=(0.5, -0.27)))
    assert compare([row(ANSWER)], [row(other)], 0.1).same == 1
