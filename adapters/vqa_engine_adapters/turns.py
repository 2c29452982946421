"""Threads that prepare what comes next beside the one that drives the model."""

from __future__ import annotations

import sys

_INTERVAL = 0.0005
"""Seconds after which a waiting thread gets the interpreter. Python's own 5 ms are waited for
whenever the device has finished something while a picture is prepared, and a short answer
has some twenty such moments."""


class QuickTurns:
    """Lets the model's thread have the interpreter back quickly, until `end`."""

    def __init__(self) -> None:
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(min(self._before, _INTERVAL))

    def end(self) -> None:
        """Put back what was there before."""
        sys.setswitchinterval(self._before)
