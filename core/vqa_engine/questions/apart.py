"""Question sets of other packages, each read in a process of its own.

`Reader` is made there, and `ApartSet` is what the engine has in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from time import monotonic

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, PluginError, QuestionSetError
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.questions import set_here
from vqa_engine.questions.ordering import image_keys, numbered
from vqa_engine.questions.posed import Posed, size, to_ask
from vqa_engine.questions.question_set import (
    Downloaded,
    KnowsGroups,
    QuestionSet,
    Scored,
    Worded,
    most_images,
    worded,
)
from vqa_engine.questions.source import Source
from vqa_engine.worker.plugin import PluginProcess

_AT_ONCE, _BYTES, _SHARE = 64, 8 << 20, 0.5
"""Questions, bytes of pictures, and seconds after which a reader gives back what it has."""

_MOST = 100_000_000
"""Questions of a set; whoever says that there are more is wrong."""


@frozen(kw_only=True)
class Facts:
    """What a set says of itself; None where it has no such attribute."""

    name: str
    length: int
    images: int
    files: bool
    metrics: tuple[str, ...] | None
    worded: bool
    downloaded: bool
    commit: str | None


class Reader:
    """A format's servant. It holds a set, each form of it that was worded, and what iterates."""

    def __init__(self, name: str) -> None:
        self._name, self._sets = name, list[QuestionSet]()
        self._going: dict[int, Iterator[Question]] = {}
        self._numbers = count()

    def load(self, source: Source) -> None:
        """Make the set; it has the number 0."""
        self._sets.append(set_here(self._name, source))

    def worded_for(self, number: int, family: str) -> int:
        """The number of a set as `Worded.worded_for` gives it."""
        self._sets.append(worded(self._sets[number], family))
        return len(self._sets) - 1

    def facts(self, number: int) -> Facts:
        """What a set says of itself."""
        one = self._sets[number]
        return Facts(
            name=one.name,
            length=len(one),
            images=most_images(one),
            files=bool(getattr(one, "names_files", False)),
            metrics=tuple(one.metrics) if isinstance(one, Scored) else None,
            worded=isinstance(one, Worded),
            downloaded=isinstance(one, Downloaded),
            commit=one.data_commit if isinstance(one, Downloaded) else None,
        )

    def digest(self, number: int) -> str:
        """As `QuestionSet.digest`."""
        return self._sets[number].digest()

    def image_keys(self, number: int) -> tuple[int, ...]:
        """As `KnowsImages.image_keys`, of any set."""
        return tuple(image_keys(self._sets[number]))

    def group_keys(self, number: int) -> tuple[int, ...] | None:
        """As `KnowsGroups.group_keys`; None of a set that does not know."""
        one = self._sets[number]
        keys = one.group_keys() if isinstance(one, KnowsGroups) else None
        return None if keys is None else tuple(keys)

    def start(self, number: int, places: tuple[int, ...] | None, over: tuple[int, ...]) -> int:
        """Begin to iterate, over all or over some places; the number that `more` wants.

        `over` are the numbers of what is iterated no further.
        """
        for ended in over:
            self._going.pop(ended, None)
        one, key = self._sets[number], next(self._numbers)
        self._going[key] = iter(one) if places is None else iter(one.at(places))
        return key

    def more(self, key: int) -> tuple[Posed, ...]:
        """The next questions, none at the end."""
        until, room, found = monotonic() + _SHARE, _BYTES, list[Posed]()
        for question in self._going[key]:
            found.append(to_ask(question))
            room -= size(found[-1])
            if len(found) >= _AT_ONCE or room <= 0 or monotonic() >= until:
                break
        return tuple(found)


def opened(plugin: Plugin, source: Source) -> QuestionSet:
    """The set that another package makes of a source.

    Raises:
        ConfigurationError, QuestionSetError: as `vqa_engine.questions.load_questions`.
    """
    process = PluginProcess(Reader, plugin, plugin.name)
    try:
        process.call_whole(Reader.load, source)
        return _set(process, 0)
    except PluginError as error:
        raise ConfigurationError(process.failed(str(error))) from error


def _set(process: PluginProcess[Reader], number: int) -> ApartSet:
    facts = process.call_whole(Reader.facts, number)
    if facts.length > _MOST:
        raise PluginError(f"it says that it has {facts.length:,} questions")
    return (_WordedSet if facts.worded else ApartSet)(process, number, facts)


class ApartSet:
    """A question set whose code runs in another process.

    All that it is asked for raises `QuestionSetError` once that process is gone, or gives what
    does not fit.
    """

    def __init__(self, process: PluginProcess[Reader], number: int, facts: Facts) -> None:
        self._process, self._number, self._length = process, number, facts.length
        self._over = list[int]()
        self.name, self.max_images, self.names_files = facts.name, facts.images, facts.files
        if facts.metrics is not None:
            self.metrics = facts.metrics
        if facts.downloaded:
            self.data_commit = facts.commit

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Question]:
        return self._iterated(None, self._length)

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """As `QuestionSet.at`."""
        wanted = tuple(places)
        return self._iterated(wanted, len(wanted))

    def digest(self) -> str:
        """As `QuestionSet.digest`."""
        return self._digest

    def image_keys(self) -> Sequence[int]:
        """As `KnowsImages.image_keys`."""
        return self._image_keys

    def group_keys(self) -> Sequence[int] | None:
        """As `KnowsGroups.group_keys`."""
        return self._group_keys

    @cached_property
    def _digest(self) -> str:
        with self._blaming():
            return self._process.call_whole(Reader.digest, self._number)

    @cached_property
    def _image_keys(self) -> Sequence[int]:
        with self._blaming():
            return self._checked(self._process.call_whole(Reader.image_keys, self._number))

    @cached_property
    def _group_keys(self) -> Sequence[int] | None:
        with self._blaming():
            keys = self._process.call_whole(Reader.group_keys, self._number)
            return None if keys is None else self._checked(keys)

    def _checked(self, keys: Sequence[int]) -> Sequence[int]:
        if len(keys) != self._length:
            raise PluginError(f"it gave {len(keys)} keys for {self._length} questions")
        return numbered(keys)

    def _iterated(self, places: tuple[int, ...] | None, expected: int) -> Iterator[Question]:
        given, call = 0, self._process.call
        with self._blaming():
            over, self._over = tuple(self._over), []
            key = call(Reader.start, self._number, places, over)
            try:
                while some := call(Reader.more, key):
                    given += len(some)
                    if given > expected:
                        raise PluginError(f"it gave more than {expected} questions")
                    yield from (one.question() for one in some)
            finally:
                self._over.append(key)  # said later: this may run while another call waits
            if given < expected:
                raise PluginError(f"it gave {given} questions in place of {expected}")

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except PluginError as error:
            raise QuestionSetError(self._process.failed(str(error))) from error


class _WordedSet(ApartSet):
    """One whose wording depends on the model's family."""

    def worded_for(self, family: str) -> QuestionSet:
        """As `Worded.worded_for`."""
        with self._blaming():
            return _set(self._process, self._process.call(Reader.worded_for, self._number, family))
