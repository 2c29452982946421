"""An adapter that looks at a picture with Pillow, and answers what it can from that."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageStat

from vqa_engine import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    open_image,
)
from vqa_engine.errors import AnswerError

DARK = 96
"""Brightness, 0 to 255, under which a picture counts as dark."""


class ColourAverage:
    """Says what colour a picture is on average, whether it is dark, and how large it is."""

    default_model = "palette-words 2"

    def __init__(self) -> None:
        self._palette: Any = None

    def load(self, model: ModelRef) -> None:
        """Import the library, as a real adapter imports its model's."""
        import palette

        self._palette = palette

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question by what its words ask for."""
        if self._palette is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        image = open_image(question)
        return Answer(text=self._look(image, question.text.lower()), plan=plan)

    def release(self) -> None:
        """Let go of the library."""
        self._palette = None

    def memory_profile(self) -> MemoryProfile:
        """Nothing that a tensor library would count."""
        return MemoryProfile(backend="none")

    def _look(self, image: Image.Image, text: str) -> str:
        mean = ImageStat.Stat(image).mean
        if text.startswith(("is ", "are ", "does ")):
            return self._yes_or_no(mean, text)
        if "large" in text or "size" in text:
            return f"{image.width} x {image.height}"
        return str(self._palette.nearest(mean))

    def _yes_or_no(self, mean: list[float], text: str) -> str:
        if "dark" in text:
            return "yes" if sum(mean) / 3 < DARK else "no"
        return "yes" if self._palette.nearest(mean) in text else "no"
