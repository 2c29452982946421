"""Which column of a table is which part of a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct, field, structs

from vqa_engine.errors import ConfigurationError
from vqa_engine.questions import templates

ROW = "@row"
"""A column that every table has: the row's number, from 0."""

INDEX = "index"
"""VLMEvalKit's column of ids."""

ROTATIONS = 1_000_000
"""What VLMEvalKit adds to the id of a question for each rotation of its choices."""


class Derived(Struct, frozen=True, forbid_unknown_fields=True):
    """A cell with something done to it.

    `modulo` and `divide` are of whole numbers; `form` (written `as`) says how an id or the
    right choice is written: `int`, or `index` (from 0), `letter` or `text`.
    """

    column: str
    modulo: int | None = None
    divide: int | None = None
    form: Literal["int", "index", "letter", "text"] | None = field(default=None, name="as")


Cell = str | Derived
"""A column's name, a template such as `{image_id}.jpg`, or a column with something done to it."""


class Columns(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The columns of each part; None where a table has no such part.

    `image` is the first picture, `images` are all of them. `choices` is one column with a
    list, or a column for each. `lists` are the columns whose text holds a list: `literal`
    for Python's or JSON's notation, else the separator. `where` keeps the rows whose columns
    have one of these values. `empty` are texts that mean an empty cell, such as `nan`.
    `inside` says that the options are in the question's text, and how many there are: they
    count as the choices A, B, …
    """

    question: Cell
    image: Cell | None = None
    images: tuple[str, ...] = ()
    id: Cell = ROW
    image_id: Cell | None = None
    answers: Cell | tuple[str, ...] | None = None
    choices: str | tuple[str, ...] | None = None
    right: Cell | None = None
    group: Cell | None = None
    question_type: Cell | None = None
    answer_type: Cell | None = None
    labels: Mapping[str, Cell] = {}
    lists: Mapping[str, str] = {}
    where: Mapping[str, str | tuple[str, ...]] = {}
    empty: tuple[str, ...] = ()
    inside: int | None = None

    @property
    def pictures(self) -> tuple[Cell, ...]:
        """The columns of all images."""
        return self.images or ((self.image,) if self.image is not None else ())

    def names(self) -> set[str]:
        """Every column that is read."""
        several = (self.answers, self.choices, *self.pictures, *self.labels.values())
        flat = [one for part in several for one in (part if isinstance(part, tuple) else (part,))]
        parts = (self.id, self.image_id, self.right, self.group, self.question)
        flat += [*parts, self.question_type, self.answer_type]
        used = {name for one in flat if one is not None for name in _used(one)}
        return (used | self.where.keys()) - {ROW}

    def keeps(self, row: Mapping[str, object]) -> bool:
        """Whether a row is one of those that `where` keeps."""
        return all(
            str(row.get(column)) in ((values,) if isinstance(values, str) else values)
            for column, values in self.where.items()
        )


_GUESSES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "image_path", "img", "picture", "photo", "file", "filename", "file_name"),
    "question": ("question", "text", "query"),
    "answers": ("answers", "answer", "label", "ground_truth", "gt"),
    "id": ("question_id", "questionid", "id", "qid", "index"),
    "image_id": ("image_id", "imageid"),
    "choices": ("choices", "options"),
    "right": ("right",),
    "group": ("group", "g_index"),
    "question_type": ("question_type",),
    "answer_type": ("answer_type",),
}
"""The names by which a part is found when nobody says which column it is, any case."""

_LETTERS = "ABCDEFGHIJ"


def guessed(known: Iterable[str], given: Mapping[str, str]) -> Columns:
    """The columns of a table, as `given` says and else by their names.

    Raises:
        ConfigurationError: there is no column for image or question, or `given` names a
            part or column that does not exist.
    """
    header = list(known)
    _check(given, header)
    found: dict[str, object] = {}
    lower = {name.strip().lower(): name for name in reversed(header)}
    for part, guesses in _GUESSES.items():
        match = given.get(part) or next((lower[one] for one in guesses if one in lower), None)
        if match is not None:
            found[part] = match
    letters = tuple(letter for letter in _LETTERS if letter in header)
    if "choices" not in found and letters[:2] == ("A", "B"):
        found["choices"] = letters
    if "choices" in found and "right" not in found and "answers" in found:
        found["right"] = found["answers"]
    missing = [part for part in ("image", "question") if part not in found]
    if missing:
        named = " ".join(f"--columns {part}=COLUMN" for part in missing)
        raise ConfigurationError(
            f"No column is the {' or the '.join(missing)}; the columns are {_listed(header)}. "
            f"Name {'it' if len(missing) == 1 else 'them'} with {named}."
        )
    return Columns(
        **found,  # type: ignore[arg-type]
        labels=_labels(header, found),
        lists=_lists(found),
    )


def rotated(columns: Columns) -> Columns:
    """The columns of a table in which rows are rotations of others, as its ids say."""
    turn = Derived(INDEX, divide=ROTATIONS)
    return structs.replace(
        columns,
        group=columns.group or Derived(INDEX, modulo=ROTATIONS),
        labels={**columns.labels, "rotation": turn},
    )


def _used(wanted: Cell) -> set[str]:
    if isinstance(wanted, Derived):
        return {wanted.column}
    return templates.names(wanted) if "{" in wanted else {wanted}


def _check(given: Mapping[str, str], header: list[str]) -> None:
    for part, column in given.items():
        if part not in _GUESSES:
            raise ConfigurationError(
                f"{part!r} is not a part of a question; --columns takes {', '.join(_GUESSES)}."
            )
        if column not in header:
            raise ConfigurationError(
                f"There is no column {column!r} for the {part}; the columns are {_listed(header)}."
            )


def _labels(header: Iterable[str], found: Mapping[str, object]) -> dict[str, str]:
    """Columns that can serve to break scores down."""
    used = set(found.values()) | set(found.get("choices") or ())  # type: ignore[call-overload]
    wanted = ("category", "l2-category", "subject", "split", "hint", "type", "cluster")
    return {name: name for name in header if name.lower() in wanted and name not in used}


def _lists(found: Mapping[str, object]) -> dict[str, str]:
    """A column of this plural name may hold a list as text."""
    names = (found.get("answers"), found.get("choices"))
    plural = ("answers", "choices", "options")
    return {name: "literal" for name in names if isinstance(name, str) and name.lower() in plural}


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
