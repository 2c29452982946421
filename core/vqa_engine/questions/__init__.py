"""Question sets: one module per format, all behind `load_questions`.

A set is checked as a whole when it is loaded, so a broken file stops a run before any
model is there. Its questions are made one by one while iterating, and images are not
touched at all: `vqa_engine.images` opens them.

Other packages add sets and formats by an entry point in the group
`vqa_engine.question_sets`. A name such as `shapes` is a set of its own, a name that begins
with a dot, such as `.jsonl`, is the format of files that end so. Either's object is a
function from a `Source` to a `QuestionSet`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.selection import select
from vqa_engine.questions.source import Source

__all__ = ["GivenQuestions", "QuestionSet", "Source", "load_questions"]

FORMS = (
    "'shapes' or 'shapes:seed=3,count=500' (built in), a table (.csv, .tsv, .xlsx, .parquet) with "
    "the columns image, question and answer, a .jsonl file with one question a line, a .json "
    "file of questions (VQA v2's with --annotations and --images), or a folder of pictures "
    "with --ask"
)

DEFAULT = "shapes"
"""What is asked where no set is named."""

OWN = (DEFAULT, ".csv", ".json", ".jsonl", ".parquet", ".tsv", ".xlsx")
"""The names that `FORMS` speaks of."""


def load_questions(  # noqa: PLR0913 - one keyword per command-line option
    source: str | Path | None = None,
    *,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    ask: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> QuestionSet:
    """Load and check a question set.

    `source` is `shapes` (what is asked where it is None), `shapes:seed=3,count=500`, a file
    (.csv, .tsv, .xlsx, .parquet, .jsonl or .json), or a folder of pictures, all of which are
    then asked the question `ask`. `annotations` is VQA v2's second file; without it there are
    no ground truths. `images` is the folder that image paths start from and must not leave, by
    default the questions file's own. `columns` says which column of a table is which part of a
    question, such as `{"image": "file"}`, where its name does not say it. `sample` keeps
    that many questions drawn with `seed`, `limit` the first ones of what is left; both keep
    the order and complete the groups that they begin, and asking for more than there are is
    no fault.

    Raises:
        ConfigurationError: an argument is wrong, or names nothing that exists.
        QuestionSetError: a file is broken; file, line and question are named.
    """
    questions = _loaded(source, _path(annotations), _path(images), columns or {}, ask)
    return select(questions, limit=limit, sample=sample, seed=seed)


def _loaded(
    source: str | Path | None,
    annotations: Path | None,
    images: Path | None,
    columns: Mapping[str, str],
    ask: str | None,
) -> QuestionSet:
    text = DEFAULT if source is None else str(source)
    if ask is not None:
        return _folder_of_pictures(Path(text), ask, annotations or images or columns)
    name, _, options = text.partition(":")
    known = plugins.names(plugins.QUESTION_SETS)
    if name in known and not name.startswith("."):
        wanted = Source(
            text=text, options=options, annotations=annotations, images=images, columns=columns
        )
    else:
        name, path = _checked(Path(text), known)
        wanted = Source(
            text=text,
            path=path,
            annotations=annotations,
            images=_folder(images, path),
            columns=columns,
        )
    # Whoever names a file did not ask for a format by its name.
    unasked = source is None or name.startswith(".")
    plugin = plugins.select(plugins.QUESTION_SETS, name, default=unasked)
    if not plugin.is_foreign:
        return set_here(plugin, wanted)
    from vqa_engine.questions.apart import opened

    return opened(plugin, wanted)


def set_here(plugin: str | Plugin, source: Source) -> QuestionSet:
    """The set that a plugin makes of a source, with its code in this process.

    Raises:
        ConfigurationError, QuestionSetError: as `load_questions`.
    """
    made = plugins.load(plugins.QUESTION_SETS, plugin)(source)
    if not isinstance(made, QuestionSet):
        name = plugin if isinstance(plugin, str) else plugin.name
        raise ConfigurationError(
            f"The question set {name!r} gave {type(made).__name__}, which is no QuestionSet. "
            "Its author has to change that."
        )
    return made


def _folder_of_pictures(folder: Path, ask: str, others: object) -> QuestionSet:
    from vqa_engine.questions.table.folder import Folder
    from vqa_engine.questions.table.table_set import TableSet

    if not folder.is_dir():
        raise ConfigurationError(f"--ask goes with a folder of pictures; {str(folder)!r} is none.")
    if others:
        raise ConfigurationError("--ask goes with a folder of pictures and nothing else.")
    table = Folder.open(folder, ask)
    return TableSet.load(table, table.columns, folder)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _checked(path: Path, known: list[str]) -> tuple[str, Path]:
    """The format's name and the path, if it is a file of a form that is read."""
    suffix = path.suffix.lower()
    if "\0" in str(path):
        problem = "has a NUL in its name, which no file has"
    elif path.is_dir():
        raise ConfigurationError(
            f"{str(path)!r} is a folder: give --ask 'QUESTION' to put one question to all its "
            "pictures, or name the file with the questions."
        )
    elif meant := _meant(path):
        raise ConfigurationError(f"There is no question set {str(path)!r}; did you mean {meant!r}?")
    elif suffix not in known:
        problem = "is not a question set"
    elif not path.exists():
        problem = "does not exist"
    elif not path.is_file():
        problem = "is a pipe or a device, not a file"
    else:
        return suffix, path
    raise ConfigurationError(f"The question set {str(path)!r} {problem}; give {_forms(known)}.")


def _meant(path: Path) -> str | None:
    """The file with nearly the name of one that does not exist."""
    if path.exists() or not path.parent.is_dir():
        return None
    close = get_close_matches(path.name, os.listdir(path.parent), n=1, cutoff=0.75)  # noqa: PTH208
    return str(path.with_name(close[0])) if close else None


def _folder(images: Path | None, file: Path) -> Path:
    """The image root as an absolute path, for a worker may have another current folder."""
    if images is not None and not images.is_dir():
        raise ConfigurationError(f"The image folder {str(images)!r} is not a folder.")
    return (images or file.parent).absolute()


def _forms(known: list[str]) -> str:
    """What may be given, the sets and formats of other packages included."""
    others = [name for name in known if name not in OWN]
    more = f"; installed beside these: {', '.join(others)}" if others else ""
    return f"{FORMS}{more}"
