"""Pictures are made ready ahead, no more than fit in a bound of bytes; no torch is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqa_engine.adapter import Question
from vqa_engine_adapters.torch.ahead import Ahead
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared

SIZE = 1000


class Counting(Ahead):
    """Makes every picture `SIZE` bytes, and remembers which it was asked for."""

    def __init__(self, limit: int) -> None:
        nothing: Any = None
        super().__init__(nothing, lambda one: one.text, lambda _: [0], Prefixes(0), limit)
        self.begun: list[str | int] = []

    def _prepare(self, question: Question, edge: int | None) -> Prepared:
        self.begun.append(question.question_id)
        return Prepared(
            prompt=question.text,
            ids=(),
            image=str(question.image),
            size=(1, 1),
            head=0,
            split=0,
            prefix=None,
            inputs={"pixel_values": np.zeros(SIZE, np.uint8)},
            tiles=1,
            seconds=0.0,
        )


@pytest.fixture
def ahead() -> Iterator[Counting]:
    made = Counting(4 * SIZE)
    yield made
    made.close()


def ask(number: int) -> Question:
    return Question(question_id=number, image=Path(f"{number}.png"), text="Who?")


def test_no_more_pictures_wait_than_fit(ahead: Counting) -> None:
    questions = [ask(number) for number in range(20)]
    ahead.ready(questions[:1], None)  # now it knows what a picture takes
    ahead.offer(questions[1:], None)
    ahead.ready(questions[1:4], None)
    assert sorted(ahead.begun, key=int) == [0, 1, 2, 3]
    ahead.forget(questions[:4])
    ahead.offer(questions[4:], None)
    ahead.ready(questions[4:8], None)
    assert sorted(ahead.begun, key=int) == list(range(8))


def test_a_picture_is_made_ready_once_for_all_its_questions(ahead: Counting) -> None:
    same = [Question(question_id=n, image=Path("one.png"), text="Who?") for n in range(3)]
    ahead.offer(same, None)
    ahead.ready(same[:1], None)
    assert ahead.begun == [0]
