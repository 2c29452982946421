"""The questions of one adapter: handed out by image, and taken back when a place is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from attrs import define

from vqa_engine.adapter import Question
from vqa_engine.crew.rows import MAX_DEATHS

Pair = tuple[int, Question]
"""A question's place in the caller's order, and the question."""

LARGEST = 64
"""Questions about one image that go to one place together. A set about a single image would
otherwise keep a single place busy; encoding it once more per place costs less."""


@define(eq=False)
class Bundle:
    """Whole image groups for one place; `left` are those without a reply, by their identity.

    A `suspect` is a single question that was being asked when a place was lost. It goes alone,
    so that the next loss says whether it was the cause.
    """

    left: dict[int, Pair]
    suspect: bool = False

    @classmethod
    def of(cls, pairs: Iterable[Pair], *, suspect: bool = False) -> Bundle:
        """A bundle of these."""
        return cls({id(pair[1]): pair for pair in pairs}, suspect)

    @property
    def questions(self) -> list[Question]:
        """What is to be asked, in order."""
        return [question for _, question in self.left.values()]


class Work:
    """Hands out each question until one reply has come; only one thread uses it.

    `groups` are the questions about one image each. `dropped` counts replies that came when
    the question had one already.
    """

    def __init__(self, groups: Iterable[Sequence[Pair]]) -> None:
        self._groups = _pieces(groups)
        self._next: Sequence[Pair] | None = next(self._groups, None)
        self._back: deque[Bundle] = deque()
        self._suspects: deque[Bundle] = deque()
        self._held: dict[int, Bundle] = {}
        self._deaths: dict[int, int] = {}
        self.dropped = 0

    @property
    def waiting(self) -> bool:
        """Whether something is to be handed out."""
        return bool(self._back or self._suspects or self._next)

    @property
    def done(self) -> bool:
        """Whether every question has its reply."""
        return not self.waiting and not self._held

    def take(self, size: int, *, idle: bool) -> Bundle | None:
        """Whole groups with at least `size` questions, as far as there are so many.

        A suspect goes only to a place that is `idle`.
        """
        if self._suspects and idle:
            bundle = self._suspects.popleft()
        elif self._back:
            bundle = self._back.popleft()
        elif self._next:
            bundle = Bundle.of(self._gathered(size))
        else:
            return None
        self._held.update(dict.fromkeys(bundle.left, bundle))
        return bundle

    def settle(self, question: Question) -> int | None:
        """The place of a question whose reply came, None if it had one: then it is counted."""
        bundle = self._held.pop(id(question), None)
        if bundle is None:
            self.dropped += 1
            return None
        position, _ = bundle.left.pop(id(question))
        self._deaths.pop(position, None)
        return position

    def give_back(self, bundles: Sequence[Bundle], *, asked: bool) -> list[Pair]:
        """Take back what a lost place had; those that are given up for it.

        `asked` says that the first bundle was being asked when the place was lost.
        """
        given_up: list[Pair] = []
        for number, bundle in enumerate(bundles):
            for key in bundle.left:
                self._held.pop(key)
            if not asked or number or not bundle.left:
                self._back.extend([Bundle(dict(bundle.left))] if bundle.left else ())
            elif bundle.suspect and self._is_fatal(bundle):
                given_up.extend(bundle.left.values())
            else:
                alone = (Bundle.of([pair], suspect=True) for pair in bundle.left.values())
                self._suspects.extend(alone)
        return given_up

    def abandon(self) -> None:
        """Forget all that has no reply yet."""
        self._groups, self._next = iter(()), None
        self._back.clear()
        self._suspects.clear()
        self._held.clear()

    def _is_fatal(self, bundle: Bundle) -> bool:
        [(position, _)] = bundle.left.values()
        self._deaths[position] = self._deaths.get(position, 0) + 1
        return self._deaths[position] >= MAX_DEATHS

    def _gathered(self, size: int) -> Iterator[Pair]:
        count = 0
        while self._next and count < size:
            yield from self._next
            count += len(self._next)
            self._next = next(self._groups, None)


def _pieces(groups: Iterable[Sequence[Pair]]) -> Iterator[Sequence[Pair]]:
    for group in groups:
        for start in range(0, len(group), LARGEST):
            yield group[start : start + LARGEST]
