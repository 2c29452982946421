"""What memory did in a run, from its rows and events; prints nothing, opens nothing.

Both inputs are read once and lazily, so a run of any length is summed up in constant
memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from attrs import define, frozen

from vqa_engine.adapter.strategy import VERDICT
from vqa_engine.memory.budget import shown
from vqa_engine.results import MemoryEvent, MemoryPrediction, Row
from vqa_engine.runs.journal import TimedEvent


@define
class Action:
    """One kind of thing that was done: how often, bytes given back, seconds taken."""

    strategy: str
    call: str
    times: int = 0
    freed: int = 0
    seconds: float = 0.0

    def add(self, event: MemoryEvent) -> None:
        """Count one more."""
        self.times += 1
        self.freed += event.freed
        self.seconds += event.seconds


@define
class Accuracy:
    """Predicted against true, over the questions that have both.

    Errors are shares of the truth; `worst_under` is the largest by which a prediction
    was too low, and `past_bound` counts the truths above prediction plus margin.
    """

    count: int = 0
    total_error: float = 0.0
    worst_under: float = 0.0
    past_bound: int = 0

    @property
    def mean_error(self) -> float:
        """The mean of the absolute errors, 0 when there are none."""
        return self.total_error / self.count if self.count else 0.0

    def add(self, prediction: MemoryPrediction) -> None:
        """Count one more; one without a truth says nothing."""
        if not prediction.truth:
            return
        error = (prediction.expected - prediction.truth) / prediction.truth
        self.count += 1
        self.total_error += abs(error)
        self.worst_under = max(self.worst_under, -error)
        self.past_bound += prediction.truth > prediction.bound


@define
class Extremes:
    """Bytes over all questions: the highest peak, the lowest and highest floor, the largest
    pool, the largest footprint; None where nothing was read."""

    peak: int | None = None
    floor: int | None = None
    highest_floor: int | None = None
    pool: int | None = None
    footprint: int | None = None

    def add(self, row: Row) -> None:
        """Take in one row."""
        memory = row.answer.memory if row.answer else None
        if memory is None:
            return
        self.peak = _most(self.peak, memory.peak)
        self.highest_floor = _most(self.highest_floor, memory.active)
        self.pool = _most(self.pool, memory.cache)
        self.footprint = _most(self.footprint, memory.footprint)
        if memory.active is not None:
            self.floor = memory.active if self.floor is None else min(self.floor, memory.active)


@frozen(kw_only=True)
class Summary:
    """One adapter's run in figures. `degraded` counts answers from a cheaper plan."""

    questions: int
    degraded: int
    extremes: Extremes
    accuracy: Accuracy
    actions: tuple[Action, ...]
    verdicts: tuple[str, ...]


def summarise(rows: Iterable[Row], events: Iterable[TimedEvent]) -> Summary:
    """The summary of one adapter's rows and events."""
    extremes, accuracy, questions, degraded = Extremes(), Accuracy(), 0, 0
    for row in rows:
        questions, degraded = questions + 1, degraded + row.degraded
        extremes.add(row)
        if row.prediction is not None:
            accuracy.add(row.prediction)
    actions: dict[tuple[str, str], Action] = {}
    verdicts: list[str] = []
    for timed in events:
        event = timed.event
        if event.call == VERDICT:
            verdicts.append(event.detail)
            continue
        key = (event.strategy, _call(event))
        actions.setdefault(key, Action(*key)).add(event)
    return Summary(
        questions=questions,
        degraded=degraded,
        extremes=extremes,
        accuracy=accuracy,
        actions=tuple(actions.values()),
        verdicts=tuple(verdicts),
    )


def timeline(events: Iterable[TimedEvent]) -> Iterator[str]:
    """One line per event: time, question, strategy, call, bytes freed, milliseconds."""
    for timed in events:
        moment = datetime.fromtimestamp(timed.time).strftime("%H:%M:%S")
        yield f"{moment}  {line(timed.event)}"


def line(event: MemoryEvent) -> str:
    """One event for people; `--verbose` and the timeline say it alike."""
    where = "" if event.question_id is None else f" question {event.question_id}"
    freed = f", {shown(event.freed)} freed" if event.freed else ""
    took = f", {event.seconds * 1000:.1f} ms" if event.seconds else ""
    detail = f": {event.detail}" if event.detail else ""
    return f"{event.strategy}{where}: {event.call}{freed}{took}{detail}"


def summary_lines(summary: Summary) -> Iterator[str]:
    """The summary for people."""
    extremes, accuracy = summary.extremes, summary.accuracy
    yield f"questions   {summary.questions}, {summary.degraded} answered by a cheaper plan"
    yield f"peak        {shown(extremes.peak)}"
    yield f"floor       {shown(extremes.floor)} to {shown(extremes.highest_floor)}"
    yield f"pool        at most {shown(extremes.pool)}"
    yield f"process     at most {shown(extremes.footprint)} (sampled)"
    if accuracy.count:
        yield (
            f"prediction  {accuracy.mean_error:.1%} off on average over {accuracy.count}, "
            f"worst too low {accuracy.worst_under:.1%}, {accuracy.past_bound} past the margin"
        )
    for one in summary.actions:
        took = f"{one.seconds * 1000:.1f} ms"
        yield f"action      {one.strategy}: {one.call} ×{one.times}, {shown(one.freed)}, {took}"
    for verdict in summary.verdicts or ("unknown: the model was not released in this run",):
        yield f"verdict     {verdict}"


def _call(event: MemoryEvent) -> str:
    """The call without its arguments, so that one kind of action is one line."""
    return event.call.partition("(")[0]


def _most(known: int | None, new: int | None) -> int | None:
    return known if new is None else new if known is None else max(known, new)
