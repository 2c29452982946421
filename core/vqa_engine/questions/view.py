"""A base for sets that show another set's questions in another form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve, frozen

from vqa_engine.adapter import Question
from vqa_engine.questions.ordering import image_keys
from vqa_engine.questions.question_set import KnowsGroups, QuestionSet, most_images
from vqa_engine.questions.selection import earlier


@frozen(eq=False)
class View:
    """The same questions in the same order; a subclass changes each as it is made."""

    _of: QuestionSet

    @property
    def name(self) -> str:
        """The name of the set behind it."""
        return self._of.name

    @property
    def max_images(self) -> int:
        """As the set behind it."""
        return most_images(self._of)

    @property
    def names_files(self) -> bool:
        """As the set behind it."""
        return bool(getattr(self._of, "names_files", False))

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(len(self)))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given."""
        return map(self._shown, self._of.at(places))

    def image_keys(self) -> Sequence[int]:
        """As the set behind it."""
        return image_keys(self._of)

    def group_keys(self) -> Sequence[int] | None:
        """As the set behind it."""
        return self._of.group_keys() if isinstance(self._of, KnowsGroups) else None

    def digest(self) -> str:
        """SHA-256 (hex) over the set behind it and what the view makes of it."""
        raise NotImplementedError

    def earlier(self, count: int) -> Iterator[QuestionSet]:
        """The same form of what the set behind it may have been."""
        return (evolve(self, of=one) for one in earlier(self._of, count))

    def _shown(self, question: Question) -> Question:
        raise NotImplementedError
