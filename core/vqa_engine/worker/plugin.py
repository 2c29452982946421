"""Another package's metric, format, … in a process of its own, so that it cannot harm the host.

Whatever it does, a call has a result of the right type, or an error, in time.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar

from msgspec import DecodeError, Raw

from vqa_engine.adapter.crossing import said
from vqa_engine.errors import (
    ConfigurationError,
    InterpreterError,
    PluginError,
    QuestionSetError,
    ScoringError,
    VqaEngineError,
)
from vqa_engine.interpreter import Interpreter
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.session.notes import wanted
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.messages import Call, Found, Make, Refused, ToHost
from vqa_engine.worker.place import NOT_PLAIN
from vqa_engine.worker.process import Worker, WorkerDied
from vqa_engine.worker.replies import Nonsense
from vqa_engine.worker.servant import name_of, read, written
from vqa_engine.worker.timeouts import Timeouts

LONGEST = 60.0
"""Seconds that an import may take, or one call; one that works through many items gives back
what it has before that."""

WHOLE = 600.0
"""Seconds of a call that goes through a whole set at once."""

_STOP = 2.0
"""Seconds that it gets to end."""

_AS_THEY_ARE: tuple[type[VqaEngineError], ...] = (
    ConfigurationError,
    QuestionSetError,
    ScoringError,
)
"""Errors of ours that a plugin raises on purpose."""

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class PluginProcess(Generic[S]):
    """A servant (`vqa_engine.worker.servant`) in a process, which ends with the last reference.

    `plugin` is what the servant holds. Threads may share it.

    Raises:
        ConfigurationError: the plugin cannot be used; the text says why.
    """

    def __init__(self, kind: type[S], plugin: Plugin, *arguments: object) -> None:
        self.plugin = plugin
        self._lock, self._why = Lock(), ""
        self._output = WorkerLog(None, plugin.name)
        weakref.finalize(self, self._output.close)
        interpreter, limits = Interpreter.of(plugin.name), Timeouts(stop=_STOP)
        self._worker = Worker(interpreter, self._output, limits, Event())
        _open.add(self)
        try:
            self._worker.greet()
            self._exchange(_make(kind, plugin, arguments, interpreter), LONGEST)
        except BaseException as error:
            self.end()
            if isinstance(error, PluginError | InterpreterError | WorkerDied):
                raise ConfigurationError(self.failed(said(error))) from error
            raise

    @classmethod
    def of(cls, kind: type[S], plugin: Plugin, *arguments: str) -> PluginProcess[S]:
        """The process for a servant that somebody has already, or a new one."""
        key = (kind, plugin, arguments)
        found = _shared.get(key)
        if found is None or found._why:
            found = _shared[key] = cls(kind, plugin, *arguments)
        return found

    def failed(self, why: str) -> str:
        """A sentence about the plugin."""
        return f"{self.plugin.title} cannot be used: {why.rstrip('.')}."

    def call(
        self, method: Callable[Concatenate[S, P], T], *arguments: P.args, **_none: P.kwargs
    ) -> T:
        """What a method of the servant gives.

        Raises:
            ConfigurationError, QuestionSetError, ScoringError: the plugin raised it.
            PluginError: it raised something else, gave something that does not fit, or its
                process has ended; the text says so.
        """
        return self._called(LONGEST, method, arguments)

    def call_whole(
        self, method: Callable[Concatenate[S, P], T], *arguments: P.args, **_none: P.kwargs
    ) -> T:
        """The same of a method that goes through a whole set."""
        return self._called(WHOLE, method, arguments)

    def end(self) -> None:
        """End the process; what is called afterwards raises. Idempotent."""
        self._why = self._why or "its process was ended"
        self._worker.end()
        self._output.close()

    def _called(self, seconds: float, method: Callable[..., T], arguments: Any) -> T:
        try:
            data = self._exchange(Call(method.__name__, Raw(written(arguments))), seconds)
            result: T = read(method, data)
        except DecodeError as error:
            raise PluginError(f"what it gives does not fit: {said(error)}") from error
        except NOT_PLAIN as error:
            raise PluginError(f"it cannot be asked: {said(error)}") from error
        return result

    def _exchange(self, message: Make | Call, seconds: float) -> bytes:
        with self._lock:
            if self._why:
                raise PluginError(self._why)
            try:
                reply = self._worker.exchange(message, seconds, _reply)
            except WorkerDied as death:
                how = str(death).replace("The worker", "it", 1).rstrip(".")
                self._why = f"its process is gone: {how}"
                raise PluginError(self._why) from death
            except NOT_PLAIN:
                raise  # nothing was sent
            except BaseException:
                self.end()  # the reply that is under way belongs to no later call
                raise
        for note in reply.notes:
            logging.getLogger(note.logger).log(note.level, "%s: %s", self.plugin.name, note.text)
        if isinstance(reply, Refused):
            _raise(reply)
        return bytes(reply.value)


_open: weakref.WeakSet[PluginProcess[Any]] = weakref.WeakSet()
_shared: weakref.WeakValueDictionary[Any, PluginProcess[Any]] = weakref.WeakValueDictionary()


def end_all() -> None:
    """End all processes of this module: the command that they were for is over."""
    for process in tuple(_open):
        process.end()


def _make(
    kind: type, plugin: Plugin, arguments: tuple[object, ...], interpreter: Interpreter
) -> Make:
    package = plugin.target.partition(":")[0].partition(".")[0]
    path = interpreter.module_path()
    return Make(name_of(kind), Raw(written(arguments)), package, path, wanted())


def _reply(reply: ToHost) -> Found | Refused:
    if isinstance(reply, Found | Refused):
        return reply
    raise Nonsense(f"a {type(reply).__name__} message in reply to a call")


def _raise(refused: Refused) -> NoReturn:
    kind = next((one for one in _AS_THEY_ARE if one.__name__ == refused.kind), PluginError)
    raise kind(refused.message)
