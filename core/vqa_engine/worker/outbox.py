"""What has crossed to a worker: each question once, each image in memory once.

The host keeps an outbox for each worker, the child an inbox. Both hold the questions that
come next and the last image that was not a file, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from vqa_engine.adapter import GenerationPlan, ImageSource, Question
from vqa_engine.errors import ImageError
from vqa_engine.session.wording import said
from vqa_engine.worker.messages import (
    Ask,
    Asked,
    BytesImage,
    ImageRecord,
    PathImage,
    PixelImage,
    decode_asked,
    encode_asked,
)

ROOM = 64 << 20
"""Bytes of images in memory that one message may hold beside the first question's."""


class Outbox:
    """The host's side."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Question, int]] = {}
        self._last: tuple[ImageSource, ImageRecord] | None = None
        self._serial = self._turn = 0

    def compose(self, upcoming: Sequence[Question], limit: int, plan: GenerationPlan) -> Ask:
        """A message that asks the first of these, and brings what has not crossed yet.

        It ends before the first question that cannot cross, which fails when it comes first.

        Raises:
            ImageError: the first question's image cannot be used.
            NotImplementedError, TypeError, ValueError, OverflowError: the first question is
                not plain data.
        """
        held, new, room = dict[int, tuple[Question, int]](), list[msgspec.Raw](), ROOM
        for question in upcoming:
            known = self._held.get(id(question))
            if known is None:
                room -= self._size(question.image) + sum(map(_bytes, question.images))
                if held and room < 0:
                    break
                try:
                    new.append(msgspec.Raw(encode_asked(self._record(question, plan))))
                except (ImageError, NotImplementedError, TypeError, ValueError, OverflowError):
                    if not held:
                        raise
                    break
                known = question, self._serial
            held[id(question)] = known
        self._held = held
        order = tuple(serial for _, serial in held.values())
        self._turn += 1
        return Ask(order, tuple(new), min(limit, len(order)), plan, self._turn)

    def _record(self, question: Question, plan: GenerationPlan) -> Asked:
        root, places = question.image_root, range(1, 1 + len(question.images))
        image, (text, worded) = self._image(question), said(question, plan)
        self._serial += 1
        return Asked(
            serial=self._serial,
            question_id=question.question_id,
            image=image,
            text=text,
            choices=question.choices,
            worded=worded,
            origin=question.origin,
            image_root=None if root is None else _reachable(root),
            images=tuple(self._further(question, place) for place in places),
        )

    def _further(self, question: Question, place: int) -> ImageRecord:
        """An image beside the first: it crosses whole, for few questions share one."""
        image = question.all_images[place]
        if isinstance(image, Path):
            return PathImage(_reachable(image, question.image_root))
        return packed(question, 0, place)[0]

    def _image(self, question: Question) -> ImageRecord:
        image = question.image
        if isinstance(image, Path):
            return PathImage(_reachable(image, question.image_root))
        if self._last is not None and _same(self._last[0], image):
            return self._last[1]
        record, kept = packed(question, self._serial + 1)
        self._last = image, kept
        return record

    def _size(self, image: ImageSource) -> int:
        """Bytes that an image takes in a message."""
        if isinstance(image, Path) or (self._last is not None and _same(self._last[0], image)):
            return 0
        return _bytes(image)


def _reachable(path: Path, root: Path | None = None) -> Path:
    """The path from wherever the worker is by now: code of research likes to change its folder."""
    return path if root is not None else path.absolute()


class Inbox:
    """The child's side."""

    def __init__(self) -> None:
        self._held: dict[int, Question] = {}
        self._last: tuple[int, ImageSource] = (0, b"")

    def take(self, ask: Ask) -> list[Question]:
        """The questions that come next, in their order; all others are forgotten."""
        for raw in ask.new:
            asked = decode_asked(bytes(raw))
            self._held[asked.serial] = self._question(asked)
        self._held = {serial: self._held[serial] for serial in ask.order}
        return list(self._held.values())

    def _question(self, asked: Asked) -> Question:
        return Question(
            question_id=asked.question_id,
            image=self._image(asked.image),
            text=asked.text,
            choices=asked.choices,
            worded=asked.worded,
            origin=asked.origin,
            image_root=asked.image_root,
            images=tuple(map(_further, asked.images)),
        )

    def _image(self, record: ImageRecord) -> ImageSource:
        if isinstance(record, PathImage):
            return record.path
        if record.serial != self._last[0]:
            self._last = record.serial, unpacked(record)
        return self._last[1]


def _bytes(image: ImageSource) -> int:
    """Bytes that an image in memory takes."""
    if isinstance(image, Path):
        return 0
    return len(image) if isinstance(image, bytes) else 3 * image.width * image.height


def _further(record: ImageRecord) -> ImageSource:
    return record.path if isinstance(record, PathImage) else unpacked(record)


def packed(question: Question, serial: int, place: int = 0) -> tuple[ImageRecord, ImageRecord]:
    """An image in memory as a record, and the record that refers to it later."""
    image = question.all_images[place]
    if isinstance(image, bytes):
        return BytesImage(serial, image), BytesImage(serial)
    from vqa_engine.images import open_image  # brings Pillow

    pixels = open_image(question, place)
    return PixelImage(serial, pixels.size, pixels.tobytes()), PixelImage(serial, pixels.size)


def unpacked(record: BytesImage | PixelImage) -> ImageSource:
    """The image in memory that a record holds."""
    if isinstance(record, BytesImage):
        return record.data
    from PIL import Image

    return Image.frombytes("RGB", record.size, record.data)


def _same(last: ImageSource, image: object) -> bool:
    """A PIL image is the same when it is the same object, so a changed one has to be a copy."""
    return last is image or (isinstance(last, bytes) and isinstance(image, bytes) and last == image)
