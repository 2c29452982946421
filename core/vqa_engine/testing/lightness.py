"""What importing a plugin brings along: `python -m vqa_engine.testing.lightness TARGET MODULE…`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint

from vqa_engine.interpreter import Interpreter, say
from vqa_engine.plugins.entry_points import ADAPTERS, imported

LONGEST = 120.0
"""Seconds until an import counts as hung."""


def imported_by(target: str, heavy: Sequence[str]) -> tuple[str, ...]:
    """Which of these modules `module:name` imports before `load`, seen in a fresh process.

    Raises:
        InterpreterError: it cannot be imported, or has no estimate; `detail` is the traceback.
    """
    ours = Interpreter.of("vqa-engine")
    return ours.ask(__name__, target, *heavy, kind=tuple[str, ...], longest=LONGEST)


def _main(target: str, *heavy: str) -> None:
    imported(EntryPoint("tested", target, ADAPTERS))().memory_profile()
    say(sorted(set(heavy) & set(sys.modules)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
