"""`python -m vqa_engine.doctor.probe.forks SECONDS BIND GROUP…` tries all plugins of groups.

A few are tried at once. A fork that takes too long is killed with everything that it
started; one that dies is reported like any other.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from time import monotonic

import msgspec
import PIL.Image  # noqa: F401  most plugins want it, and a fork has what its parent has
from attrs import evolve, frozen

from vqa_engine.doctor.probe.looking import look, untried
from vqa_engine.doctor.probe.report import PluginReport
from vqa_engine.interpreter import say
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import Plugin

AT_ONCE = 4


@frozen(eq=False)
class _Fork:
    """One plugin being tried: its process, its pipe, and the time when it counts as hung."""

    plugin: Plugin
    pid: int
    reader: Connection
    due: float

    @classmethod
    def start(cls, plugin: Plugin, longest: float, bind: bool) -> _Fork:
        reader, writer = Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            _be_the_fork(plugin, bind, writer)
        writer.close()
        return cls(plugin, pid, reader, monotonic() + longest)

    def report(self, longest: float) -> PluginReport:
        """What it reported, or how it ended; it has ended, or its time is over."""
        hung = not self.reader.poll()
        self.kill()
        _, status = os.waitpid(self.pid, 0)
        with self.reader:
            if hung:
                return _failed(self.plugin, f"importing it did not end within {longest:g} seconds")
            try:
                return msgspec.json.decode(self.reader.recv_bytes(), type=PluginReport)
            except EOFError:
                return _failed(self.plugin, f"importing it ended the process: {_ended(status)}")

    def kill(self) -> None:
        """End it, with all that it started; it leads a process group of its own."""
        for end in (os.killpg, os.kill):
            with suppress(OSError):  # it has ended, or has not made its group yet
                end(self.pid, signal.SIGKILL)


def reports(groups: Iterable[str], longest: float, bind: bool) -> Iterator[PluginReport]:
    """A report of every plugin of these groups, in no order."""
    sound = []
    for offered in map(plugins.find, groups):
        for plugin in offered:
            twins = [one.place for one in offered if plugins.same(one.name, plugin.name)]
            if len(twins) > 1:
                yield _clash(plugin, twins)
            else:
                sound.append(plugin)
    yield from _tried(sound, longest, bind)


def _tried(wanted: Sequence[Plugin], longest: float, bind: bool) -> Iterator[PluginReport]:
    waiting, running = list(reversed(wanted)), list[_Fork]()
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(_Fork.start(waiting.pop(), longest, bind))
            due = min(fork.due for fork in running)
            wait([fork.reader for fork in running], max(0.0, due - monotonic()))
            for fork in [one for one in running if one.reader.poll() or monotonic() >= one.due]:
                running.remove(fork)
                yield fork.report(longest)
    finally:
        for fork in running:
            fork.kill()


def _be_the_fork(plugin: Plugin, bind: bool, writer: Connection) -> None:
    """Try one plugin, report it, and never return."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    writer.send_bytes(msgspec.json.encode(look(plugin, bind=bind)))
    os._exit(0)


def _clash(plugin: Plugin, places: Iterable[str]) -> PluginReport:
    reason = f"offered by {' and by '.join(places)}"
    return evolve(untried(plugin), state="clash", reason=reason, remedy="Uninstall one of them")


def _failed(plugin: Plugin, reason: str) -> PluginReport:
    remedy = plugins.remedy(plugin)
    return evolve(untried(plugin), state="broken", reason=reason, remedy=remedy)


def _ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _main(longest: str, bind: str, *groups: str) -> None:
    found = reports(groups, float(longest), bind == "1")
    say(sorted(found, key=lambda one: (groups.index(one.group), one.name, one.distribution)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
