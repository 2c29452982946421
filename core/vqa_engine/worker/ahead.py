"""A worker that starts while its host is still importing, before anybody knows what for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import frozen

from vqa_engine.interpreter import Interpreter
from vqa_engine.worker.group import Ends, discard, spawn
from vqa_engine.worker.log import WorkerLog


@frozen
class _Ahead:
    """It prints into a nameless log of its own, until a model's log is known."""

    ends: Ends
    python: str
    environment: dict[str, str]
    output: WorkerLog

    def fits(self, interpreter: Interpreter) -> bool:
        """Whether it is what would be started now, and lives."""
        found = interpreter.python, interpreter.environment()
        return found == (self.python, self.environment) and self.ends.process.poll() is None


_waiting: list[_Ahead] = []


@contextmanager
def started_ahead() -> Iterator[None]:
    """Have a worker of this interpreter ready for the first model of the block.

    It ends with the block if nobody took it; where it cannot be started there is none.
    """
    with suppress(OSError):  # the first model's worker says why, if it cannot be started either
        _waiting.append(_started())
    try:
        yield
    finally:
        while _waiting:
            _let_go(_waiting.pop())


def taken(interpreter: Interpreter, output: WorkerLog) -> Ends | None:
    """The worker that waits, if this interpreter in this environment is what it runs.

    What it prints goes to `output` at once if that has no name, or else from its `Load` on.
    """
    try:
        ahead = _waiting.pop()
    except IndexError:
        return None
    if not ahead.fits(interpreter):
        _let_go(ahead)
        return None
    output.succeed(ahead.output)
    return ahead.ends


def _started() -> _Ahead:
    interpreter, output = Interpreter.of("worker"), WorkerLog(None, "worker")
    environment = interpreter.environment()
    try:
        return _Ahead(spawn(interpreter, output), interpreter.python, environment, output)
    except BaseException:
        output.close()
        raise


def _let_go(ahead: _Ahead) -> None:
    discard(ahead.ends)
    ahead.output.close()
