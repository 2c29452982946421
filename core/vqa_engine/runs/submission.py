"""What a submission is, and those whose code runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins

Answered = tuple[Question, str]


@frozen(kw_only=True)
class Submission:
    """One server's file.

    `counts` are the sizes of the sets that it scores; other sets are refused, unless nobody
    knows the sizes and there are none. `encode` gives
    the file's pieces from questions and their answers, "" for none.
    """

    server: str
    counts: tuple[int, ...]
    encode: Callable[[Iterable[Answered]], Iterator[bytes]]


def submission_here(name: str) -> Submission:
    """The submission of this name, with its code in this process.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    found = plugins.load(plugins.SUBMISSIONS, name)
    made = found() if callable(found) else found
    if not isinstance(made, Submission):
        raise ConfigurationError(
            f"The submission {name!r} gives {type(made).__name__}, not a Submission. "
            "Its author has to change that."
        )
    return made
