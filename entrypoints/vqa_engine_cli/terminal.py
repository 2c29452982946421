"""What a command writes: text from outside is made visible, and only our own styles are obeyed."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterable
from typing import Any

import click

_MARK = secrets.token_hex(8)
_OWN = {"\033": f"\ufdd0{_MARK}e\ufdd1", "\a": f"\ufdd0{_MARK}b\ufdd1"}
"""Stand for controls of ours until they are written; nobody outside can know them."""

_LONGEST = 1_200
"""Characters of one error or warning: some quote what they were given."""


def _visible(text: str) -> str:
    from vqa_engine.visible import visible  # brings the engine, which --help does without

    return visible(text)


def log_level() -> int:
    """The level from which on records are shown, see `--log-level`."""
    here = click.get_current_context(silent=True)
    chosen = here.find_root().params.get("log_level") if here else None
    return logging.getLevelNamesMapping()[(chosen or "warning").upper()]


class VisibleFormatter(logging.Formatter):
    """Log lines with their names and paths made visible; our warnings without the logger's name."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = _visible(super().format(record))
        if record.levelno < logging.WARNING or not record.name.startswith("vqa_engine"):
            return line
        name = f"{record.levelname.capitalize()}:"
        colour = "red" if record.levelno > logging.WARNING else "yellow"
        line = line.removeprefix(f"{record.levelname} {record.name}: ")
        if not record.exc_info:
            line = one_line(line)
        head = _styled(name, fg=colour) if sys.stderr.isatty() else name
        return f"{head} {line}"


def style(text: object, **how: Any) -> str:
    """Text for `echo` in a colour or in bold (as `click.style`)."""
    return own(_styled(_visible(str(text)), **how))


def _styled(text: str, **how: Any) -> str:
    """As `click.style`; plain where NO_COLOR is set (no-color.org), which click does not read."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **how)


def own(sequence: str) -> str:
    """An escape sequence for `echo` to obey; nothing from outside is in it."""
    for control, mark in _OWN.items():
        sequence = sequence.replace(control, mark)
    return sequence


def one_line(text: str) -> str:
    """The text of an error or a warning on one line, without the middle of what is very long."""
    line = "\\n".join(text.splitlines())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 200]} … {line[-200:]}"


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Write a line; characters that its stream cannot encode are written as escapes."""
    text = _visible(str(message))
    for control, mark in _OWN.items():
        text = text.replace(mark, control)
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, nl=nl)


def write(pieces: Iterable[bytes]) -> None:
    """Write bytes to stdout as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.writelines(pieces)
    sys.stdout.buffer.flush()
