"""Checks before a model is loaded: are the image files, choices and ground truths there?

A folder's names are listed once, which costs a fraction of looking at each file, also over
a network; no image is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions.ordering import image_keys
from vqa_engine.questions.question_set import QuestionSet

log = logging.getLogger(__name__)

SHOWN = 3
"""Missing files that a message names."""

NO_CHOICES = (
    "{} has no choices to choose from: name their column with --columns choices=COLUMN, or leave "
    "out --choose (GenerationPlan.choose), so that answers are generated."
)


def check_images(questions: QuestionSet) -> None:
    """Look for the image files of a set that names some.

    Some missing files are logged as a warning, for a run can do without a few pictures.

    Raises:
        QuestionSetError: none of them exists.
    """
    if not names_files(questions):
        return
    first: dict[int, int] = {}
    for place, key in enumerate(image_keys(questions)):
        first.setdefault(key, place)
    folders: dict[str, frozenset[str]] = {}
    count, missing = 0, list[Question]()
    for question in questions.at(first.values()):
        paths = [one for one in question.all_images if isinstance(one, Path)]
        count += 1
        if not all(_exists(str(path), folders) for path in paths):
            missing.append(question)
    if missing:
        _report(questions.name, count, missing)


def check_choices(questions: QuestionSet) -> None:
    """Look for the choices of a set whose questions are to be answered by choosing.

    Questions without choices are answered by generating; some of them are logged as a warning.

    Raises:
        ConfigurationError: no question has choices.
    """
    without = sum(not question.choices for question in questions)
    if without == len(questions):
        raise ConfigurationError(NO_CHOICES.format(questions.name))
    if without:
        log.warning(
            "%s: %d of %d questions have no choices, and are answered by generating",
            *(questions.name, without, len(questions)),
        )


def names_files(questions: QuestionSet) -> bool:
    """Whether a set's images are files that somebody else has to provide."""
    return bool(getattr(questions, "names_files", False))


def _report(name: str, count: int, missing: Sequence[Question]) -> None:
    shown = ", ".join(f"{one.image!s} ({one.origin})" for one in missing[:SHOWN])
    more = ", …" if len(missing) > SHOWN else ""
    if len(missing) == count:
        none = f"none of its {count} images exists" if count > 1 else "its image does not exist"
        slashes = os.sep == "/" and all("\\" in str(one.image) for one in missing)
        todo = (
            "Write their paths with / for \\"
            if slashes
            else "Give their folder with --images, or in a task's card as `images` under [data]"
        )
        raise QuestionSetError(f"{name}: {none}: {shown}{more}. {todo}.")
    log.warning(
        "%s: %d of %d images are missing, and their questions will fail: %s%s",
        *(name, len(missing), count, shown, more),
    )


def check_truths(file: Path, with_answers: int, count: int) -> None:
    """Log a warning for questions without ground truths."""
    if with_answers == 0:
        log.warning("%s: it has no ground truths, so nothing will be scored", file)
    elif with_answers < count:
        log.warning(
            "%s: %d of %d questions have no ground truth", file, count - with_answers, count
        )


def _exists(path: str, folders: dict[str, frozenset[str]]) -> bool:
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = _listed(folder)
    return name in folders[folder] or os.path.exists(path)  # noqa: PTH110


def _listed(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return frozenset()
