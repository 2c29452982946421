"""What a dead worker's last words mean to the memory backends installed beside it.

A host asks another interpreter by `python -m vqa_engine.worker.last_words TEXT`: that one
may have backends, and with them failure texts, that the host's own environment lacks.
"""

from __future__ import annotations

import sys

from vqa_engine.errors import InterpreterError
from vqa_engine.failures import named
from vqa_engine.interpreter import Interpreter, say
from vqa_engine.memory.backend import TextCause
from vqa_engine.memory.backends import libraries, load

_LONGEST = 20.0
"""Seconds until the other interpreter must have answered."""


def understood(interpreter: Interpreter, text: str) -> tuple[TextCause, str] | None:
    """The cause that the text names and its line; None if it names none."""
    cause = named(text)
    if cause or interpreter.ours or not text.strip():
        return cause
    try:
        return interpreter.ask(
            __name__,
            text.replace("\0", ""),
            kind=tuple[TextCause, str] | None,  # type: ignore[arg-type]  # a type form
            longest=_LONGEST,
        )
    except InterpreterError:
        return None  # it cannot say more; other evidence decides


if __name__ == "__main__":
    for _name in libraries():
        load(_name)  # it was tried apart, and in a process with a mark only what is loaded counts
    say(named(sys.argv[1]))
