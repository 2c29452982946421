"""An adapter that was written for version 1 of its library, and never ported."""

from __future__ import annotations

from typing import Any

from PIL import ImageStat

from vqa_engine import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    open_image,
)
from vqa_engine.errors import AnswerError


class OldPalette:
    """Says what colour a picture is, by a library that others need in another version."""

    default_model = "palette-words 1"

    def __init__(self) -> None:
        self._palette: Any = None

    def load(self, model: ModelRef) -> None:
        """Import the old library."""
        import palette

        self._palette = palette

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Name the picture's colour."""
        if self._palette is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        mean = ImageStat.Stat(open_image(question)).mean
        return Answer(text=str(self._palette.name(*mean)), plan=plan)

    def release(self) -> None:
        """Let go of the library."""
        self._palette = None

    def memory_profile(self) -> MemoryProfile:
        """Nothing that a tensor library would count."""
        return MemoryProfile(backend="none")
