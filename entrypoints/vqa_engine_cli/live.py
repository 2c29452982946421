"""What a run shows while it works: a progress bar, plain lines, or JSON lines."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from time import monotonic
from typing import Any

import msgspec
from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from vqa_engine.adapter import Transfer
from vqa_engine.console import PlainConsole
from vqa_engine.errors import VqaEngineError
from vqa_engine.memory.budget import shown
from vqa_engine.observer import Observer, Progress
from vqa_engine.results import Failure, Loaded, MemoryEvent, Note, Released, Row
from vqa_engine.runs.export import record
from vqa_engine.runs.timeline import line
from vqa_engine_cli.counting import counted
from vqa_engine_cli.downloads import Downloads
from vqa_engine_cli.excerpt import excerpt
from vqa_engine_cli.terminal import log_level, write

_PLAIN_INTERVAL = 10.0
"""Seconds between the lines of a run whose output is piped."""

_SNAPSHOT_INTERVAL = 0.2
"""Seconds between updates of the bar: a snapshot of the scores costs tens of microseconds."""

_MOST_FAILURES = 10
"""Failures of one run that are shown on the screen; a broken set would flood it."""

_MANY_ROWS = 20_000
"""Rows of an earlier process whose reading is announced: they take half a second."""

_WIDEST_BAR = 20
_WIDEST_LABEL = 28
"""Columns of the terminal."""


def observer(*, as_json: bool = False, verbose: bool = False, quiet: bool = False) -> Observer:
    """The observer that fits what stderr is: a terminal, a file or a pipe."""
    console = PlainConsole(stderr=True, soft_wrap=True)
    if as_json and verbose:
        return JsonLines()
    if as_json or quiet:
        return _details(console, verbose)
    if console.is_terminal and not console.is_dumb_terminal:
        return Live(console, verbose=verbose)
    return Plain(console, verbose=verbose)


def _details(console: Console, verbose: bool) -> Observer:
    return Verbose(console) if verbose else Warnings(console)


class JsonLines(Observer):
    """One JSON object on stdout for each thing that happens (docs/json.md)."""

    def __init__(self) -> None:
        self._shown = monotonic()

    def started(self, label: str, progress: Progress) -> None:
        print_json({"event": "started", **_counts(label, progress)})

    def loaded(self, label: str, loaded: Loaded) -> None:
        weights = loaded.profile.weights
        print_json(
            {"event": "loaded", "adapter": label, "seconds": loaded.seconds, "weights": weights}
        )

    def answered(self, row: Row, progress: Progress) -> None:
        print_json({"event": "answer", **record(row)})
        now = monotonic()
        if progress.done == progress.total or now - self._shown >= _PLAIN_INTERVAL:
            self._shown = now
            print_json({"event": "progress", **_counts(row.adapter, progress)})

    def released(self, label: str, released: Released) -> None:
        print_json(
            {"event": "released", "adapter": label, "seconds": released.seconds}
            | {"residue": released.residue}
        )

    def fetching(self, label: str, transfer: Transfer) -> None:
        event = {"event": "fetching", "adapter": label, **msgspec.to_builtins(transfer)}
        print_json(event)

    def memory(self, label: str, event: MemoryEvent) -> None:
        print_json({"event": "memory", "adapter": label, **msgspec.to_builtins(event)})

    def note(self, label: str, note: Note) -> None:
        print_json({"event": "note", "adapter": label, **msgspec.to_builtins(note)})

    def failed(self, label: str, error: VqaEngineError) -> None:
        print_json({"event": "failed", "adapter": label, "message": str(error)})


def _counts(label: str, progress: Progress) -> dict[str, Any]:
    percent = progress.board.overall.percent
    return {
        "adapter": label,
        "done": progress.done,
        "total": progress.total,
        "resumed": progress.resumed,
        "failed": progress.failed,
        "percent": None if math.isnan(percent) else percent,
    }


class Warnings(Observer):
    """A line on stderr for each warning that was logged, and the progress of a download."""

    def __init__(self, console: Console) -> None:
        self._console, self._log_level = console, log_level()
        self._downloads = Downloads(console)

    def fetching(self, label: str, transfer: Transfer) -> None:
        self._downloads.show(label, transfer)

    def failed(self, label: str, error: VqaEngineError) -> None:
        self._downloads.close()

    def note(self, label: str, note: Note) -> None:
        if note.level >= min(logging.WARNING, self._log_level):
            level = logging.getLevelName(note.level).lower()
            style = "yellow" if note.level >= logging.WARNING else ""
            self._print(f"{label}: {level}: {note.text}", style)

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(text, markup=False, style=style)


class Verbose(Warnings):
    """A line on stderr for each step, each answer, each memory action and each note."""

    def loading(self, label: str) -> None:
        self._print(f"{label}: loading")

    def loaded(self, label: str, loaded: Loaded) -> None:
        weights = loaded.profile.weights
        size = f", weights {shown(weights)}" if weights else ""
        self._print(f"{label}: loaded in {loaded.seconds:.1f} s{size}")

    def answered(self, row: Row, progress: Progress) -> None:
        self._print(_line(row))

    def memory(self, label: str, event: MemoryEvent) -> None:
        self._print(f"{label}: memory: {line(event)}")

    def released(self, label: str, released: Released) -> None:
        residue = "" if released.residue is None else f", {shown(released.residue)} not freed"
        verdict = f"; {released.verdict.text}" if released.verdict.text else ""
        self._print(f"{label}: released in {released.seconds:.1f} s{residue}{verdict}")

    def note(self, label: str, note: Note) -> None:
        if note.level >= logging.WARNING:
            super().note(label, note)
        else:
            self._print(f"{label}: {note.text}")


class _Counting(Observer):
    """Says when a run begins and when it cannot; subclasses show its progress."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._details = _details(console, verbose)
        self._began = self._shown = monotonic()
        self._peak = 0
        self._failures = 0
        self._frames: set[tuple[str, ...]] = set()

    def resuming(self, label: str, rows: int) -> None:
        if rows >= _MANY_ROWS:
            self._say(f"{label}: reading {rows:,} earlier answers")

    def started(self, label: str, progress: Progress) -> None:
        total = counted(progress.total, "question")
        if progress.resumed and progress.resumed == progress.total:
            self._say(f"{label}: {_nothing_to_ask(progress)}")
        elif progress.resumed:
            self._say(f"{label}: continuing after {progress.resumed:,} of {total}")

    def loading(self, label: str) -> None:
        self._say(f"{label}: loading the model")

    def fetching(self, label: str, transfer: Transfer) -> None:
        self._details.fetching(label, transfer)

    def loaded(self, label: str, loaded: Loaded) -> None:
        self._details.loaded(label, loaded)
        self._began = self._shown = monotonic()
        self._peak = 0

    def memory(self, label: str, event: MemoryEvent) -> None:
        self._details.memory(label, event)

    def note(self, label: str, note: Note) -> None:
        self._details.note(label, note)

    def released(self, label: str, released: Released) -> None:
        self._details.released(label, released)

    def failed(self, label: str, error: VqaEngineError) -> None:
        self._details.failed(label, error)
        self._say(f"{label}: {error}")
        self._say_tail(getattr(error, "detail", ""))

    def answered(self, row: Row, progress: Progress) -> None:
        self._details.answered(row, progress)
        if row.failure is not None:
            self._failures += 1
            self._tell(row, row.failure)

    def _tell(self, row: Row, failure: Failure) -> None:
        """Say why a question has no answer, and show the end of its worker's output."""
        if self._failures > _MOST_FAILURES:
            return
        number = row.question.question_id
        located = failure.message.startswith((f"question {number!r} (", f"question {number!r}: "))
        said = failure.message if located else f"question {number}: {failure.message}"
        self._say(f"{row.adapter}: {said}", "red")
        self._say_tail(failure.detail, once=True)
        if self._failures == _MOST_FAILURES:
            self._say("Further errors are only recorded in the run directory.")

    def _say_tail(self, detail: str, *, once: bool = False) -> None:
        """The end of a traceback; with `once` not again from the same lines of code."""
        lines = excerpt(detail)
        frames = tuple(line for line in lines if line.lstrip().startswith('File "'))
        if once and frames in self._frames:
            return
        if frames:
            self._frames.add(frames)
        for said in lines:
            self._say(f"    {said}")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, markup=False, style=style)

    def _parts(self, row: Row, progress: Progress, seconds: float) -> list[str]:
        """Count, rate, time left, accuracy and the rest, the most important first."""
        asked = progress.done - progress.resumed
        rate = asked / max(seconds, 1e-9)
        parts = [
            f"{progress.done:,}/{progress.total:,}",
            f"{rate:.1f}/s",
            f"{duration((progress.total - progress.done) / rate)} left" if asked else "",
            f"accuracy {accuracy(progress)}",
            counted(progress.failed, "error") if progress.failed else "",
            f"{progress.degraded} degraded" if progress.degraded else "",
            self._memory(row),
        ]
        return [part for part in parts if part]

    def _memory(self, row: Row) -> str:
        reading = row.answer.memory if row.answer else None
        if reading is None:
            return ""
        now = reading.active if reading.active is not None else reading.footprint
        self._peak = max(self._peak, reading.peak or now or 0)
        return f"memory {shown(now or 0)}, peak {shown(self._peak)}"


class Plain(_Counting):
    """A line every ten seconds, for a log file or a pipe."""

    def answered(self, row: Row, progress: Progress) -> None:
        super().answered(row, progress)
        self._memory(row)
        now = monotonic()
        if progress.done == progress.total or now - self._shown >= _PLAIN_INTERVAL:
            self._shown = now
            self._say(self._text(row, progress, now - self._began))

    def _text(self, row: Row, progress: Progress, seconds: float) -> str:
        return f"{row.adapter}: {'  '.join(self._parts(row, progress, seconds))}"


class Live(_Counting):
    """A progress bar on a terminal, with a line for each adapter that is running."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        super().__init__(console, verbose=verbose)
        self._bar: Bar | None = None
        self._column = BarColumn(bar_width=_WIDEST_BAR)
        self._tasks: dict[str, TaskID] = {}

    def loaded(self, label: str, loaded: Loaded) -> None:
        super().loaded(label, loaded)
        self._bar = self._bar or self._opened()
        name = _shortened(label, _WIDEST_LABEL)
        self._tasks[label] = self._bar.add_task(name, total=None, facts="")

    def answered(self, row: Row, progress: Progress) -> None:
        super().answered(row, progress)
        now = monotonic()
        task = self._tasks.get(row.adapter)
        if self._bar is None or task is None or not self._due(progress, now):
            self._memory(row)
            return
        self._shown = now
        parts = self._parts(row, progress, now - self._began)
        line = Line.fitted(self._console.width, row.adapter, parts)
        self._column.bar_width = line.bar
        self._bar.update(
            task,
            description=line.label,
            completed=progress.done,
            total=progress.total,
            facts=line.facts,
        )

    def released(self, label: str, released: Released) -> None:
        self._close(label)
        super().released(label, released)

    def failed(self, label: str, error: VqaEngineError) -> None:
        self._close(label)
        super().failed(label, error)

    def _due(self, progress: Progress, now: float) -> bool:
        return progress.done >= progress.total or now - self._shown >= _SNAPSHOT_INTERVAL

    def _opened(self) -> Bar:
        bar = Bar(
            TextColumn("{task.description}", markup=False),
            self._column,
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
        )
        bar.start()
        return bar

    def _close(self, label: str) -> None:
        self._tasks.pop(label, None)
        if self._bar is not None and not self._tasks:
            self._bar.stop()
            self._bar = None


@frozen
class Line:
    """A progress line that fits: the label, the columns left for the bar, and the facts."""

    label: str
    bar: int
    facts: str

    @classmethod
    def fitted(cls, width: int, label: str, parts: Sequence[str]) -> Line:
        """Count, rate and time stay whole: the bar shrinks first, then the last parts go."""
        name = _shortened(label, _WIDEST_LABEL)
        kept = list(parts)
        while len(kept) > 3 and _room(width, name, kept) < 0:
            kept.pop()
        if (room := _room(width, name, kept)) < 0:
            name = _shortened(label, max(1, len(name) + room))
        bar = max(0, min(_WIDEST_BAR, _room(width, name, kept)))
        return cls(name, bar, "  ".join(kept))


def _room(width: int, label: str, parts: Sequence[str]) -> int:
    """What is left for the bar; rich puts a blank between columns."""
    return width - len(label) - len("  ".join(parts)) - 2


def _shortened(label: str, longest: int) -> str:
    """A label within `longest` columns: its model's last part, or the end of that."""
    if len(label) <= longest:
        return label
    last = label.rpartition("/")[2]
    return last if len(last) <= longest else f"…{last[len(last) - longest + 1 :]}"


def _nothing_to_ask(progress: Progress) -> str:
    total = counted(progress.total, "question")
    if progress.failed:
        return f"{progress.failed:,} of {total} failed before, and --keep-failed leaves them"
    return (
        f"all {total} were answered before; --fresh asks them again"
        if progress.total > 1
        else "the question was answered before; --fresh asks it again"
    )


def accuracy(progress: Progress) -> str:
    """The accuracy so far in the first metric."""
    percent = progress.board.overall.percent
    return "–" if math.isnan(percent) else f"{percent:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _line(row: Row) -> str:
    question = row.question
    said = row.answer.text if row.answer else f"ERROR {row.failure.message if row.failure else ''}"
    truth = f"  (truth: {_majority(question.answers)})" if question.answers else ""
    return f"{row.adapter}: {question.question_id}: {question.text} → {said}{truth}"


def _majority(answers: tuple[str, ...]) -> str:
    return max(answers, key=answers.count)


def print_json(value: object) -> None:
    """A value as one line of JSON, in UTF-8 whatever the encoding of stdout is."""
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, in the id of a memory event
        text = json.dumps(msgspec.to_builtins(value)).encode()
    write([text, b"\n"])
