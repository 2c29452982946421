"""Standard tests of batches, for adapters that answer several questions together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vqa_engine.adapter import Answer, BatchAdapter, ImageSource, Question
from vqa_engine.errors import VqaEngineError
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, ours, shown

Outcome = Answer | VqaEngineError


class BatchTests:
    """What several questions together may not change."""

    bench: Bench

    def test_a_batch_answers_as_one_by_one(self) -> None:
        """Each outcome stands at its question's place, and is the answer it gets alone."""
        asked = self._offered([pictures.picture()] * 4)
        self.bench.need_independence()
        together = [_told(one) for one in self._outcomes(asked)]
        self.bench.fresh()
        alone = [_told(self.bench.attempt(question)) for question in asked]
        assert together == alone, "answer_batch() gives what answer() gives, in the same order."

    def test_a_fault_in_a_batch_costs_one_question(self) -> None:
        """One broken image is one error among the outcomes; the others are answered."""
        images: list[ImageSource] = [pictures.picture() for _ in range(4)]
        images[1] = b""
        asked = self._offered(images)
        kinds = [_kind(one) for one in self._outcomes(asked)]
        wanted = ["answer" if question.image else "error" for question in asked]
        assert kinds == wanted, "Return the error of one question at its place; raise none."

    def _offered(self, images: Sequence[ImageSource]) -> list[Question]:
        """As many of the questions as the adapter takes together."""
        adapter = self.bench.loaded()
        if not isinstance(adapter, BatchAdapter):
            pytest.skip("the adapter answers one question at a time (no BatchAdapter)")
        texts = [self.bench.capabilities.question, pictures.SECOND]
        upcoming = [pictures.question(one, texts[n % 2]) for n, one in enumerate(images)]
        size = adapter.batch_size(upcoming, self.bench.capabilities.plan)
        assert 1 <= size <= len(upcoming), "batch_size() is at least 1, and at most all of them."
        if size == 1:
            pytest.skip("batch_size() takes only one of the questions")
        return upcoming[:size]

    def _outcomes(self, asked: Sequence[Question]) -> Sequence[Outcome]:
        adapter = self.bench.loaded()
        assert isinstance(adapter, BatchAdapter)
        try:
            outcomes = adapter.answer_batch(asked, self.bench.capabilities.plan, None)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            self.bench.let_go()
            pytest.fail(
                f"answer_batch() raised {shown(error)}. Raise only what concerns all of them.",
                pytrace=False,
            )
        assert len(outcomes) == len(asked), "answer_batch() gives one outcome for each question."
        return outcomes


def _told(outcome: object) -> str:
    if isinstance(outcome, Answer):
        return outcome.text
    return shown(outcome) if isinstance(outcome, Exception) else repr(outcome)


def _kind(outcome: object) -> str:
    if isinstance(outcome, Answer):
        return "answer"
    return "error" if ours(outcome) else repr(outcome)
