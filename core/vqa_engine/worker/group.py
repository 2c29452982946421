"""A worker's process group: started, sent signals, and seen to be empty."""

from __future__ import annotations

import os
import signal
import subprocess
import weakref
from time import monotonic, sleep

import psutil
from attrs import field, frozen

from vqa_engine.interpreter import Interpreter
from vqa_engine.strays import MARK, end_marked, new_mark
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.wire import Wire, close

_CHILD = "vqa_engine.worker.child"

started: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
"""Workers of this process, so that nobody else waits for them."""


@frozen
class Ends:
    """The host's part of what was made for a worker."""

    process: subprocess.Popen[bytes]
    wire: Wire
    lifeline: int
    mark: str
    owner: int = field(factory=os.getpid)


def spawn(interpreter: Interpreter, output: WorkerLog) -> Ends:
    """Start a worker.

    Raises:
        OSError: the system would not.
    """
    their_reader, writer = os.pipe()
    reader, their_writer = os.pipe()
    their_lifeline, lifeline = os.pipe()
    theirs = (their_reader, their_writer, their_lifeline)
    mark = new_mark()
    try:
        process = _popen(interpreter, output, theirs, mark)
    except BaseException:
        for descriptor in (reader, writer, lifeline):
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    return Ends(process, Wire(reader, writer), lifeline, mark)


def _popen(
    interpreter: Interpreter, output: WorkerLog, descriptors: tuple[int, ...], mark: str
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        interpreter.command(_CHILD, descriptors),
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=output.descriptor,
        stderr=output.descriptor,
        start_new_session=True,
        env={**interpreter.environment(), MARK: mark},
    )
    started.add(process)
    return process


def discard(ends: Ends) -> None:
    """The last resort, when nobody called `end`: at the host's exit, or when it forgot."""
    if os.getpid() != ends.owner:
        return  # a process that the host forked is not the one to end its workers
    ends.wire.close()
    signal_group(ends.process.pid, signal.SIGKILL)
    ends.process.wait()
    end_marked(ends.mark)
    close(ends.lifeline)


def signal_group(group: int, number: signal.Signals) -> None:
    """Send it to all of a group, if there is one still."""
    # The leader may be reaped already. Its id cannot belong to another group yet while
    # a member lives, and is not given out again within the moment that passes here.
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left; macOS says EPERM when only zombies are


def is_empty(group: int, seconds: float = 2.0) -> bool:
    """Whether nobody is left in a group that was sent SIGKILL; zombies are nobody."""
    until = monotonic() + seconds
    while _members(group):
        if monotonic() >= until:
            return False
        sleep(0.01)
    return True


def _members(group: int) -> list[int]:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [process.pid for process in psutil.process_iter() if _is_member(process, group)]


def _is_member(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, PermissionError, psutil.Error):
        return False
