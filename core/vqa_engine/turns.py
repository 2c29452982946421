"""One thread at a time: who uses an engine, and whether it was asked to stop."""

from __future__ import annotations

import threading

from vqa_engine.errors import EngineBusy


class Turn:
    """A context manager that one thread at a time can enter, as often as it likes.

    Raises:
        EngineBusy: on entering, when another thread is inside.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._holder = ""

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise EngineBusy(self._holder)
        self._holder = threading.current_thread().name

    def __exit__(self, *_error: object) -> None:
        self._lock.release()
