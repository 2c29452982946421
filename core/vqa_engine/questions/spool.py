"""Questions kept in a temporary file: a set of any size needs eight bytes of memory each."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from array import array
from collections.abc import Mapping
from typing import IO

from msgspec import Struct, field, msgpack

from vqa_engine.adapter import QuestionId
from vqa_engine.files import writing

_WHERE = "The temporary file of the questions (TMPDIR names its folder)"


class Record(Struct, frozen=True, omit_defaults=True):
    """One question as it is kept: `images` are references that the set resolves to files.

    `number` is the row's place in its file, from 1, as messages give it.
    """

    question_id: QuestionId
    text: str
    number: int
    images: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    image_id: QuestionId | None = None
    question_type: str | None = None
    answer_type: str | None = None
    choices: tuple[str, ...] = ()
    right: int | None = None
    group: QuestionId | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class Spool:
    """Records in the order they came; any of them can be read again."""

    def __init__(self) -> None:
        # the file has no name, so that nothing is left behind whatever ends the process
        with writing(_WHERE):
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="vqa-engine-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._ends = array("Q", (0,))
        self._sha = hashlib.sha256()
        self._encode = msgpack.Encoder(order="sorted").encode
        self._decode = msgpack.Decoder(Record).decode

    def add(self, record: Record) -> None:
        """Keep one more record.

        Raises:
            UnicodeEncodeError: its text is not valid Unicode.
            OverflowError: an id needs more than 64 bits.
            OutputError: there is no room for it.
        """
        data = self._encode(record)
        self._sha.update(data)
        with writing(_WHERE):
            self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def close(self) -> None:
        """Make what was added readable; nothing is added after it."""
        with writing(_WHERE):
            self._file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> Record:
        start, end = self._ends[place], self._ends[place + 1]
        return self._decode(os.pread(self._file.fileno(), end - start, start))

    def digest(self) -> str:
        """SHA-256 (hex) over all records."""
        return self._sha.hexdigest()
