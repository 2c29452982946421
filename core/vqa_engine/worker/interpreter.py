"""Which Python runs a worker, and whether it can."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from attrs import frozen

from vqa_engine.adapter import AdapterSpec
from vqa_engine.errors import InterpreterError
from vqa_engine.worker.messages import PROTOCOL, Hello

MODULE = "vqa_engine.worker.child"
OLDEST = "3.11"

_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV")
"""Variables that lead one interpreter to another's modules."""


@frozen
class Interpreter:
    """A worker's Python. `ours` says whether it is the one that runs the host.

    Two virtual environments share one binary, so a path is compared as it is given,
    with no link followed.
    """

    label: str
    python: str
    ours: bool

    @classmethod
    def of(cls, spec: AdapterSpec) -> Interpreter:
        """The interpreter that a spec asks for; a bare `~` is the home folder."""
        own = os.path.abspath(sys.executable)  # noqa: PTH100  Path.resolve follows links
        asked = own if spec.python is None else os.path.abspath(spec.python.expanduser())  # noqa: PTH100
        return cls(spec.label, asked, asked == own)

    def command(self, descriptors: Sequence[int]) -> list[str]:
        """The command of a worker.

        `-P` keeps the working folder out of its module path, where any `json.py` would
        be found first; `-u` keeps what it prints from being lost when it dies.
        """
        return [self.python, "-P", "-u", "-m", MODULE, *map(str, descriptors)]

    def environment(self) -> dict[str, str]:
        """The worker's environment: ours, without what would mislead another Python."""
        hidden = () if self.ours else _FOREIGN
        return {name: value for name, value in os.environ.items() if name not in hidden}

    def module_path(self) -> tuple[str, ...] | None:
        """The `sys.path` for the worker; None leaves another interpreter its own."""
        if not self.ours:
            return None
        return tuple(str(Path.cwd()) if entry == "" else entry for entry in sys.path)

    def check(self, hello: Hello) -> None:
        """Compare versions.

        Raises:
            InterpreterError: the worker's vqa-engine is another one.
        """
        own = version()
        if (hello.version, hello.protocol) != (own, PROTOCOL):
            raise self._error(
                f"The interpreter {self.python} (Python {hello.python}) has vqa-engine "
                f"{hello.version or 'of an unknown version'}, and this one is {own}. "
                f"Install the same there: {self._install(own)}"
            )

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
            f"It must be a Python {OLDEST} or newer with vqa-engine. It said: "
            f"{_last_line(said) or 'nothing'}",
            said,
        )

    def _install(self, wanted: str) -> str:
        return f"{self.python} -m pip install vqa-engine=={wanted}"

    def _error(self, message: str, said: str = "") -> InterpreterError:
        return InterpreterError(message, label=self.label, python=self.python, detail=said)


def version() -> str:
    """The version of the vqa-engine that runs here, empty when it is not installed."""
    try:
        return metadata.version("vqa-engine")
    except metadata.PackageNotFoundError:
        return ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
