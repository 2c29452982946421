"""The kit's own pictures and questions, made afresh each time: a test may not spoil another."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from vqa_engine.adapter import ImageSource, Question

EDGE = 64
"""Pixels of a plain picture's side."""

ORIENTATION = 0x0112

COLOURS = ("red", "blue", "green", "yellow", "black", "white")

SECOND = "Is it dark?"
"""A question beside the one of the capabilities, to shuffle with."""

NON_LATIN = (
    "这是什么颜色？",
    "ما هو اللون؟",
    "Какой это цвет?",
    "क्या रंग है?",
    "何色ですか 🟥👩‍👩‍👧",
    "Z͑ͫa\u0301lgo? \u200f\u202e",
)
"""Scripts from right to left, combined letters, joined emoji, and marks of direction."""


def picture(colour: str | tuple[int, int, int] = "red", edge: int = EDGE) -> Image.Image:
    """One colour all over."""
    return Image.new("RGB", (edge, edge), colour)


def busy(edge: int = EDGE) -> Image.Image:
    """Structure in every direction, and all three channels different."""
    across = Image.linear_gradient("L").resize((edge, edge))
    down = across.rotate(90)
    return Image.merge("RGB", (across, down, Image.radial_gradient("L").resize((edge, edge))))


def named(name: str) -> Image.Image:
    """The busy picture, or a plain one of this colour."""
    return busy() if name == "busy" else picture(name)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image file's bytes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def question(image: ImageSource, text: str, **facts: Any) -> Question:
    """A question about an image."""
    return Question(question_id="conformance", image=image, text=text, **facts)


def odd_images(folder: Path) -> dict[str, ImageSource]:
    """One image for each thing that image folders hold, by a name that says which."""
    file = folder / "photo with spaces.png"
    picture().save(file)
    translucent = picture()
    translucent.putalpha(128)
    return {
        "a path": file,
        "an encoded file's bytes": encoded(picture()),
        "a single pixel": picture(edge=1),
        "a strip of 3000 x 8 pixels": Image.new("RGB", (3000, 8), "red"),
        "transparency": translucent,
        "a palette": picture().quantize(4),
        "grey": picture().convert("L"),
        "16-bit grey": Image.new("I;16", (EDGE, EDGE), 40_000),
        "one bit": Image.new("1", (EDGE, EDGE), 1),
        "a CMYK JPEG": encoded(picture().convert("CMYK"), "JPEG"),
        "a JPEG turned by EXIF": _turned(),
    }


def broken_images(folder: Path) -> dict[str, Callable[[], ImageSource]]:
    """Images that cannot be used, by what is wrong with each."""
    whole = encoded(busy())
    return {
        "a truncated file": lambda: whole[: len(whole) // 2],
        "an empty file": lambda: b"",
        "text instead of an image": lambda: b"<html>not found</html>",
        "a missing file": lambda: folder / "nowhere.png",
    }


def _turned() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(Image.new("RGB", (48, 24), "red"), "JPEG", exif=exif)
