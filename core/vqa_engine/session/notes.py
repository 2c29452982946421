"""What vqa-engine and an adapter log while its model is here, for the engine's observer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ClassVar

from vqa_engine.adapter import ModelAdapter
from vqa_engine.results import Note

LONGEST = 2000
"""Characters of one note; an adapter may log a whole prompt."""

OURS = ("vqa_engine", "vqa_engine_adapters")

NOTED = "vqa_engine_noted"
"""The attribute of a log record that went to `on_note`, for handlers that must not tell it
twice."""


class Notes:
    """Listens to our loggers and to that of the adapter's package, from `open` to `close`.

    Everything from level info on goes to `on_note`, in the thread that logs it. All other
    handlers hear what they would hear without it. Several may listen at one time.
    """

    def __init__(self, adapter: ModelAdapter, on_note: Callable[[Note], None]) -> None:
        package = type(adapter).__module__.partition(".")[0]
        self._names = sorted({*OURS, package})
        self._on_note = on_note
        self._open = False

    def open(self) -> None:
        """Begin; twice is once."""
        if not self._open:
            self._open = True
            for name in self._names:
                _Ear.of(name).listen(self._on_note)

    def close(self) -> None:
        """Leave the loggers as they were once nobody listens; twice is safe."""
        if self._open:
            self._open = False
            for name in self._names:
                _Ear.of(name).forget(self._on_note)


class _Ear(logging.Handler):
    """One logger's, there from its first listener to its last.

    It lowers the logger's level, and keeps from those above what that adds. A logger has one
    ear at most: two would each pass on to those above what the other passes on already.
    """

    _all: ClassVar[dict[str, _Ear]] = {}
    _changing: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, name: str) -> None:
        super().__init__(logging.INFO)
        self._logger, self._listeners = logging.getLogger(name), list[Callable[[Note], None]]()
        self._before, self._audible = (logging.NOTSET, True), logging.NOTSET

    @classmethod
    def of(cls, name: str) -> _Ear:
        """That logger's."""
        with cls._changing:
            return cls._all.setdefault(name, cls(name))

    def listen(self, on_note: Callable[[Note], None]) -> None:
        """Tell this one, too."""
        with self._changing:
            if not self._listeners:
                self._begin()
            self._listeners = [*self._listeners, on_note]

    def forget(self, on_note: Callable[[Note], None]) -> None:
        """Tell it no more."""
        with self._changing:
            left = list(self._listeners)
            left.remove(on_note)
            self._listeners = left
            if not left:
                self._end()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()[:LONGEST]
        except Exception:  # noqa: BLE001  an adapter's arguments may not fit its message
            self.handleError(record)
            return
        vars(record)[NOTED] = True
        for on_note in self._listeners:
            on_note(Note(logger=record.name, level=record.levelno, text=text))
        _, propagated = self._before
        held = propagated and not self._logger.propagate
        if held and record.levelno >= self._audible and self._logger.parent is not None:
            self._logger.parent.callHandlers(record)

    def _begin(self) -> None:
        logger = self._logger
        self._before = logger.level, logger.propagate
        self._audible = logger.getEffectiveLevel()
        if self._audible > logging.INFO:
            logger.setLevel(logging.INFO)
            logger.propagate = False
        logger.addHandler(self)

    def _end(self) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
