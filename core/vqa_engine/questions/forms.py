"""The engine's own question sets and formats, as the entry points name them."""

from __future__ import annotations

import re

from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.source import Source

_SHAPES_OPTIONS = ("seed", "count")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


def shapes(source: Source) -> QuestionSet:
    """The built-in questions about drawn shapes.

    Raises:
        ConfigurationError: an option is wrong.
    """
    # the drawing code is needed for this one set only
    from vqa_engine.questions.shapes import ShapesSet

    source.refuse("shapes", annotations=source.annotations, images=source.images)
    return ShapesSet(**{name: _number(name, value) for name, value in source.pairs().items()})


def json_lines(source: Source) -> QuestionSet:
    """A file with one question a line.

    Raises:
        ConfigurationError: annotations were given, and it holds its own.
        QuestionSetError: the file is broken.
    """
    from vqa_engine.questions.jsonl import JsonLines

    source.refuse("a .jsonl file", annotations=source.annotations)
    return JsonLines.load(source.file, source.folder)


def vqa_v2(source: Source) -> QuestionSet:
    """A VQA v2 questions file, with its annotations if they were given.

    Raises:
        QuestionSetError: a file is broken.
    """
    from vqa_engine.questions.vqa_v2 import VqaV2

    return VqaV2.load(source.file, source.annotations, source.folder)


def _number(option: str, value: str) -> int:
    if option not in _SHAPES_OPTIONS or not _WHOLE_NUMBER.fullmatch(value):
        given = f"{option}={value}" if value else option
        raise ConfigurationError(
            f"{given!r} is no option of the shapes questions; the options are "
            f"{' and '.join(_SHAPES_OPTIONS)}, whole numbers, as in 'shapes:seed=3,count=500'."
        )
    return int(value)
