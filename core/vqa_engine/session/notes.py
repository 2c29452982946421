"""What vqa-engine and an adapter log while its model is loaded, for the engine's observer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from logging.handlers import QueueHandler
from queue import SimpleQueue

from vqa_engine.adapter import ModelAdapter
from vqa_engine.results import Note

_LONGEST = 2000
"""Characters of one note; an adapter may log a whole prompt."""

OURS = ("vqa_engine", "vqa_engine_adapters")
"""The loggers of this project's two packages."""


class Notes:
    """Listens to our loggers and to that of a plugin's package, from `open` to `close`.

    What these loggers let through goes to `on_note` as well, in the thread that logs it; no
    level is changed. Several may listen at one time.
    """

    def __init__(self, package: str, on_note: Callable[[Note], None]) -> None:
        self._loggers = [logging.getLogger(name) for name in sorted({*OURS, package})]
        self._handler = _Noting(on_note)

    @classmethod
    def of(cls, adapter: ModelAdapter, on_note: Callable[[Note], None]) -> Notes:
        """Those of an adapter's package."""
        return cls(type(adapter).__module__.partition(".")[0], on_note)

    def open(self) -> None:
        """Begin to listen; twice is once."""
        for logger in self._loggers:
            logger.addHandler(self._handler)

    def close(self) -> None:
        """Stop listening; twice is safe."""
        for logger in self._loggers:
            logger.removeHandler(self._handler)


def wanted() -> int:
    """The lowest level of what a worker sends to `on_note` here."""
    return min(logging.INFO, logging.getLogger(OURS[0]).getEffectiveLevel())


class _Noting(QueueHandler):
    """A queue handler whose records go to a callback at once."""

    def __init__(self, on_note: Callable[[Note], None]) -> None:
        super().__init__(SimpleQueue[Note]())
        self._on_note = on_note

    def prepare(self, record: logging.LogRecord) -> Note:
        record.noted = True  # the command line's own handler passes over it
        text = record.getMessage()[:_LONGEST]
        return Note(logger=record.name, level=record.levelno, text=text)

    def enqueue(self, note: Note) -> None:  # type: ignore[override]  # what `prepare` returns
        self._on_note(note)
