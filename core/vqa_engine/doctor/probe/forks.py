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
from multiprocessing.connection import wait
from time import monotonic

import msgspec
import PIL.Image  # noqa: F401  most plugins want it, and a fork has what its parent has
from attrs import define, evolve

from vqa_engine.doctor.probe.looking import look, untried
from vqa_engine.interpreter import say
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.plugins.probe.report import PluginReport

AT_ONCE = 4

_LARGEST = 1 << 20
"""Bytes of a report."""


@define(eq=False)
class _Fork:
    """One plugin being tried: its process, its pipe, and the time when it counts as hung.

    Nothing of what comes through the pipe is waited for: a plugin may write to it, or leave
    a process behind that holds it open.
    """

    plugin: Plugin
    pid: int
    reader: int
    due: float
    said: bytes = b""
    ended: bool = False

    @classmethod
    def start(cls, plugin: Plugin, longest: float, bind: bool) -> _Fork:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_the_fork(plugin, bind, writer)
        os.close(writer)
        os.set_blocking(reader, False)
        return cls(plugin, pid, reader, monotonic() + longest)

    def listen(self) -> bool:
        """Whether its report is here, or none will come."""
        with suppress(BlockingIOError):
            data = os.read(self.reader, _LARGEST)
            self.said += data
            self.ended = not data or len(self.said) >= _LARGEST
        return self.ended or self.said.endswith(b"\n") or monotonic() >= self.due

    def report(self, longest: float) -> PluginReport:
        """What it reported, or how it ended; it has ended, or its time is over."""
        self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.reader)
        if self.said.endswith(b"\n"):
            return self._read()
        if self.ended:
            return _failed(self.plugin, f"importing it ended the process: {_ended(status)}")
        return _failed(self.plugin, f"importing it did not end within {longest:g} seconds")

    def _read(self) -> PluginReport:
        try:
            return msgspec.json.decode(self.said.splitlines()[-1], type=PluginReport)
        except (IndexError, msgspec.MsgspecError):
            reason = "it wrote to file descriptors that are not its own"
            return _failed(self.plugin, reason)

    def kill(self) -> None:
        """End it, with all that it started; it leads a process group of its own."""
        for end in (os.killpg, os.kill):
            with suppress(OSError):  # it has ended, or has not made its group yet
                end(self.pid, signal.SIGKILL)


def reports(
    groups: Iterable[str], longest: float, bind: bool, only: str = ""
) -> Iterator[PluginReport]:
    """A report of every plugin of these groups, or of those with one target, in no order."""
    sound = []
    for offered in map(plugins.find, groups):
        for plugin in offered:
            twins = [one.place for one in offered if plugins.same(one.name, plugin.name)]
            if len(twins) > 1:
                yield _clash(plugin, twins)
            elif only in {"", plugin.target}:
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
            for fork in [one for one in running if one.listen()]:
                running.remove(fork)
                yield fork.report(longest)
    finally:
        for fork in running:
            fork.kill()


def _be_the_fork(plugin: Plugin, bind: bool, writer: int) -> None:
    """Try one plugin, report it, and never return."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    with os.fdopen(writer, "wb") as channel:
        channel.write(b"\n" + msgspec.json.encode(look(plugin, bind=bind)) + b"\n")
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


def _main(longest: str, bind: str, only: str, *groups: str) -> None:
    found = [
        one
        for one in reports(groups, float(longest), bind == "1", only)
        if not only or one.target == only
    ]
    say(sorted(found, key=lambda one: (groups.index(one.group), one.name, one.distribution)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
