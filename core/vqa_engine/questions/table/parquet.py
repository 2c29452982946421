"""Parquet: the text columns first, and each image when its question's turn comes.

A single image costs its whole row group (hub files have no page index), so a group is
copied out once, image by image and undecoded, to a content-addressed folder. Memory holds
a few images and some 40 bytes for each one that was copied.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions.spool import Record
from vqa_engine.questions.store import DIGEST, ImageStore
from vqa_engine.questions.table.columns import Columns
from vqa_engine.questions.table.reading import Row
from vqa_engine.questions.table.table_set import Files, Pictures
from vqa_engine.questions.unchanged import Unchanged

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_TEXT_ROWS = 1024
"""Rows of text read at a time."""

_OPEN_FILES = 4
"""Files that stay open: questions come in file order, but for a few about earlier images."""

_IMAGE_ROWS = 8
"""Rows of images read at a time: a few MB."""


@frozen
class Parquet:
    """Files with the same columns, one after the other.

    An image column is a structure `{bytes, path}`, bytes alone, a list of either, or a path.
    `images_at` is another table that has the images, by the text in `image`.
    """

    files: tuple[Path, ...]
    header: tuple[str, ...]
    images_at: ImageTable | None = None
    _store: ImageStore = field(factory=ImageStore)

    @classmethod
    def open(cls, files: Sequence[Path], images_at: ImageTable | None = None) -> Parquet:
        """Look at the first file's schema.

        Raises:
            ConfigurationError: pyarrow is not installed.
            QuestionSetError: a file cannot be read.
        """
        names = tuple(opened(files[0]).schema_arrow.names)
        return cls(tuple(files), names, images_at)

    @property
    def file(self) -> Path:
        """The first file, for messages."""
        return self.files[0]

    @property
    def name(self) -> str:
        """The first file's name."""
        return self.file.name

    def rows(self, columns: Columns) -> Iterator[tuple[int, Row]]:
        """As `Table.rows`: everything but the images' bytes."""
        number = 0
        for file in self.files:
            source = opened(file)
            wanted = columns.names() & set(self.header)
            leaves = _text_leaves(source, wanted)
            bytes_alone: Row = {name: {} for name in wanted - set(leaves.values())}
            for batch in _batches(file, source, _TEXT_ROWS, leaves):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {**row, **bytes_alone}

    def pictures(self, columns: Columns, root: Path) -> Pictures:
        """As `Table.pictures`."""
        import pyarrow as pa

        if self.images_at is not None:
            return JoinedImages(self.images_at, self._store)
        names = [name for name in columns.pictures if isinstance(name, str)]
        schema = opened(self.file).schema_arrow
        kinds = {schema.field(name).type for name in names if name in schema.names}
        kinds.discard(pa.null())  # a file in which no question has so many images
        if kinds and all(map(_holds_bytes, kinds)):
            return PackedImages(self.files, names, self._store)
        return Files(root)


@frozen
class ImageTable:
    """Parquet files that hold images and the text by which questions name them (GQA)."""

    files: tuple[Path, ...]
    key: str
    image: str


class PackedImages:
    """The images of the rows of parquet files, copied out a row group at a time."""

    root: Path | None = None
    local = False

    def __init__(self, files: Sequence[Path], columns: Sequence[str], store: ImageStore) -> None:
        self._columns, self._store = columns, store
        # opening a file for each of its row groups costs more than reading them, and memory
        self._opened = lru_cache(_OPEN_FILES)(opened)
        self._groups: list[tuple[Path, int]] = []
        self._starts = array("Q")
        self._copied: dict[int, tuple[bytearray, array[int]]] = {}
        self._checked = {file: Unchanged.of(file, large=True) for file in files}
        rows = 0
        for file in files:
            footer = opened(file).metadata
            for group in range(footer.num_row_groups):
                self._groups.append((file, group))
                self._starts.append(rows)
                rows += footer.row_group(group).num_rows

    def paths(self, record: Record) -> tuple[Path, ...]:
        """As `Pictures.paths`; the first time of a row group, it is copied."""
        return self.of_row(record.number - 1)

    def of_row(self, row: int) -> tuple[Path, ...]:
        """The files of a row's images."""
        group = bisect_right(self._starts, row) - 1
        if group not in self._copied:
            self._copied[group] = self._copy(*self._groups[group])
        digests, ends = self._copied[group]
        place = row - self._starts[group]
        start, end = (ends[place - 1] if place else 0), ends[place]
        return tuple(
            self._store.path(bytes(digests[at : at + DIGEST]))
            for at in range(start * DIGEST, end * DIGEST, DIGEST)
        )

    def _copy(self, file: Path, group: int) -> tuple[bytearray, array[int]]:
        """Digests of all images of a row group, and for each row how many there are so far."""
        digests, ends = bytearray(), array("I")
        source = self._opened(file)
        leaves = _byte_leaves(source, self._columns)
        for batch in _batches(file, source, _IMAGE_ROWS, leaves, [group]):
            columns = [batch.column(name) for name in self._columns if name in leaves.values()]
            for row in range(batch.num_rows):
                for column in columns:
                    for data in _buffers(column[row]):
                        digests += self._store.put(data)
                ends.append(len(digests) // DIGEST)
        self._checked[file].check(file)
        return digests, ends


class JoinedImages:
    """Images of another table, found by the text that a question has for its image."""

    root: Path | None = None
    local = False

    def __init__(self, table: ImageTable, store: ImageStore) -> None:
        self._images = PackedImages(table.files, [table.image], store)
        self._rows: dict[str, int] = {}
        for file in table.files:
            source = opened(file)
            for batch in _batches(file, source, _TEXT_ROWS, {table.key: table.key}):
                for key in batch.column(0).to_pylist():
                    self._rows.setdefault(str(key), len(self._rows))

    def paths(self, record: Record) -> tuple[Path, ...]:
        """As `Pictures.paths`."""
        try:
            rows = [self._rows[name] for name in record.images]
        except KeyError as error:
            raise QuestionSetError(
                f"the table of images has no {error.args[0]!r}", question_id=record.question_id
            ) from None
        return tuple(path for row in rows for path in self._images.of_row(row))


def opened(file: Path) -> pq.ParquetFile:
    """A parquet file.

    Raises:
        ConfigurationError: pyarrow is not installed.
        QuestionSetError: it cannot be read.
    """
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Reading parquet files needs pyarrow: pip install 'vqa-engine[hub]'."
        ) from error
    import pyarrow as pa

    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise QuestionSetError(
            f"not a parquet file that can be read: {error}", file=file
        ) from error


def _batches(
    file: Path,
    source: pq.ParquetFile,
    size: int,
    leaves: Mapping[str, str],
    groups: list[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    columns = list(leaves)
    try:
        yield from source.iter_batches(size, groups, columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise QuestionSetError(f"it is damaged: {error}", file=file) from error


def _text_leaves(source: pq.ParquetFile, wanted: Iterable[str]) -> dict[str, str]:
    """The leaves (dotted names) to read of these columns, each with its column: no bytes."""
    names = set(wanted)
    return _leaves(source, names, lambda leaf: leaf.physical_type != "BYTE_ARRAY" or _is_text(leaf))


def _byte_leaves(source: pq.ParquetFile, wanted: Iterable[str]) -> dict[str, str]:
    names = set(wanted)
    return _leaves(source, names, lambda leaf: not _is_text(leaf))


def _is_text(leaf: pq.ColumnSchema) -> bool:
    return str(leaf.logical_type.type) != "NONE" or leaf.physical_type != "BYTE_ARRAY"


def _leaves(
    source: pq.ParquetFile, names: set[str], wanted: Callable[[pq.ColumnSchema], bool]
) -> dict[str, str]:
    schema = source.schema
    leaves = [schema.column(place) for place in range(len(schema))]
    return {
        leaf.path: column
        for leaf in leaves
        if (column := leaf.path.partition(".")[0]) in names and wanted(leaf)
    }


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column has images, and not their paths."""
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _buffers(value: pa.Scalar) -> Iterator[memoryview]:
    """The encoded files in a cell; none in an empty one. Nothing is copied."""
    import pyarrow as pa

    if not value.is_valid:
        return
    if isinstance(value, pa.ListScalar | pa.LargeListScalar):
        for one in value.values:
            yield from _buffers(one)
    elif isinstance(value, pa.StructScalar):
        for one in value.values():
            yield from _buffers(one)
    else:
        yield memoryview(value.as_buffer())
