"""Standard tests of batches, for adapters that answer several questions together.

They ask as the engine does: `batch_size` of the questions that come next, then
`answer_batch` of as many, with the question that follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from vqa_engine.adapter import Answer, BatchAdapter, ImageSource, Question
from vqa_engine.errors import VqaEngineError
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, ours, shown

Outcome = Answer | VqaEngineError


class BatchTests:
    """What several questions together may not change."""

    bench: Bench

    def test_one_question_is_a_batch_of_one(self) -> None:
        """`answer_batch` with a single question gives what `answer` gives."""
        self._adapter()
        self.bench.need_determinism()
        (asked,) = self._questions([pictures.picture()])
        alone = _text(self.bench.attempt(asked))
        direct = self.bench.loaded().answer(asked, self.bench.capabilities.plan)
        assert _text(direct) == alone, (
            "The engine asks a BatchAdapter through answer_batch() alone: let answer() call it."
        )

    def test_a_batch_answers_as_one_by_one(self) -> None:
        """Each outcome is at its question's place, and is the answer it gets alone."""
        self._adapter()
        self.bench.need_independence()
        asked = self._questions([pictures.picture()] * 4 + [pictures.picture("blue")] * 2)
        together = [_text(one) for group in self._groups(asked) for one in group]
        self.bench.fresh()
        alone = [_text(self.bench.attempt(question)) for question in asked]
        assert together == alone, "answer_batch() answers each question as if it were alone."

    def test_a_fault_in_a_batch_costs_one_question(self) -> None:
        """One broken image is one error among the outcomes; the others are answered."""
        images: list[ImageSource] = [pictures.picture() for _ in range(4)]
        images[1] = b""
        asked = self._questions(images)
        size = self._size(self._adapter(), asked)
        if size == 1:
            pytest.skip("batch_size() is 1 for these questions")
        kinds = [_kind(one) for one in self._outcomes(asked[:size], None)]
        wanted = ["answer" if question.image else "error" for question in asked[:size]]
        assert kinds == wanted, "Return the error of one question at its place; raise none."

    def test_what_follows_harms_nothing(self, tmp_path: Path) -> None:
        """A broken image of the question that follows is reported when that is asked."""
        self._adapter()
        asked = self._questions([pictures.picture()])
        kinds = {}
        for name, make in pictures.broken_images(tmp_path).items():
            (following,) = self._questions([make()])
            (outcome,) = self._outcomes(asked, following)
            kinds[name] = _kind(outcome)
        assert kinds == dict.fromkeys(kinds, "answer"), (
            "following is a hint: keep what goes wrong with it until it is asked."
        )

    def _adapter(self) -> BatchAdapter:
        adapter = self.bench.loaded()
        if not isinstance(adapter, BatchAdapter):
            pytest.skip("the adapter answers one question at a time (no BatchAdapter)")
        return adapter

    def _questions(self, images: Sequence[ImageSource]) -> list[Question]:
        """One question about each image, two texts in turn."""
        texts = [self.bench.capabilities.question, pictures.SECOND]
        return [pictures.question(one, texts[n % 2]) for n, one in enumerate(images)]

    def _groups(self, asked: Sequence[Question]) -> Iterator[Sequence[Outcome]]:
        """The outcomes of all questions, as many at once as the adapter wants."""
        start = 0
        while start < len(asked):
            end = start + self._size(self._adapter(), asked[start:])
            yield self._outcomes(asked[start:end], asked[end] if end < len(asked) else None)
            start = end

    def _size(self, adapter: BatchAdapter, upcoming: Sequence[Question]) -> int:
        size = adapter.batch_size(upcoming, self.bench.capabilities.plan)
        assert 1 <= size <= len(upcoming), "batch_size() is at least 1, and at most all of them."
        return size

    def _outcomes(self, asked: Sequence[Question], following: Question | None) -> Sequence[Outcome]:
        try:
            outcomes = self._adapter().answer_batch(asked, self.bench.capabilities.plan, following)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            self.bench.let_go()
            pytest.fail(
                f"answer_batch() raised {shown(error)}. Raise only what concerns all of them.",
                pytrace=False,
            )
        assert len(outcomes) == len(asked), "answer_batch() gives one outcome for each question."
        return outcomes


def _text(outcome: object) -> str:
    if isinstance(outcome, Answer):
        return outcome.text
    return shown(outcome) if isinstance(outcome, Exception) else repr(outcome)


def _kind(outcome: object) -> str:
    if isinstance(outcome, Answer):
        return "answer"
    return "error" if ours(outcome) else repr(outcome)
