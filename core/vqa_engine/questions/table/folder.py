"""A folder of pictures with one question for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.table.columns import Columns, Derived
from vqa_engine.questions.table.reading import Row
from vqa_engine.questions.table.table_set import Files, Pictures

_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"),
        *(".avif", ".mpo", ".heic", ".heif"),
    )
)
"""Files that count as pictures: the formats that `vqa_engine.images` reads."""

_COCO = re.compile(r"(?:COCO_\w+_)?0*([0-9]{1,12})")
"""COCO's names (`COCO_val2014_000000000042`, `000000000042`) hold the image's id."""

COLUMNS = Columns(image="image", question="question", id="image", image_id="image_id")
_COCO_COLUMNS = Columns(
    image="image", question="question", id=Derived("image_id", form="int"), image_id="image_id"
)


@frozen
class Folder:
    """The pictures below a folder, sorted by path; one COCO names has its id."""

    file: Path
    ask: str
    images: tuple[str, ...]
    header: tuple[str, ...] = ("image", "question", "image_id")

    @classmethod
    def open(cls, folder: Path, ask: str) -> Folder:
        """Find the pictures.

        Raises:
            QuestionSetError: there is none.
        """
        found = sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
        )
        if not found:
            raise QuestionSetError("no picture is in this folder", file=folder)
        return cls(folder, ask, tuple(found))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.file.name

    @property
    def columns(self) -> Columns:
        """The id of each question is COCO's number where every name is COCO's, else the path."""
        coco = all(_COCO.fullmatch(Path(image).stem) for image in self.images)
        return _COCO_COLUMNS if coco and len(self.images) > 1 else COLUMNS

    def rows(self, columns: Columns) -> Iterator[tuple[int, Row]]:
        """As `Table.rows`."""
        for number, image in enumerate(self.images, start=1):
            match = _COCO.fullmatch(Path(image).stem)
            image_id = int(match[1]) if match else image
            yield number, {"image": image, "question": self.ask, "image_id": image_id}

    def pictures(self, columns: Columns, root: Path) -> Pictures:
        """As `Table.pictures`; the folder is the root."""
        return Files(self.file.absolute())
