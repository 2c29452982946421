"""Submission formats of other packages, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, PluginError
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.questions.posed import Posed, to_score
from vqa_engine.runs.submission import Submission, submission_here
from vqa_engine.scoring.metric import AT_ONCE
from vqa_engine.worker.plugin import PluginProcess

_PIECE, _LARGEST = 1 << 20, 1 << 30
"""Bytes that cross together, and bytes of a file."""


class Writer:
    """A format's servant."""

    def __init__(self, name: str) -> None:
        self._form = submission_here(name)
        self._answered = list[tuple[Question, str]]()
        self._pieces: Iterator[bytes] | None = None

    def facts(self) -> tuple[str, tuple[int, ...]]:
        """The server and the sizes of its sets."""
        return self._form.server, tuple(self._form.counts)

    def add(self, answered: tuple[tuple[Posed, str], ...]) -> None:
        """Some answers that are to be written."""
        self._answered += [(posed.question(), text) for posed, text in answered]

    def more(self) -> bytes:
        """The next bytes of the file, none at its end."""
        if self._pieces is None:
            self._pieces = iter(self._form.encode(iter(self._answered)))
        some, size = list[bytes](), 0
        for piece in self._pieces:
            some.append(piece)
            size += len(piece)
            if size >= _PIECE:
                break
        return b"".join(some)


def submission_apart(plugin: Plugin) -> Submission:
    """The submission of an entry point.

    Raises:
        ConfigurationError: it cannot be used; so does `encode`.
    """
    process = PluginProcess(Writer, plugin, plugin.name)

    def encode(answered: Iterable[tuple[Question, str]]) -> Iterator[bytes]:
        waiting, size = iter(answered), 0
        try:
            while some := tuple(islice(waiting, AT_ONCE)):
                process.call(Writer.add, tuple((to_score(one), text) for one, text in some))
            while piece := process.call_whole(Writer.more):
                size += len(piece)
                if size > _LARGEST:
                    raise PluginError(f"its file has more than {_LARGEST:,} bytes")
                yield piece
        except PluginError as error:
            raise ConfigurationError(process.failed(str(error))) from error

    try:
        server, counts = process.call(Writer.facts)
    except PluginError as error:
        raise ConfigurationError(process.failed(str(error))) from error
    return Submission(server=server, counts=counts, encode=encode)
