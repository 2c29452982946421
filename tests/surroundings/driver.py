"""Runs commands with real standard streams, each in a fork of one process: imports cost once.

    python driver.py CASE [CASE ...]

A case is a JSON list: what to do to the process, then the command line. What each gave is
printed as JSON: exit code, stdout, stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Timer

READ, WRITE = 0, 1


def close(*numbers: int) -> None:
    """Close standard streams, as `>&-` does."""
    for number in numbers:
        os.close(number)


def full() -> None:
    """Stdout on a disk without room."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def unread(*numbers: int) -> None:
    """Streams whose reader has left."""
    pipe = os.pipe()
    os.close(pipe[READ])
    for number in numbers:
        os.dup2(pipe[WRITE], number)


def homeless() -> None:
    """A user whom the system does not know, without HOME."""
    os.environ.pop("HOME", None)
    another()


def another() -> None:
    """Another user, if this one may become one."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)


def narrow(encoding: str) -> None:
    """A terminal of another time."""
    os.environ |= {"TERM": "dumb", "COLUMNS": "40"}
    for name in ("stdout", "stderr"):
        getattr(sys, name).reconfigure(encoding=encoding)


def deleted() -> None:
    """A current folder that is no more."""
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()


def whole() -> None:
    """Nothing."""


_ALL = (close, full, unread, homeless, another, narrow, deleted, whole)
HOW: dict[str, Callable[..., None]] = {one.__name__: one for one in _ALL}


def attempt(how: list[object], words: list[str]) -> tuple[int, str, str]:
    """Run one command in a fork."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _become(how, words)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, _read(out.fileno()), _read(err.fileno())


def _become(how: list[object], words: list[str]) -> None:
    main = sys.modules["vqa_engine_cli.main"]
    code: object = 0
    if words[:1] == ["view"]:  # which ends with Ctrl-C
        Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        name, *given = how
        HOW[str(name)](*given)
        sys.stdout = None if _closed(1) else sys.stdout  # as an interpreter has it
        sys.stderr = None if _closed(2) else sys.stderr
        sys.argv = ["vqa-engine", *words]
        main.main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  an interpreter would print it and exit with 1
        import traceback

        os.write(2, traceback.format_exc().encode())
        code = 99
    os._exit(code if isinstance(code, int) else 0)


def _closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _read(number: int) -> str:
    return os.pread(number, 1 << 20, 0).decode("latin-1")


def warm(run: str) -> None:
    """Import what the commands need, so that a user without rights to the code can run them."""
    main = import_module("vqa_engine_cli.main")
    del main
    for words in (["score", run], ["show", run], ["export", run], ["memory", run], ["runs", run]):
        attempt_here(words)


def attempt_here(words: list[str]) -> None:
    """Run a command in this process, for its imports."""
    from click.testing import CliRunner

    from vqa_engine_cli.main import cli

    assert CliRunner().invoke(cli, words, catch_exceptions=False).exit_code == 0


if __name__ == "__main__":
    run, *cases = sys.argv[1:]
    warm(run)
    for case in cases:
        how, words = json.loads(case)
        sys.stdout.write(f"{json.dumps(attempt(how, words))}\n")
        sys.stdout.flush()
