"""The child's side: `python -m vqa_engine.plugins.probe.child WRITER`, the job on stdin.

Forks once for each plugin, a few at a time. A fork that takes too long is killed with
everything that it started; one that dies is a finding like any other.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from time import monotonic
from types import FrameType

import msgspec
import PIL.Image  # noqa: F401  most plugins want it, and a fork has what its parent has
from attrs import define, field

from vqa_engine.plugins.probe.finding import (
    Finding,
    Job,
    Wanted,
    decode_finding,
    decode_job,
    encode,
)
from vqa_engine.plugins.probe.looking import look

AT_ONCE = 4


@define
class Fork:
    """One plugin being tried: its process, its pipe, and when its time is over."""

    wanted: Wanted
    pid: int
    reader: int
    due: float
    said: bytearray = field(factory=bytearray)

    def kill(self) -> None:
        """End it, with all that it started; it leads a process group of its own."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)  # it has not come to make its group

    def finding(self, longest: float) -> Finding:
        """What it said, or how it ended; it is over by now."""
        os.close(self.reader)
        _, status = os.waitpid(self.pid, 0)
        try:
            return decode_finding(bytes(self.said))
        except msgspec.MsgspecError:
            return Finding(number=self.wanted.number, broken=self._end(status, longest))

    def _end(self, status: int, longest: float) -> str:
        if monotonic() >= self.due:
            return f"importing it did not end within {longest:g} seconds"
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"importing it ended the process: {how}"


class Child:
    """Works through a job, and writes each finding as it comes."""

    def __init__(self, job: Job, writer: int) -> None:
        self._job, self._writer = job, writer
        self._waiting = list(reversed(job.wanted))
        self._running: list[Fork] = []
        self._selector = selectors.DefaultSelector()

    def work(self) -> None:
        """Try everything; whatever ends this ends the forks as well."""
        try:
            while self._waiting or self._running:
                while self._waiting and len(self._running) < AT_ONCE:
                    self._start(self._waiting.pop())
                self._step()
        finally:
            for fork in self._running:
                fork.kill()

    def _start(self, wanted: Wanted) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_the_fork(self._job, wanted, writer)
        os.close(writer)
        fork = Fork(wanted, pid, reader, monotonic() + self._job.longest)
        self._running.append(fork)
        self._selector.register(reader, selectors.EVENT_READ, fork)

    def _step(self) -> None:
        """Wait for the next word of any fork, or for the next one's time to be over."""
        due = min(fork.due for fork in self._running)
        for key, _ in self._selector.select(max(0.0, due - monotonic())):
            data = os.read(key.fd, 1 << 16)
            key.data.said += data
            if not data:
                self._finish(key.data)
        for fork in [fork for fork in self._running if monotonic() >= fork.due]:
            fork.kill()
            self._finish(fork)

    def _finish(self, fork: Fork) -> None:
        self._running.remove(fork)
        self._selector.unregister(fork.reader)
        os.write(self._writer, encode(fork.finding(self._job.longest)))


def main() -> None:
    """Read the job, and work."""
    signal.signal(signal.SIGTERM, _leave)
    job = decode_job(sys.stdin.buffer.read())
    sys.path[:] = job.path
    Child(job, int(sys.argv[1])).work()


def _be_the_fork(job: Job, wanted: Wanted, writer: int) -> None:
    """Try one plugin, say what came of it, and never return."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    finding = look(wanted, bind=job.bind)
    os.write(writer, encode(finding))
    os._exit(0)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
