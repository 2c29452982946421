"""How speed and memory went over a run: a few hundred points, whatever its length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from attrs import define, field, frozen

from vqa_engine.adapter.strategy import VERDICT
from vqa_engine.reporting.corpus import Contender, Corpus
from vqa_engine.results import BUDGET
from vqa_engine.runs import stored
from vqa_engine.runs.journal import TimedEvent
from vqa_engine.runs.timeline import Summary, summarise

POINTS = 160
"""Points of a course: as many as a drawing of this width can show."""

_RESTART = "fresh worker"
"""The strategy whose event is that a worker was started again (`vqa_engine.session.host`)."""

_HELD = re.compile(rf"{BUDGET}\((\d{{1,18}})\)")


@define
class Point:
    """The questions `first` to `last`, both counted: their highest and lowest figures.

    Bytes and seconds; None where nothing was read.
    """

    first: int
    last: int
    count: int = 0
    seconds: float = 0.0
    peak: float | None = None
    floor: float | None = None
    predicted: float | None = None
    failed: int = 0

    @property
    def pace(self) -> float | None:
        """Questions a second."""
        return self.count / self.seconds if self.seconds else None


@frozen(kw_only=True)
class Course:
    """One contender's course over the questions in the set's order.

    `cleanups` and `restarts` count by point. `uses_footprint` says that the backend counts
    no arrays, so that memory is the whole process's.
    """

    points: tuple[Point, ...]
    cleanups: Mapping[int, int]
    restarts: Mapping[int, int]
    budget: int | None
    uses_footprint: bool
    summary: Summary


@define
class _Marks:
    """What the events say, counted while they pass by."""

    width: int
    places: Mapping[stored.Key, int]
    cleanups: Counter[int] = field(factory=Counter)
    restarts: Counter[int] = field(factory=Counter)
    budget: int | None = None

    def seen(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        """The same events, each counted."""
        for timed in events:
            event = timed.event
            if found := _HELD.fullmatch(event.call):
                self.budget = int(found[1])
            place = self.places.get(stored.key(event.question_id))
            if place is not None and event.strategy == _RESTART:
                self.restarts[place // self.width] += 1
            elif place is not None and event.call != VERDICT:
                self.cleanups[place // self.width] += 1
            yield timed


def course(contender: Contender, corpus: Corpus) -> Course:
    """The course of one contender.

    Raises:
        JournalError: its events cannot be read.
    """
    width = max(1, -(-len(corpus) // POINTS))
    marks = _Marks(width, corpus.places)
    events = contender.run.journal.events(contender.adapter)
    summary = summarise((), marks.seen(events))
    whole = not any(contender.columns["peak"].values) and any(contender.columns["footprint"].values)
    return Course(
        points=tuple(_points(contender, len(corpus), width, whole)),
        cleanups=marks.cleanups,
        restarts=marks.restarts,
        budget=marks.budget,
        uses_footprint=whole,
        summary=summary,
    )


def _points(contender: Contender, total: int, width: int, whole: bool) -> Iterator[Point]:
    names = ("seconds", *(("footprint",) * 2 if whole else ("peak", "active")), "bound", "cause")
    rows = zip(*(contender.columns[name] for name in names), strict=True)
    for first in range(0, total, width):
        point = Point(first, min(first + width, total) - 1)
        for _, (took, peak, floor, bound, cause) in zip(range(width), rows, strict=False):
            if took is None:
                continue
            point.count += 1
            point.seconds += took / 1000
            point.failed += cause is not None
            point.peak = _most(point.peak, peak)
            point.floor = floor if point.floor is None else min(point.floor, floor or point.floor)
            if bound is not None:
                point.predicted = _most(point.predicted, (floor or 0) + bound)
        yield point


def _most(known: float | None, new: float | None) -> float | None:
    return known if new is None else new if known is None else max(known, new)
