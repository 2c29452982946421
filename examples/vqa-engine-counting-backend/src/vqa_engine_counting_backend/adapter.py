"""An adapter that computes with buffers of the library."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from vqa_engine import Answer, GenerationPlan, MemoryProfile, ModelRef, Question, open_image
from vqa_engine.errors import AnswerError
from vqa_engine.memory.strategies import EveryQuestions

WEIGHTS = 1 << 20
"""Bytes of the model."""


class Buffered:
    """Says how bright a picture is, 0 to 255; its work space is as large as the picture.

    A question that has "everything" in it takes more than the device has, and one that has
    "crash" in it dies of that, as a library does whose error nobody can catch.
    """

    def __init__(self) -> None:
        self._buffers: Any = None
        self._weights: Any = None

    def load(self, model: ModelRef) -> None:
        """Import the library, and put the weights on the device."""
        from vqa_engine_counting_backend import buffers

        self._buffers = buffers
        self._weights = buffers.Buffer(WEIGHTS)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question."""
        if self._buffers is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        image = open_image(question)
        work = self._buffers.Buffer(3 * image.width * image.height)
        try:
            if "everything" in question.text:
                self._buffers.Buffer(self._buffers.CAPACITY)
        except self._buffers.DeviceFull as error:
            if "crash" not in question.text:
                raise
            sys.stderr.write(f"{error}\n")
            os.abort()
        work.write(image.tobytes())
        return Answer(text=str(work.mean()), plan=plan)

    def release(self) -> None:
        """Let go of the model, and of the pool."""
        self._weights = None
        gc.collect()
        if self._buffers is not None:
            self._buffers.ALLOCATOR.clear()
        self._buffers = None

    def memory_profile(self) -> MemoryProfile:
        """Its memory is counted by the backend of this package."""
        return MemoryProfile(
            backend="counting",
            weights=WEIGHTS,
            strategies=(EveryQuestions(5),),
            exact=self._weights is not None,
        )
