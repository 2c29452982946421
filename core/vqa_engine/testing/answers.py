"""Standard tests of answers: the same question gives the same answer, whatever came before."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from attrs import evolve

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.images import content_hash
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, Said, ours, shown

WORD = "very "

Asked = tuple[str, str]
"""A colour and a text."""


class AnswerTests:
    """Answers, their independence of each other, and questions at the edges."""

    bench: Bench

    def test_answers_a_plain_question(self) -> None:
        """The model loads, and a plain question gets an `Answer` with a text."""
        self.bench.fresh()
        answer = self.bench.ask(self._plain())
        assert isinstance(answer, Answer), "answer() returns a vqa_engine.Answer."
        assert isinstance(answer.text, str), "Answer.text is a str."

    def test_plan_is_obeyed(self) -> None:
        """One token is asked for, and no more come; the answer carries the plan it used."""
        plan = evolve(self.bench.capabilities.plan, max_tokens=1)
        answer = self.bench.ask(self._plain(), plan)
        assert isinstance(answer.plan, GenerationPlan), "Answer.plan is the plan that was used."
        assert len(answer.token_ids) <= 1, "Generate at most plan.max_tokens tokens."
        assert answer.plan.max_tokens == 1, "Answer.plan is the plan that was passed in."

    def test_determinism(self) -> None:
        """A greedy plan gives one answer to one question, however often it is put."""
        self.bench.fresh()
        _, second, third = (self._colour("red") for _ in range(3))
        assert second == third, "At temperature 0 decode greedily, and keep no counters."

    def test_order_independence(self) -> None:
        """Shuffled questions get the same answers."""
        self.bench.need_determinism()
        asked = [(c, t) for c in pictures.COLOURS[:3] for t in (self._text, pictures.SECOND)]
        shuffled = random.Random(6).sample(asked, len(asked))
        first, second = self._answers(asked), self._answers(shuffled)
        changed = {one: (first[one], second[one]) for one in asked if first[one] != second[one]}
        assert changed == {}, (
            "An answer depends on the question before it: (in order, shuffled). Start each "
            "question with fresh state, or key the state by vqa_engine.images.content_hash."
        )

    def test_looks_at_the_image(self) -> None:
        """Different pictures get different answers."""
        if not self.bench.capabilities.sees_images:
            pytest.skip("Capabilities(sees_images=False)")
        different = any(
            self.bench.alone(name) != self.bench.alone("red") for name in ("blue", "busy", "black")
        )
        assert different, (
            f"All pictures get {self.bench.alone('red')} for {self._text!r}. Pass the image to "
            "the model, or give a telling Capabilities.question, or declare sees_images=False."
        )

    def test_no_wrong_image_reuse(self) -> None:
        """One text about two images is two questions: nothing of the first is reused."""
        self.bench.need_independence()
        alone, after = self.bench.reuse()
        assert after == alone, (
            "After the same text about a red picture, the answer about a blue one changes. "
            "Key what is reused by vqa_engine.images.content_hash, never by tokens or text."
        )

    def test_same_path_with_another_image(self, tmp_path: Path) -> None:
        """A file that changed is another image."""
        self.bench.need_no_reuse()
        file = tmp_path / "picture.png"
        self.bench.fresh()
        self._written(file, "red")
        assert self._written(file, "blue") == self.bench.alone("blue"), (
            "The file was overwritten, and the old image answered. Key what is reused by "
            "vqa_engine.images.content_hash, never by the path."
        )

    def test_callers_image_is_left_alone(self) -> None:
        """The caller's picture is read, never changed."""
        image = pictures.busy()
        before = (image.size, content_hash(image))
        self.bench.say(image, self._text)
        after = (image.size, content_hash(image))
        assert after == before, "Work on a copy: open_image(question) makes one."

    def test_empty_question(self) -> None:
        """No text is answered, or refused by a typed error."""
        results = {repr(text): self._result(text) for text in ("", "   ")}
        assert _unexpected(results) == {}, "Answer it, or raise a vqa_engine error."

    def test_very_long_question(self) -> None:
        """A long text is answered, or refused by a typed error."""
        words = self.bench.capabilities.long_words
        results = {f"{words} words": self._result(f"Is it {WORD * words}red?")}
        assert _unexpected(results) == {}, "Answer it, or raise a vqa_engine error."

    def test_non_latin_text(self) -> None:
        """Every script is answered, and every answer can be written down."""
        results = {text: self._result(text) for text in pictures.NON_LATIN}
        unwritable = {
            text: result.text
            for text, result in results.items()
            if isinstance(result, Answer) and any(map(_is_surrogate, result.text))
        }
        assert _unexpected(results) == {}, "Treat text as Unicode, whatever the script."
        assert unwritable == {}, "Answer.text must be encodable as UTF-8."

    def test_choices(self) -> None:
        """A question with choices is answered."""
        asked = pictures.question(pictures.picture(), self._text, choices=("red", "blue"))
        results = {"with choices": self.bench.attempt(asked)}
        assert _unexpected(results) == {}, "Question.choices may be empty or not: answer both."

    @property
    def _text(self) -> str:
        return self.bench.capabilities.question

    def _plain(self) -> Question:
        return pictures.question(pictures.picture(), self._text)

    def _colour(self, name: str, text: str | None = None) -> Said:
        return self.bench.say(pictures.named(name), text or self._text)

    def _answers(self, asked: list[Asked]) -> dict[Asked, Said]:
        return {(name, text): self._colour(name, text) for name, text in asked}

    def _written(self, file: Path, colour: str) -> Said:
        pictures.picture(colour).save(file)
        return self.bench.say(file, self._text)

    def _result(self, text: str) -> Answer | Exception:
        return self.bench.attempt(pictures.question(pictures.picture(), text))


def _unexpected(results: dict[str, Answer | Exception]) -> dict[str, str]:
    """What is neither an answer nor an error raised on purpose."""
    return {
        name: shown(result) if isinstance(result, Exception) else repr(result)
        for name, result in results.items()
        if not (ours(result) or (isinstance(result, Answer) and isinstance(result.text, str)))
    }


def _is_surrogate(letter: str) -> bool:
    """Half a character, which no encoding can write."""
    return "\ud800" <= letter <= "\udfff"
