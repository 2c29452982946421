"""What vqa-engine and an adapter log while its model is here, for the engine's observer."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
    handlers hear what they would hear without it.
    """

    def __init__(self, adapter: ModelAdapter, on_note: Callable[[Note], None]) -> None:
        package = type(adapter).__module__.partition(".")[0]
        self._loggers = [logging.getLogger(name) for name in {*OURS, package}]
        self._on_note = on_note
        self._ears: list[_Ear] = []

    def open(self) -> None:
        """Begin; twice is once."""
        if not self._ears:
            self._ears = [_Ear(logger, self._on_note) for logger in self._loggers]

    def close(self) -> None:
        """Leave the loggers as they were; twice is safe."""
        while self._ears:
            self._ears.pop().restore()


class _Ear(logging.Handler):
    """One logger's. It lowers the logger's level, and keeps from those above what that adds."""

    def __init__(self, logger: logging.Logger, on_note: Callable[[Note], None]) -> None:
        super().__init__(logging.INFO)
        self._logger, self._on_note = logger, on_note
        self._before = logger.level, logger.propagate
        self._audible = logger.getEffectiveLevel()
        if self._audible > logging.INFO:
            logger.setLevel(logging.INFO)
            logger.propagate = False
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()[:LONGEST]
        except Exception:  # noqa: BLE001  an adapter's arguments may not fit its message
            self.handleError(record)
            return
        vars(record)[NOTED] = True
        self._on_note(Note(logger=record.name, level=record.levelno, text=text))
        _, propagated = self._before
        held = propagated and not self._logger.propagate
        if held and record.levelno >= self._audible and self._logger.parent is not None:
            self._logger.parent.callHandlers(record)

    def restore(self) -> None:
        """Undo what the constructor did."""
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
        self.close()
