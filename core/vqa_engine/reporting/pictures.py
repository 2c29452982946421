"""The pictures of a report: where they are, which may be shown, and small copies of them.

A run directory may be a stranger's, and name any path. So a picture is opened only inside
folders that the reader named, and a drawn one is drawn again only if its question is still
the same.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from attrs import define, field
from PIL import Image

from vqa_engine.adapter import Question
from vqa_engine.errors import ImageError
from vqa_engine.images import open_image
from vqa_engine.questions.shapes import ShapesSet

Pictures = Literal["beside", "embed", "none"]
"""How a page has its pictures: by relative path, as small copies in it, or not at all."""

EDGE = 256
"""Longest edge of an embedded picture, in pixels."""

_MOST_EMBEDDED = 300
"""Embedded pictures in one page; 300 photos of 256 pixels are about 2 MB."""

VIEWED_EDGE = 1280
"""Longest edge of a picture that the viewer sends, in pixels."""

_QUALITY = 70
_TINY = 128
"""Longest edge of pictures that are kept exactly: a browser shows them enlarged."""
_DRAWN = re.compile(r"shapes seed (\d{1,9}), scene (\d{1,9})")


@define
class Gallery:
    """Opens pictures inside `folders`, and draws those of the built-in question set."""

    folders: tuple[Path, ...] = ()
    _drawn: dict[str, Question] = field(factory=dict)

    def key(self, question: Question) -> str | None:
        """The name of the question's picture: its path, or how it is drawn."""
        if isinstance(question.image, Path):
            return str(question.image)
        found = _DRAWN.fullmatch(question.origin or "")
        if found is None:
            return None
        key = "shapes:{}:{}".format(*found.groups())
        self._drawn.setdefault(key, question)
        return key

    def is_drawn(self, key: str) -> bool:
        """Whether the picture has no file, and is drawn again."""
        return key in self._drawn

    def open(self, key: str) -> Image.Image:
        """The picture of this name.

        Raises:
            ImageError: it is in none of the folders, cannot be read, or is drawn otherwise now.
        """
        if key in self._drawn:
            return open_image(self._redrawn(key))
        refusal = ImageError(
            "it is outside the folders that pictures may be shown from; add its folder with "
            "--images",
            image=key,
        )
        for folder in self.folders:
            try:
                asked = Question(question_id=key, image=Path(key), text="", image_root=folder)
                return open_image(asked)
            except ImageError as error:
                inside = os.path.realpath(folder / key).startswith(f"{os.path.realpath(folder)}/")
                if inside:
                    refusal = error
        raise refusal

    def small(self, key: str, edge: int) -> bytes:
        """The picture as WebP, its longest edge at most `edge` pixels.

        Raises:
            ImageError: as `open` does.
        """
        picture = self.open(key)
        exact = max(picture.size) <= _TINY
        picture.thumbnail((edge, edge))
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=_QUALITY, lossless=exact)
        return file.getvalue()

    def _redrawn(self, key: str) -> Question:
        question = self._drawn[key]
        _, seed, scene = key.split(":")
        for drawn in _scene(int(seed), int(scene)):
            if (drawn.question_id, drawn.text) == (question.question_id, question.text):
                return drawn
        raise ImageError("this version draws it otherwise", image=key)

    def embedded(self, keys: Iterable[str | None]) -> dict[str, str]:
        """`data:` addresses of the first `_MOST_EMBEDDED` pictures that can be opened, by key."""
        found: dict[str, str] = {}
        for key in keys:
            if len(found) >= _MOST_EMBEDDED:
                break
            if key is None or key in found:
                continue
            try:
                data = base64.b64encode(self.small(key, EDGE)).decode()
            except ImageError:
                continue  # the page says of this picture that it is not there
            found[key] = f"data:image/webp;base64,{data}"
        return found

    def relative(self, keys: Iterable[str | None], page: Path) -> dict[str, str]:
        """Addresses relative to the page, by key, of files below a folder it shares with them.

        A file that has nothing in common with the page but the root is left out: the page
        would not find it on any other machine.
        """
        folder, found = page.absolute().parent, dict[str, str]()
        for key in keys:
            if key is None or key in self._drawn:
                continue
            path = Path(os.path.abspath(key))  # noqa: PTH100  resolve() would follow links
            if os.path.commonpath((folder, path)) != path.anchor:
                found[key] = quote(os.path.relpath(path, folder))
        return found


@lru_cache(maxsize=64)
def _scene(seed: int, scene: int) -> tuple[Question, ...]:
    return tuple(ShapesSet(seed=seed).scene_questions(scene))
