"""The few lines of a traceback or of a worker's last output that say what happened."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import vqa_engine

LINES = 5
"""Lines that are shown with an error; the run directory's log has them all."""

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line \d+')
_ENGINE = str(Path(vqa_engine.__file__).parent)

_STANDARD = re.compile(r"/lib/python3\.\d+/(?!site-packages/|dist-packages/)")

_NATIVE = "(most recent call first)"
"""What faulthandler writes above a stack, which it prints the other way round."""


def excerpt(detail: str) -> list[str]:
    """The end of `detail`; where that leaves out the adapter's own frame, it comes first.

    The adapter's frame is the innermost one outside the engine and outside installed
    libraries, or, when the adapter is an installed library, outside the engine.
    """
    lines = detail.rstrip().splitlines()
    if _NATIVE in detail:
        lines = _native(lines)
        return lines[:LINES]
    tail = lines[-LINES:]
    own = _own(lines)
    return tail if own is None or set(own) <= set(tail) else [*own, *tail]


def _native(lines: list[str]) -> list[str]:
    """The fault, and the frames of the adapter, the innermost first."""
    stacks = [n for n, line in enumerate(lines) if _NATIVE in line]
    start = next((n for n in stacks if lines[n].startswith("Current thread")), stacks[0])
    fault = next((line for line in lines[:start] if line.startswith("Fatal")), lines[start])
    frames = [line for line in lines[start + 1 :] if _is_foreign(line)]
    return [fault, *frames]


def _own(lines: list[str]) -> list[str] | None:
    frames = [n for n, line in enumerate(lines) if _is_foreign(line)]
    if not frames:
        return None
    outside = [n for n in frames if "site-packages" not in lines[n]]
    if not outside:
        package = _package(lines[frames[0]])
        outside = [n for n in frames if _package(lines[n]) == package]
    return lines[outside[-1] : outside[-1] + 2]


def _is_foreign(line: str) -> bool:
    """Whether it names a frame that is neither the engine's nor the interpreter's."""
    found = _FRAME.match(line)
    if found is None:
        return False
    file = found["file"]
    return not (file.startswith(("<", _ENGINE)) or _STANDARD.search(file))


def _package(line: str) -> str:
    found = _FRAME.match(line)
    parts = PurePath(found["file"]).parts if found else ()
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts else ""
