"""The same questions without their pictures, to see how much the pictures matter.

Models that need a picture get a grey one of the same size, so that everything but its
content is as it was. The gain of the pictures is MMStar's multi-modal gain (Chen et al.,
2024): the score with them less the score without.
"""

from __future__ import annotations

import hashlib
import io
import logging
from functools import lru_cache

from attrs import evolve, frozen
from PIL import Image

from vqa_engine.adapter import ImageSource, Question
from vqa_engine.errors import ImageError
from vqa_engine.images import open_image
from vqa_engine.questions.ordering import image_id as image_of
from vqa_engine.questions.view import View

log = logging.getLogger(__name__)

GREY = (128, 128, 128)


@frozen(eq=False)
class Blind(View):
    """Another set's questions, each with a grey picture of its own picture's size.

    A picture is opened for its size when its question's turn comes. One that cannot be
    read stays, and its question fails as it does with the picture.
    """

    names_files = False

    def digest(self) -> str:
        """SHA-256 (hex) over the set behind it and that the pictures are gone."""
        return hashlib.sha256(f"{self._of.digest()} blind".encode()).hexdigest()

    def _shown(self, question: Question) -> Question:
        try:
            sizes = [open_image(question, place).size for place in range(len(question.all_images))]
        except ImageError as error:
            log.debug("not made grey: %s", error)
            return question
        first, *further = map(_grey, sizes)
        known = image_of(question)
        return evolve(
            question,
            image=first,
            images=tuple(further),
            # scores still know which questions share a picture
            image_id=str(question.image) if known is None else known,
            image_root=None,
        )


@lru_cache(maxsize=64)
def _grey(size: tuple[int, int]) -> ImageSource:
    file = io.BytesIO()
    Image.new("RGB", size, GREY).save(file, "PNG")
    return file.getvalue()
