"""Processes that outlive what started them: marked by their environment, found, and ended.

A session of its own, a double fork or another parent does not take the mark away; only a
program that is started with an environment made from nothing escapes it.
"""

from __future__ import annotations

import os
import uuid
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MARK = "VQA_ENGINE_STARTED"
"""The environment variable that every descendant inherits."""


_made: list[str] = []


def new_mark() -> str:
    """A mark that no other process has.

    What ends the marked ones is imported now: at the end signals may come in mid-import.
    """
    import psutil  # noqa: F401  a worker, which makes no mark, does without

    _made.append(uuid.uuid4().hex)
    return _made[-1]


def any_made() -> bool:
    """Whether this process has started one that runs other people's code."""
    return bool(_made)


def is_marked() -> bool:
    """Whether this process was started for one adapter alone, or by one that was."""
    return MARK in os.environ


def end_marked(mark: str, seconds: float = 2.0) -> bool:
    """Kill every process with this mark; whether none is left within `seconds`."""
    import psutil

    until = monotonic() + seconds
    while left := [one for one in psutil.process_iter() if _is_marked(one, mark)]:
        for process in left:
            _kill(process)
        if monotonic() >= until:
            return False
        sleep(0.01)
    return True


def _is_marked(process: psutil.Process, mark: str) -> bool:
    import psutil

    try:
        return process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False  # gone, or somebody else's


def _kill(process: psutil.Process) -> None:
    import psutil

    try:
        process.kill()
    except psutil.Error:
        return  # gone meanwhile
