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
        self._ahead: deque[Sequence[Pair]] = deque()
        self._look(1)
        self._back: deque[Bundle] = deque()
        self._suspects: deque[Bundle] = deque()
        self._held: dict[int, Bundle] = {}
        self._deaths: dict[int, int] = {}
        self.dropped = 0

    @property
    def waiting(self) -> bool:
        """Whether something is to be handed out."""
        return bool(self._back or self._suspects or self._ahead)

    @property
    def done(self) -> bool:
        """Whether every question has its reply."""
        return not self.waiting and not self._held

    def take(self, size: int, *, idle: bool, places: int = 1) -> Bundle | None:
        """Whole groups with at least `size` questions, as far as there are so many.

        A suspect goes only to a place that is `idle`. When little is left for all `places`,
        it goes in smaller and smaller parts and to idle places only, so that they end together.
        """
        if self._suspects and idle:
            bundle = self._suspects.popleft()
        elif self._back:
            bundle = self._back.popleft()
        elif share := self._share(size, idle=idle, places=places):
            bundle = Bundle.of(self._gathered(share))
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
        self._groups = iter(())
        self._ahead.clear()
        self._back.clear()
        self._suspects.clear()
        self._held.clear()

    def _is_fatal(self, bundle: Bundle) -> bool:
        [(position, _)] = bundle.left.values()
        self._deaths[position] = self._deaths.get(position, 0) + 1
        return self._deaths[position] >= MAX_DEATHS

    def _share(self, size: int, *, idle: bool, places: int) -> int:
        """How many questions a place gets of those that nobody has had; 0 for none.

        Half of its even share of what is left, once that is less than `size` or a group
        (Polychronopoulos and Kuck, Guided Self-Scheduling, IEEE Transactions on Computers
        C-36, 1987).
        """
        if not self._ahead:
            return 0
        many = 2 * places * max(size, len(self._ahead[0]))
        left = self._look(many)
        if places == 1 or left >= many:
            return min(size, left)
        return -(-left // (2 * places)) if idle else 0

    def _look(self, count: int) -> int:
        """How many questions are in the groups that come next, up to about `count`."""
        seen = sum(map(len, self._ahead))
        while seen < count and (group := next(self._groups, None)) is not None:
            self._ahead.append(group)
            seen += len(group)
        return seen

    def _gathered(self, size: int) -> Iterator[Pair]:
        count = 0
        while count < size:
            group = self._ahead.popleft()
            count += len(group)
            yield from group
            self._look(1)


def _pieces(groups: Iterable[Sequence[Pair]]) -> Iterator[Sequence[Pair]]:
    for group in groups:
        for start in range(0, len(group), LARGEST):
            yield group[start : start + LARGEST]
