"""The child's guard: it never outlives its host, whatever its main thread is doing.

The lifeline is a pipe to which nobody writes; the host holds the only writing end, and
its end, however it comes, closes it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from threading import Thread

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL once the host is gone."""

_HIGH = 2048
"""Where the child's own descriptors begin, if as many may be open; macOS starts at 256."""

_LOOK = 1.0
"""Seconds between two looks at the parent's process id, for a lifeline that somebody else
holds open as well (a process that the host forked)."""


def follow(lifeline: int) -> None:
    """End this process and its group when the host ends.

    On Linux the kernel does it: the closing pipe sends SIGKILL to the group (fcntl(2),
    F_SETOWN and F_SETSIG), even while native code holds the interpreter's lock. A thread
    does it elsewhere. Not PR_SET_PDEATHSIG, which fires when the *thread* that started
    us ends.

    One gap is left: when a worker dies, its host ends what the adapter had started. A
    host that is killed within those milliseconds leaves it behind.
    """
    host = os.getppid()
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    Thread(target=_watch, args=(lifeline, host), name="follow-host", daemon=True).start()


def out_of_reach(descriptor: int) -> int:
    """Move a descriptor to a high number that programs started here do not inherit.

    Adapters that tidy up close the low ones.
    """
    lowest = min(_HIGH, os.sysconf("SC_OPEN_MAX") // 2)
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(descriptor)
    return moved


def _watch(lifeline: int, host: int) -> None:
    poll = select.poll()
    poll.register(lifeline, select.POLLIN | select.POLLHUP)  # macOS reports only what is asked
    while not _hung_up(poll) and os.getppid() == host:
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


def _hung_up(poll: select.poll) -> bool:
    events = [event for _, event in poll.poll(_LOOK * 1000)]
    if any(event & select.POLLNVAL for event in events):
        # The adapter closed our descriptor. That says nothing of the host.
        time.sleep(_LOOK)
        return False
    return bool(events)
