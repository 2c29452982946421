"""Which Python runs a worker, and whether it can."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import msgspec
from attrs import field, frozen

from vqa_engine.errors import InterpreterError
from vqa_engine.files import at_home
from vqa_engine.strays import MARK, end_marked, new_mark

T = TypeVar("T")

_OLDEST = "3.11"

_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV")
"""Variables that lead one interpreter to another's modules."""


class _Statement(msgspec.Struct):
    """What `say` writes: the value, and which vqa-engine and Python wrote it."""

    version: str
    python: str
    value: msgspec.Raw


@frozen
class Interpreter:
    """A worker's Python. `ours` says whether it is the one that runs the host.

    Two virtual environments share one binary, so a path is compared as it is given,
    with no link followed. `variables` are set in the environment of what it runs.
    """

    label: str
    python: str
    ours: bool
    variables: Mapping[str, str] = field(factory=dict)

    @classmethod
    def of(
        cls, label: str, python: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> Interpreter:
        """The interpreter at a path, None for our own; a bare `~` is the home folder."""
        own = os.path.abspath(sys.executable)  # noqa: PTH100  Path.resolve follows links
        asked = own if python is None else os.path.abspath(at_home(python))  # noqa: PTH100
        return cls(label, asked, asked == own, variables or {})

    def command(self, module: str, descriptors: Sequence[int]) -> list[str]:
        """The command that runs a module of ours with inherited descriptors.

        `-P` keeps the working folder out of its module path, where any `json.py` would
        be found first; `-u` keeps what it prints from being lost when it dies.
        """
        return [self.python, "-P", "-u", "-m", module, *map(str, descriptors)]

    def environment(self) -> dict[str, str]:
        """The worker's environment: ours, without what would mislead another Python."""
        hidden = () if self.ours else _FOREIGN
        inherited = {name: value for name, value in os.environ.items() if name not in hidden}
        return {**inherited, **self.variables}

    def module_path(self) -> tuple[str, ...] | None:
        """The `sys.path` for the worker; None leaves another interpreter its own."""
        if not self.ours:
            return None
        return tuple(str(Path.cwd()) if entry == "" else entry for entry in sys.path)

    def ask(self, module: str, *arguments: str, kind: type[T], longest: float | None = None) -> T:
        """The value that a module of vqa-engine, run as a program, passes to `say`.

        Raises:
            InterpreterError: it cannot be started, has no vqa-engine of this version, or
                answers nothing within `longest` seconds.
        """
        command = [self.python, "-P", "-m", module, *arguments]
        environment = self.environment()
        if path := self.module_path():
            environment["PYTHONPATH"] = os.pathsep.join(path)
        try:
            code, output, errors = _ran(command, environment, longest)
        except OSError as error:
            raise self.cannot_start(error) from error
        except subprocess.TimeoutExpired as error:
            raise self.did_not_greet(f"nothing within {longest:g} seconds", "") from error
        try:
            said = msgspec.json.decode(output.splitlines()[-1], type=_Statement)
            self.compare(said.version, said.python, same=True)
            return msgspec.json.decode(said.value, type=kind)
        except (IndexError, msgspec.MsgspecError) as error:
            why = errors.decode(errors="replace")
            raise self.did_not_greet(f"exit code {code}", why) from error

    def cannot_start(self, error: OSError) -> InterpreterError:
        """The error for a program that the system does not start."""
        reason = error.strerror or str(error)
        return self._error(
            f"The interpreter {self.python} of {self.label!r} cannot be started: {reason}. "
            "Give the path of a Python interpreter."
        )

    def did_not_greet(self, how: str, said: str) -> InterpreterError:
        """The error for a program that ended, or went on, without a greeting."""
        if "No module named" in said and "vqa_engine" in said:
            return self._error(
                f"The interpreter {self.python} has no vqa-engine. "
                f"Install it there: {self._install(version())}",
                said,
            )
        return self._error(
            f"The interpreter {self.python} of {self.label!r} did not start a worker ({how}). "
            f"It must be Python {_OLDEST} or newer with vqa-engine. Its last output was: "
            f"{_last_line(said) or 'none'}",
            said,
        )

    def compare(self, theirs: str, python: str, *, same: bool) -> None:
        """Compare versions; `same` says whether the messages are the same as ours.

        Raises:
            InterpreterError: the other vqa-engine is another one.
        """
        own = version()
        if theirs != own or not same:
            raise self._error(
                f"The interpreter {self.python} (Python {python}) has vqa-engine "
                f"{theirs or 'of an unknown version'}, and this one is {own}. "
                f"Install the same version there: {self._install(own)}"
            )

    def _install(self, wanted: str) -> str:
        return f"{self.python} -m pip install vqa-engine=={wanted}"

    def _error(self, message: str, said: str = "") -> InterpreterError:
        return InterpreterError(message, label=self.label, python=self.python, detail=said)


def _ran(
    command: list[str], environment: Mapping[str, str], longest: float | None
) -> tuple[int, bytes, bytes]:
    """A program's exit code, output and errors; nothing that it started is left.

    Into files, because a process that it leaves behind would hold a pipe open.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it did not end in time.
    """
    mark = new_mark()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                timeout=longest,
                env={**environment, MARK: mark},
                check=False,
            )
        finally:
            end_marked(mark)
        for file in (output, errors):
            file.seek(0)
        return done.returncode, output.read(), errors.read()


def say(value: object) -> None:
    """Answer `Interpreter.ask`, on a line of its own: libraries print what they like before."""
    said = _Statement(version(), platform.python_version(), msgspec.Raw(msgspec.json.encode(value)))
    sys.stdout.write(f"\n{msgspec.json.encode(said).decode()}\n")


def version() -> str:
    """The version of the vqa-engine that runs here, empty when it is not installed."""
    try:
        return metadata.version("vqa-engine")
    except metadata.PackageNotFoundError:
        return ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
