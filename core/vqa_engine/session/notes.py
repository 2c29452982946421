"""What vqa-engine and an adapter log while its model is loaded, for the engine's observer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Lock

from vqa_engine.adapter import ModelAdapter
from vqa_engine.results import Note

LONGEST = 2000
"""Characters of one note; an adapter may log a whole prompt."""

OURS = ("vqa_engine", "vqa_engine_adapters")

_changing = Lock()
"""Held while a logger is changed: sessions are opened and released in threads of their own."""


class Notes:
    """Listens to our loggers and to that of the adapter's package, from `open` to `close`.

    Everything from level info on goes to `on_note`, in the thread that logs it, or from a lower
    level on where the loggers have one. All other
    handlers receive what they would receive without it. Several may listen at one time.
    """

    def __init__(self, adapter: ModelAdapter, on_note: Callable[[Note], None]) -> None:
        package = type(adapter).__module__.partition(".")[0]
        self._loggers = [logging.getLogger(name) for name in sorted({*OURS, package})]
        self._on_note = on_note
        self._taps: list[_Tap] = []

    def open(self) -> None:
        """Begin to listen; twice is once."""
        with _changing:
            self._taps = self._taps or [_Tap.of(logger) for logger in self._loggers]
            for tap in self._taps:
                tap.listeners[self] = self._on_note

    def close(self) -> None:
        """Leave the loggers as they were once nobody listens; twice is safe."""
        with _changing:
            for tap in self._taps:
                tap.forget(self)
            self._taps = []


def wanted() -> int:
    """The lowest level of what goes to `on_note` here."""
    return min(logging.INFO, logging.getLogger(OURS[0]).getEffectiveLevel())


def noted(record: logging.LogRecord) -> bool:
    """Whether somebody listens to this record, who then shows it."""
    handlers = _handlers(logging.getLogger(record.name))
    return any(isinstance(one, _Tap) and record.levelno >= one.level for one in handlers)


class _Tap(logging.Handler):
    """The one handler of a logger, from its first listener to its last.

    It lowers the logger's level to info, and keeps from the handlers above what that adds.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger, self._level, self._audible = logger, logger.level, logger.getEffectiveLevel()
        super().__init__(min(self._audible, logging.INFO))
        self.listeners: dict[Notes, Callable[[Note], None]] = {}
        self._lowered = logger.propagate and self._audible > logging.INFO
        if self._lowered:
            logger.propagate = False
        logger.setLevel(self.level)
        logger.addHandler(self)

    @classmethod
    def of(cls, logger: logging.Logger) -> _Tap:
        """The logger's tap, added where there is none yet."""
        taps = (handler for handler in logger.handlers if isinstance(handler, cls))
        return next(taps, None) or cls(logger)

    def forget(self, notes: Notes) -> None:
        """Remove one listener, and with the last one the tap."""
        if self.listeners.pop(notes, None) and not self.listeners:
            self._logger.removeHandler(self)
            self._logger.setLevel(self._level)
            self._logger.propagate |= self._lowered

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()[:LONGEST]
        except Exception:  # noqa: BLE001  an adapter's arguments may not fit its message
            self.handleError(record)
            return
        for on_note in tuple(self.listeners.values()):
            on_note(Note(logger=record.name, level=record.levelno, text=text))
        if self._lowered and record.levelno >= self._audible and self._logger.parent is not None:
            self._pass_on(record, self._logger.parent)

    def _pass_on(self, record: logging.LogRecord, parent: logging.Logger) -> None:
        """To the handlers above, but for those that hear this logger as well.

        pytest's `caplog` is one (9.1): it adds itself to each logger that does not propagate.
        """
        above, here = tuple(_handlers(parent)), self._logger.handlers
        if not any(handler in here for handler in above):
            parent.callHandlers(record)
            return
        for handler in above:
            if handler not in here and record.levelno >= handler.level:
                handler.handle(record)


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """All that a record of this logger reaches."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
