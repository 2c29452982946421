"""A look at the process now and then: often enough to see a slope, seldom enough to be free."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from time import perf_counter

from vqa_engine.memory.audit import Audit
from vqa_engine.memory.gauges import Gauge, process_gauge

_PERIOD = 0.2
"""Seconds between two looks. With the system's figures a look takes about 0.3 ms, so 0.2 %;
the number of questions between two looks follows from how long they take."""


class Watch:
    """Samples the process's footprint into the audit.

    `due` is the number of the next question after which to look, `footprint` the last
    figure, None where the platform has none.
    """

    def __init__(self, audit: Audit, process: Gauge | None = None, period: float = _PERIOD) -> None:
        self.due = 1
        self.footprint: int | None = None
        self._audit, self._period = audit, period
        self._process = process or process_gauge()
        self._stride, self._number, self._last = 1, 0, perf_counter()

    def read_footprint(self) -> int | None:
        """The process's footprint now."""
        return self._process.read()[0].bytes

    def look(self, number: int, outside: Callable[[int], int]) -> None:
        """Sample after question `number`; `outside` gives the part that is not the allocator's."""
        footprint, anonymous, *_rest = self._process.read()
        self.footprint = footprint.bytes
        if anonymous.bytes is not None:
            self._audit.outside(number, outside(anonymous.bytes))
        now = perf_counter()
        passed = number - self._number
        wanted = ceil(passed * self._period / max(now - self._last, 1e-9))
        self._stride = min(max(1, wanted), self._stride * 2)
        self._last, self._number, self.due = now, number, number + self._stride
