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

from pathlib import Path

from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.selection import select
from vqa_engine.questions.source import Source

__all__ = ["QuestionSet", "Source", "load_questions"]

FORMS = (
    "'shapes' or 'shapes:seed=3,count=500' (built in), a .jsonl file with one question a line, "
    "or a VQA v2 questions .json file with --annotations and --images"
)

OWN = ("shapes", ".json", ".jsonl")
"""The names that `FORMS` speaks of."""


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
    text = str(source)
    name, _, options = text.partition(":")
    known = plugins.names(plugins.QUESTION_SETS)
    if name in known and not name.startswith("."):
        wanted = Source(text=text, options=options, annotations=annotations, images=images)
    else:
        name, path = _checked(Path(source), known)
        wanted = Source(text=text, path=path, annotations=annotations, images=_folder(images, path))
    made = plugins.load(plugins.QUESTION_SETS, name)(wanted)
    if not isinstance(made, QuestionSet):
        raise ConfigurationError(
            f"The question set {name!r} gave {type(made).__name__}, which is no QuestionSet. "
            "Its author has to change that."
        )
    return made


def _checked(path: Path, known: list[str]) -> tuple[str, Path]:
    """The format's name and the path, if it is a file of a form that is read."""
    suffix = path.suffix.lower()
    if suffix not in known:
        problem = "is a folder" if path.is_dir() else "is not a question set"
    elif path.is_dir():
        problem = "is a folder"
    elif not path.exists():
        problem = "does not exist"
    else:
        return suffix, path
    raise ConfigurationError(f"The question set {str(path)!r} {problem}; give {_forms(known)}.")


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
