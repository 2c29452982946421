"""Real adapter classes that answer at once: fakes to run the engine with."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import ClassVar

from vqa_engine.adapter import (
    Answer,
    ChoiceScores,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
)
from vqa_engine.errors import CheckpointError, VqaEngineError
from vqa_engine.images import open_image


class Instant:
    """Answers "yes" to everything."""

    def load(self, model: ModelRef) -> None:
        """Nothing to load."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text="yes", plan=plan)

    def release(self) -> None:
        """Nothing to release."""

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile()


class Oracle(Instant):
    """Says yes, which is the ground truth of `tests.builders.a_question`."""


class Scoring(Instant):
    """Finds an option the likelier, the later its first letter comes in the alphabet."""

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        return ChoiceScores(loglikelihoods=tuple(float(ord(one[0]) - 100) for one in options))


class Confident(Scoring):
    """Says "yes" with a log-probability of -0.5, where that is asked for."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer("yes", logprob=-0.5 if plan.logprobs else None)


class Looking(Instant):
    """Opens the image, and says how large it is."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        width, height = open_image(question).size
        return Answer(text=f"{width}x{height}", plan=plan)


class Raising(Instant):
    """Fails on every odd question id."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if int(question.question_id) % 2:
            raise ValueError("odd questions are beyond me")
        return super().answer(question, plan)


class Interrupting(Instant):
    """Is interrupted by the user, once, at question 3."""

    interrupted = False

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if question.question_id == 3 and not Interrupting.interrupted:
            Interrupting.interrupted = True
            raise KeyboardInterrupt
        return super().answer(question, plan)


class Deadly(Instant):
    """Dies of a text."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if question.text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(question, plan)


class DeadlyTogether(Deadly):
    """The same, four at a time."""

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return min(4, len(upcoming))

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        return [self.answer(question, plan) for question in questions]


class Unreachable(Instant):
    """Its checkpoint is nowhere."""

    def load(self, model: ModelRef) -> None:
        raise CheckpointError("nowhere/model", ["cache", "hub"], "no network", "Give a folder")


class Confused(Instant):
    """Answers with a plain string."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return "yes"  # type: ignore[return-value]  # that is the fault


class Recording(Instant):
    """Keeps a list of what happened to its objects, in order."""

    log: ClassVar[list[str]]

    def load(self, model: ModelRef) -> None:
        self.log.append(f"load {type(self).__name__}")

    def release(self) -> None:
        self.log.append(f"release {type(self).__name__}")


class First(Recording):
    """One of two that share a log."""

    log: ClassVar[list[str]] = []


class Second(Recording):
    """The other."""

    log = First.log
