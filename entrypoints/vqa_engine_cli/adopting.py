"""The command's process is the parent of whatever its workers leave, and ends it.

A process that changed its session, its parent and its environment cannot be told from a
stranger's, but on Linux an orphan goes to its nearest ancestor that asked for it (prctl(2),
PR_SET_CHILD_SUBREAPER). A program that uses the engine as a library has children of its own,
so this is done for the command alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h."""

_LOOK = 5.0
"""Seconds between two looks at orphans that have ended."""

_ENOUGH = 2.0
"""Seconds for what is killed to be gone."""


@contextmanager
def adopting() -> Iterator[None]:
    """Adopt orphans while this lasts, and end them with it; nothing where that is not known."""
    if not sys.platform.startswith("linux"):
        yield
        return
    over = Event()
    _adopt()
    try:
        Thread(target=_reap, args=(over,), name="reap", daemon=True).start()
        yield
    finally:
        over.set()
        strays = sys.modules.get("vqa_engine.strays")
        if strays is not None and strays.any_made():  # a browser, which `view` opens, stays
            _end_all()


def _adopt() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all() -> None:
    import psutil

    until = monotonic() + _ENOUGH
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        if monotonic() >= until:
            return
        sleep(0.01)


def _reap(over: Event) -> None:
    """Bury orphans that have ended by themselves: an adapter may leave one for each question."""
    seen: set[int] = set()
    while not over.wait(_LOOK):
        if "vqa_engine.worker.process" not in sys.modules:
            continue
        ended = {one.pid for one in _orphans()}
        for pid in ended & seen:  # a program that we started ourselves is waited for by now
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        seen = ended


def _orphans() -> Iterator[psutil.Process]:
    """Ended children that are not workers."""
    import psutil

    from vqa_engine.worker.group import started

    own = {one.pid for one in tuple(started)}
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE and process.pid not in own:
                yield process
