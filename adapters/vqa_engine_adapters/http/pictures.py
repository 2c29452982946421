"""A question's picture as a request carries it."""

from __future__ import annotations

import base64
import io

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.images import EncodedImage, bounded, encoded_image, open_image


@frozen
class Sent:
    """A picture in a request: its data URL, and its (width, height) as the server gets it."""

    url: str
    size: tuple[int, int]


def sent(question: Question, place: int, longest_edge: int | None) -> Sent:
    """The file as it is, where any server shows the same picture; else the picture as PNG.

    PNG loses nothing, but of a photo it is 2.6 times the bytes and 18 ms of work.

    Raises:
        ImageError: the picture cannot be used.
    """
    image = encoded_image(question, longest_edge, place) or _png(question, place, longest_edge)
    data = base64.b64encode(image.content).decode("ascii")
    return Sent(f"data:{image.media_type};base64,{data}", image.size)


def _png(question: Question, place: int, longest_edge: int | None) -> EncodedImage:
    buffer, image = io.BytesIO(), bounded(open_image(question, place), longest_edge)
    image.save(buffer, format="PNG", compress_level=1)
    return EncodedImage("image/png", buffer.getvalue(), image.size)
