"""A worker that says what it was given, whatever it is asked; and what a real one would say."""

from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from vqa_engine.adapter import Answer, MemoryProfile, MemoryReading
from vqa_engine.interpreter import version
from vqa_engine.results import Loaded, Released, Reply
from vqa_engine.worker.messages import (
    PROTOCOL,
    Hello,
    Left,
    Ready,
    Refused,
    Said,
    Vitals,
    encode_to_host,
)
from vqa_engine.worker.wire import HEADER, MAGIC

_PROGRAM = """#!{python} -S
import os, sys
reader, writer = int(sys.argv[-3]), int(sys.argv[-2])

def read(count):
    while count:
        part = os.read(reader, count)
        if not part:
            sys.exit()
        count -= len(part)
        yield part

try:
    for number in range({count}):
        if number:
            head = b"".join(read({header}))
            for part in read(int.from_bytes(head[4:], "big")):
                pass
        data = open({folder!r} + "/" + str(number), "rb").read()
        while data:
            data = data[os.write(writer, data):]
    os.read(reader, 1)
except OSError:
    pass
"""

HELLO = Hello(PROTOCOL, version(), "3.11", 1)
LEFT = Left(Released(residue=0, seconds=0.0))
REFUSED = Refused(kind="RunLocked", message="no", cause="adapter", facts={})


def ready(window: int = 1) -> Ready:
    """The reply to a load."""
    loaded = Loaded(profile=MemoryProfile(), seconds=0.0, memory=MemoryReading(), window=window)
    return Ready(loaded, Vitals())


def said(**facts: Any) -> Said:
    """The answer to the first question, but for these facts."""
    answer = msgspec.Raw(encode_to_host(Reply(answer=Answer("yes"))))
    return Said(**{"begun": 1, "vitals": Vitals(), "replies": (answer,), "turn": 1, **facts})


def framed(message: Any) -> bytes:
    """A message, or its bytes, as it lies on the wire."""
    data = message if isinstance(message, bytes) else encode_to_host(message)
    return HEADER.pack(MAGIC, len(data)) + data


def parrot(folder: Path, says: Sequence[bytes]) -> Path:
    """An interpreter whose worker says the first of these at once, each other after a message."""
    for number, data in enumerate(says):
        (folder / str(number)).write_bytes(data)
    program = folder / "python"
    facts = {"python": sys.executable, "count": len(says), "header": HEADER.size}
    program.write_text(_PROGRAM.format(folder=str(folder), **facts))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
