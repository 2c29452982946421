"""Adapters to serve: real classes that answer at once, slowly, or not at all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fakes import Instant
from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    TokenCounts,
)
from vqa_engine.errors import CheckpointError, VqaEngineError
from vqa_engine.images import open_image

GIB = 1 << 30


class Echo(Instant):
    """Says what it was asked, the size of the picture, and how often it has answered."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        width, height = open_image(question).size
        tokens = TokenCounts(prompt=10, completion=3, reused=4)
        return Answer(text=f"{question.text}|{width}x{height}", plan=plan, tokens=tokens)


class Comparing(Echo):
    """Handles two pictures."""

    images_per_question = 2

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        sizes = [open_image(question, place).size for place in range(len(question.all_images))]
        return Answer(text=f"{question.text} {sizes}", plan=plan)


class Grouping(Echo):
    """Answers all that is offered together, and says how much that was; `delay` is seconds."""

    delay = 0.0

    def load(self, model: ModelRef) -> None:
        self.delay = float(model.options.get("delay", 0))

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return len(upcoming)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        time.sleep(self.delay)
        return [Answer(text=str(len(questions)), plan=plan) for _ in questions]


class Mortal(Echo):
    """Dies of a question that names a file which is not there yet, and makes the file."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        flag = Path(question.text.partition("die ")[2] or "/")
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(question, plan)


class Waiting(Echo):
    """Answers a question once the file that it names is there."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        name = question.text.partition("wait ")[2]
        if name:
            Path(name + ".seen").touch()
        while name and not Path(name).exists():
            time.sleep(0.005)
        return super().answer(question, plan)


class Broken(Echo):
    """Fails on every question with an exception of its own."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        raise ValueError("no")


class Unreachable(Echo):
    """Has no checkpoint."""

    def load(self, model: ModelRef) -> None:
        raise CheckpointError("nowhere", ["cache"], "no network", "Give a folder")


class Alone(Echo):
    """Needs a gibibyte, and answers "crowded" if another one was loaded beside it.

    The option `folder` is where the loaded ones leave a file each.
    """

    def __init__(self) -> None:
        self._mark: Path | None = None
        self._crowded = False

    def load(self, model: ModelRef) -> None:
        self._mark = Path(model.options["folder"]) / str(os.getpid())
        self._mark.touch()
        self._crowded = any(map(_alive, self._mark.parent.iterdir()))

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text="crowded" if self._crowded else "alone", plan=plan)

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(weights=GIB)


class Cow(Alone):
    """Another of this kind."""


def _alive(mark: Path) -> bool:
    """Whether another process than this one is still there."""
    pid = int(mark.name)
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def target(adapter: type[Any]) -> str:
    """What a spec calls it."""
    return f"{adapter.__module__}:{adapter.__qualname__}"
