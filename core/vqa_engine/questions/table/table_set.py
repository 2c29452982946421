"""`TableSet`: a question set over the rows of any table."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from vqa_engine.adapter import Question, QuestionId
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.presence import check_truths
from vqa_engine.questions.spool import Record, Spool
from vqa_engine.questions.table.columns import ROW, Columns
from vqa_engine.questions.table.reading import Row, record_of

Keep = Callable[[Row], bool]


class Table(Protocol):
    """Rows of a file or of several, in a fixed order."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def file(self) -> Path:
        """The file, for messages."""

    @property
    def header(self) -> tuple[str, ...] | None:
        """The columns that every row has, None where each row has its own."""

    def rows(self, columns: Columns) -> Iterable[tuple[int, Row]]:
        """(number, row) from the first; the number is what messages name, from 1.

        An image is a path's text, or a mapping with `path` for one that lies in the table.

        Raises:
            QuestionSetError: the file cannot be read.
        """

    def pictures(self, columns: Columns, root: Path) -> Pictures:
        """Where the images are; `root` is the folder that paths start from."""


class Pictures(Protocol):
    """Turns a row's references into image files."""

    @property
    def root(self) -> Path | None:
        """The folder that the files must not leave, None where the engine wrote them itself."""

    @property
    def local(self) -> bool:
        """Whether references are paths below `root`, so that their presence can be checked."""

    def paths(self, record: Record) -> tuple[Path, ...]:
        """The files of a question's images, in order."""


@frozen
class Files:
    """Images that are files already."""

    root: Path | None
    local: bool = True

    def paths(self, record: Record) -> tuple[Path, ...]:
        """As `Pictures.paths`."""
        root = self.root or Path()
        return tuple(root / name for name in record.images)


@frozen(eq=False)
class TableSet:
    """A checked table. It holds some 24 bytes a question; the rest is in a temporary file."""

    name: str
    path: Path
    _pictures: Pictures = field(repr=False)
    _spool: Spool = field(repr=False)
    _images: array[int] = field(repr=False)
    _groups: array[int] | None = field(repr=False)
    max_images: int = 1
    """The most images of one question."""

    @classmethod
    def load(cls, table: Table, columns: Columns, root: Path, keep: Keep | None = None) -> TableSet:
        """Read and check every row once; no image is opened.

        Raises:
            QuestionSetError: a row is no question, an id occurs twice, or there is no
                question.
        """
        _check_header(table, columns)
        pictures = table.pictures(columns, root)
        made = _Building(table)
        for place, (number, row) in enumerate(table.rows(columns)):
            if columns.keeps(row) and (keep is None or keep(row)):
                made.add(_record(table, columns, {**row, ROW: place}, number))
        return made.finished(pictures)

    def __len__(self) -> int:
        return len(self._spool)

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(len(self)))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given."""
        return map(self._question, places)

    def image_keys(self) -> Sequence[int]:
        """A number for each question's image, equal where the table says that images are."""
        return self._images

    @property
    def names_files(self) -> bool:
        """Whether the images are files that the table names."""
        return self._pictures.local

    def group_keys(self) -> Sequence[int] | None:
        """A number for each question's group, None for a table without groups."""
        return self._groups

    def digest(self) -> str:
        """SHA-256 (hex) over the questions and the names of their images."""
        return self._spool.digest()

    def _question(self, place: int) -> Question:
        record = self._spool[place]
        image, *further = self._pictures.paths(record) or (b"",)  # fails alone, as empty
        return Question(
            question_id=record.question_id,
            image=image,
            images=tuple(further),
            text=record.text,
            answers=record.answers,
            image_id=record.image_id,
            question_type=record.question_type,
            answer_type=record.answer_type,
            choices=record.choices,
            right=record.right,
            group=record.group,
            labels=record.labels,
            origin=f"{self.path.name}:{record.number}",
            image_root=self._pictures.root,
        )


class _Building:
    """What `TableSet.load` gathers."""

    def __init__(self, table: Table) -> None:
        self._table, self._spool = table, Spool()
        self._images, self._groups = array("q"), array("q")
        self._numbers: dict[QuestionId, int] = {}
        self._keys: dict[Hashable, int] = {}
        self._grouped: dict[Hashable, int] = {}
        self._most, self._bare, self._truths = 1, 0, 0

    def add(self, record: Record) -> None:
        first = self._numbers.setdefault(record.question_id, record.number)
        if first != record.number:
            raise self._error(f"duplicate question_id (first in row {first})", record)
        try:
            self._spool.add(record)
        except (UnicodeEncodeError, OverflowError, TypeError) as error:
            raise self._error(f"it cannot be stored: {error}", record) from error
        key = record.images if record.image_id is None else record.image_id
        self._images.append(self._keys.setdefault(key, len(self._keys)))
        self._group(record)
        self._most = max(self._most, len(record.images))
        self._truths += bool(record.answers)

    def finished(self, pictures: Pictures) -> TableSet:
        file, count = self._table.file, len(self._spool)
        if not count:
            raise QuestionSetError("it holds no question", file=file)
        self._spool.close()
        check_truths(file, self._truths, count)
        return TableSet(
            name=self._table.name,
            path=file,
            pictures=pictures,
            spool=self._spool,
            images=self._images,
            groups=self._groups if len(self._groups) else None,
            max_images=self._most,
        )

    def _group(self, record: Record) -> None:
        if record.group is None and not self._groups:
            return
        if not self._groups:
            self._groups.extend(range(-1, -len(self._spool), -1))  # none of those has a group
        key = ("alone", len(self._spool)) if record.group is None else record.group
        self._groups.append(self._grouped.setdefault(key, len(self._grouped)))

    def _error(self, reason: str, record: Record) -> QuestionSetError:
        return QuestionSetError(
            reason, file=self._table.file, line=record.number, question_id=record.question_id
        )


def _check_header(table: Table, columns: Columns) -> None:
    if table.header is None:
        return
    absent = sorted(columns.names() - set(table.header))
    if absent:
        known = ", ".join(map(repr, table.header))
        raise QuestionSetError(
            f"there is no column {absent[0]!r}; the columns are {known}", file=table.file
        )


def _record(table: Table, columns: Columns, row: Row, number: int) -> Record:
    try:
        return record_of(columns, row, number)
    except QuestionSetError as error:
        raise QuestionSetError(error.reason, file=table.file, line=number) from None
