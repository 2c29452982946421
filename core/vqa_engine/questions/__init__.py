"""Question sets: one module per format, all behind `load_questions`.

A set is checked as a whole when it is loaded, so a broken file stops a run before any
model is there. Its questions are made one by one while iterating, and images are not
touched at all: `vqa_engine.images` opens them.
"""

from __future__ import annotations

import re
from pathlib import Path

from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.jsonl import JsonLines
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.selection import select
from vqa_engine.questions.vqa_v2 import VqaV2

__all__ = ["QuestionSet", "load_questions"]

FORMS = (
    "'shapes' or 'shapes:seed=3,count=500' (built in), a .jsonl file with one question a line, "
    "or a VQA v2 questions .json file with --annotations and --images"
)

_SHAPES_OPTIONS = ("seed", "count")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


def load_questions(  # noqa: PLR0913 - one keyword per command-line option
    source: str | Path = "shapes",
    *,
    annotations: Path | None = None,
    images: Path | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> QuestionSet:
    """Load and check a question set.

    `source` is `shapes`, `shapes:seed=3,count=500`, a `.jsonl` file or a VQA v2 questions
    `.json` file. `annotations` is VQA v2's second file; without it there are no ground
    truths. `images` is the folder that image paths start from and must not leave, by
    default the questions file's own. `sample` keeps that many questions drawn with `seed`,
    `limit` the first ones of what is left; both keep the order, and asking for more than
    there are is no fault.

    Raises:
        ConfigurationError: an argument is wrong, or names nothing that exists.
        QuestionSetError: a file is broken; file, line and question are named.
    """
    questions = _loaded(source, annotations, images)
    return select(questions, limit=limit, sample=sample, seed=seed)


def _loaded(source: str | Path, annotations: Path | None, images: Path | None) -> QuestionSet:
    name = str(source)
    if name.split(":", 1)[0] == "shapes":
        _refuse("shapes", annotations=annotations, images=images)
        return _shapes(name)
    path = _checked(Path(source))
    if path.suffix.lower() == ".jsonl":
        _refuse("a .jsonl file", annotations=annotations)
        return JsonLines.load(path, _folder(images, path))
    return VqaV2.load(path, annotations, _folder(images, path))


def _checked(path: Path) -> Path:
    """The path, if it is a file of a form that is read."""
    if path.suffix.lower() not in {".jsonl", ".json"}:
        problem = "is a folder" if path.is_dir() else "is not a question set"
    elif path.is_dir():
        problem = "is a folder"
    elif not path.exists():
        problem = "does not exist"
    else:
        return path
    raise ConfigurationError(f"The question set {str(path)!r} {problem}; give {FORMS}.")


def _folder(images: Path | None, file: Path) -> Path:
    """The image root as an absolute path, for a worker may have another current folder."""
    if images is not None and not images.is_dir():
        raise ConfigurationError(f"The image folder {str(images)!r} is not a folder.")
    return (images or file.parent).absolute()


def _refuse(form: str, **given: Path | None) -> None:
    for option, value in given.items():
        if value is not None:
            raise ConfigurationError(f"--{option} does not go with {form}; leave it out.")


def _shapes(name: str) -> QuestionSet:
    # the drawing code is needed for this one set only
    from vqa_engine.questions.shapes import ShapesSet

    _, _, text = name.partition(":")
    return ShapesSet(**dict(_shapes_option(part) for part in text.split(",") if part))


def _shapes_option(part: str) -> tuple[str, int]:
    option, _, value = (piece.strip() for piece in part.partition("="))
    if option not in _SHAPES_OPTIONS or not _WHOLE_NUMBER.fullmatch(value):
        raise ConfigurationError(
            f"{part!r} is no option of the shapes questions; the options are "
            f"{' and '.join(_SHAPES_OPTIONS)}, whole numbers, as in 'shapes:seed=3,count=500'."
        )
    return option, int(value)
