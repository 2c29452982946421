"""Running the kit on an installed adapter, in a process that may die of it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from attrs import evolve

from vqa_engine.errors import WorkerError
from vqa_engine.plugins import registry
from vqa_engine.testing.capabilities import Capabilities
from vqa_engine.testing.subject import VARIABLE, Outcome, Subject

FILE = Path(__file__).with_name("installed.py")
CONFIGURATION = Path(__file__).with_name("check.ini")
"""An empty one: the settings of whatever project the user stands in are not ours."""

LONGEST = 600.0
"""Seconds that one test may take; a large model takes minutes to load."""

NOTHING_LEFT = 5
"""pytest's exit code when every test was deselected: the last one ended its process."""

TAIL = 2000
"""Bytes of the child's output that an error shows."""


def check(
    adapter: str, capabilities: Capabilities | None = None, *, longest: float = LONGEST
) -> Iterator[Outcome]:
    """Run every standard test on the plugin of this name, and yield each outcome.

    A test that kills its process, or takes longer than `longest` seconds, is an outcome
    like any other: the tests after it run in a new process.

    Raises:
        AdapterNotInstalled: no plugin has this name.
        AdapterClash: two distributions offer it.
        WorkerError: the tests cannot run at all.
    """
    registry.select(adapter, registry.find())
    return _check(Subject(adapter=adapter, capabilities=capabilities or Capabilities()), longest)


def _check(subject: Subject, longest: float) -> Iterator[Outcome]:
    while True:
        last: Outcome | None = None
        for last in _run(subject, longest):
            if last.state != "running":
                subject = evolve(subject, done=(*subject.done, last.test))
                yield last
        if last is None or last.state not in ("died", "hung"):
            return


def _run(subject: Subject, longest: float) -> Iterator[Outcome]:
    """One process, until it has told everything, or is gone; the last outcome tells which."""
    reader, writer = os.pipe()
    environment = {**os.environ, VARIABLE: _encoded(evolve(subject, events=writer))}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with tempfile.TemporaryFile() as output, os.fdopen(reader, "rb", buffering=0) as events:
        child = subprocess.Popen(
            _command(subject),
            pass_fds=(writer,),
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        os.close(writer)
        try:
            yield from _follow(child, events, output, longest)
        finally:
            child.kill()
            child.wait()


def _command(subject: Subject) -> list[str]:
    """pytest over the installed adapter, less what was tested already.

    The plugin is named to pytest, and not imported before it runs: the kit's asserts show
    their values only if pytest sees its modules being imported.
    """
    kit = [
        "-c",
        str(CONFIGURATION),
        "--rootdir",
        str(FILE.parent),
        "-p",
        "vqa_engine.testing.teller",
    ]
    plain = ["--disable-plugin-autoload", "-p", "no:cacheprovider", "--tb=short", "-vv"]
    done = [f"--deselect=installed.py::TestInstalled::{name}" for name in subject.done]
    return [sys.executable, "-P", "-m", "pytest", *kit, *plain, *done, str(FILE)]


def _follow(
    child: subprocess.Popen[bytes], events: BinaryIO, output: BinaryIO, longest: float
) -> Iterator[Outcome]:
    last: Outcome | None = None
    for outcome in _outcomes(events, longest):
        last = outcome or last
        if outcome is None:
            text = f"it did not end within {longest:g} seconds"
            yield evolve(_begun(last, output), state="hung", seconds=longest, text=text)
            return
        yield outcome
    code = child.wait()
    if code == NOTHING_LEFT:
        return
    if last is None or last.state == "running":
        yield evolve(_begun(last, output), state="died", text=f"it ended its process: {_end(code)}")


def _outcomes(events: BinaryIO, longest: float) -> Iterator[Outcome | None]:
    """Outcomes as they come; None, and no more, when nothing comes in time."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        while selector.select(longest):
            data = events.read(1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (msgspec.json.decode(line, type=Outcome) for line in lines)
    yield None


def _begun(last: Outcome | None, output: BinaryIO) -> Outcome:
    """The test that was begun.

    Raises:
        WorkerError: none was.
    """
    if last is not None and last.state == "running":
        return last
    output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL))
    said = output.read().decode("utf-8", "replace").strip()
    raise WorkerError(
        f"The tests could not run: {said.splitlines()[-1] if said else 'the process said nothing'}",
        label="check",
        cause="exited",
        detail=said,
    )


def _end(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _encoded(subject: Subject) -> str:
    return msgspec.json.encode(subject).decode()
