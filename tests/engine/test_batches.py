"""Questions that an adapter answers together: one reply each, whatever happens to the batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from tests import fakes
from tests.builders import a_question, png
from vqa_engine import Answer, Engine, GenerationPlan, Question
from vqa_engine.crew.holder import Isolation
from vqa_engine.crew.rows import MAX_DEATHS
from vqa_engine.errors import AnswerError, OutOfMemory, VqaEngineError
from vqa_engine.runs.directory import open_journal

pytestmark = pytest.mark.usefixtures("nobody_left")


class Together(fakes.Looking):
    """Takes up to four questions; says in each answer how many were asked together."""

    sizes: ClassVar[list[int]] = []

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return min(4, len(upcoming))

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        self.sizes.append(len(questions))
        return [self._one(question, plan) for question in questions]

    def _one(self, question: Question, plan: GenerationPlan) -> Answer | VqaEngineError:
        if question.text == "bad":
            return AnswerError("beyond me", cause="adapter")
        return self.answer(question, plan)


class Crowded(Together):
    """Has no memory for more than one at a time."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        if len(questions) > 1:
            raise OutOfMemory("too many at once")
        return super().answer_batch(questions, plan, following)


class Fragile(Together):
    """Dies of any batch."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        if len(questions) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer_batch(questions, plan, following)


class Forgetful(Together):
    """Gives one outcome too few."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        return super().answer_batch(questions[len(questions) > 1 :], plan, following)


def asked(count: int, folder: Path | None = None) -> list[Question]:
    """Questions whose image tells them apart, as bytes or as files."""
    made = []
    for number in range(count):
        image: bytes | Path = png((number + 1, 1))
        if folder is not None:
            path = folder / f"{number}.png"
            path.write_bytes(png((number + 1, 1)))
            image = path
        made.append(a_question(number, image=image))
    return made


def answers(adapter: type, isolation: Isolation, questions: list[Question]) -> list[str | None]:
    with Engine(adapters=[adapter], isolation=isolation) as engine:
        return [row.answer.text if row.answer else None for row in engine.run(questions).rows()]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["inline", "process"])
@pytest.mark.parametrize("adapter", [Together, Crowded, Forgetful])
def test_each_question_gets_its_own_answer(
    adapter: type, isolation: Isolation, tmp_path: Path
) -> None:
    wanted = [f"{number + 1}x1" for number in range(11)]
    assert answers(adapter, isolation, asked(11)) == wanted
    assert answers(adapter, isolation, asked(11, tmp_path)) == wanted


@pytest.mark.slow
def test_a_batch_that_kills_its_worker_is_asked_one_by_one() -> None:
    assert answers(Fragile, "process", asked(6)) == [f"{number + 1}x1" for number in range(6)]


def test_as_many_as_the_adapter_takes_are_asked_together() -> None:
    Together.sizes.clear()
    answers(Together, "inline", asked(10))
    assert Together.sizes == [4, 4, 2]


def test_the_fault_of_one_costs_no_other_its_answer() -> None:
    questions = [*asked(2), a_question(7, text="bad"), a_question(8, image=png((9, 9)))]
    with Engine(adapters=[Together], isolation="inline") as engine:
        rows = list(engine.run(questions).rows())
    assert [row.failure is None for row in rows] == [True, True, False, True]
    assert rows[2].failure is not None
    assert rows[2].failure.message == "beyond me"


@pytest.mark.slow
def test_a_question_that_kills_the_whole_process_takes_no_other_with_it(tmp_path: Path) -> None:
    """Inline there is no worker: each death ends the host, and the next one continues."""
    command = [sys.executable, "-m", "tests.deadly", str(tmp_path / "run")]
    ends = [subprocess.run(command, check=False).returncode for _ in range(MAX_DEATHS + 1)]
    assert ends == [-signal.SIGKILL] * MAX_DEATHS + [0]
    with closing(open_journal(tmp_path / "run")) as journal:
        rows = list(journal.rows())
    assert [row.question.question_id for row in rows if row.failure] == [2]
    assert len(rows) == 8


def test_answers_of_a_batch_come_in_the_callers_order() -> None:
    with Engine(adapters=[Together], isolation="process") as engine:
        ids = [row.question.question_id for row in engine.answers(asked(9))]
    assert ids == list(range(9))


class Preparing(fakes.Looking):
    """Remembers whose image it was asked to prepare, and when."""

    log: ClassVar[list[str]] = []

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return 1

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        (question,) = questions
        if following is not None and following.image != question.image:
            self.log.append(f"prepare {following.question_id}")
        self.log.append(f"answer {question.question_id}")
        return [self.answer(question, plan)]


def test_the_next_image_is_prepared_before_the_present_question_is_answered() -> None:
    Preparing.log.clear()
    red, blue = png(colour="red"), png(colour="blue")
    questions = [a_question(n, image=image) for n, image in enumerate((red, red, blue, blue))]
    assert answers(Preparing, "inline", questions) == ["8x8"] * 4
    assert Preparing.log == ["answer 0", "prepare 2", "answer 1", "answer 2", "answer 3"]


def test_an_adapter_that_prepares_answers_the_same_in_a_worker(tmp_path: Path) -> None:
    assert answers(Preparing, "process", asked(3, tmp_path)) == ["1x1", "2x1", "3x1"]
