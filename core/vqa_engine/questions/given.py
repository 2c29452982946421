"""Questions that a program hands over as objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vqa_engine.adapter import Question, QuestionId
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.question_set import QuestionSet, digest_of


class GivenQuestions:
    """A question set over `Question` objects, which stay in memory with their images.

    `name` is what messages and reports call it, such as a file's name.

    Raises:
        QuestionSetError: two questions have one id.
    """

    name = "given"

    def __init__(self, questions: Iterable[Question], name: str | None = None) -> None:
        if name is not None:
            self.name = name
        self._questions = tuple(questions)
        seen: set[QuestionId] = set()
        for question in self._questions:
            if question.question_id in seen:
                raise QuestionSetError(
                    "two questions have this id", question_id=question.question_id
                )
            seen.add(question.question_id)

    @property
    def max_images(self) -> int:
        """The most images of one question."""
        return max((len(one.all_images) for one in self._questions), default=1)

    def __len__(self) -> int:
        return len(self._questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self._questions)

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        return map(self._questions.__getitem__, places)

    def digest(self) -> str:
        return digest_of(self._questions)


def as_question_set(questions: QuestionSet | Iterable[Question]) -> QuestionSet:
    """A set as it is; anything else that gives questions, as a set."""
    return questions if isinstance(questions, QuestionSet) else GivenQuestions(questions)
