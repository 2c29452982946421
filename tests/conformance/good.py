"""A good adapter in pure Python: it sees colours, holds a model, and keeps its contract."""

from __future__ import annotations

from vqa_engine.adapter import Answer, GenerationPlan, MemoryProfile, ModelRef, Question
from vqa_engine.errors import AnswerError
from vqa_engine.images import open_image

WEIGHTS = 1 << 20


class Good:
    """Says the middle pixel. The base of the bad ones, each of which spoils one thing."""

    def __init__(self) -> None:
        self.model: bytearray | None = None

    def load(self, model: ModelRef) -> None:
        self.model = bytearray(WEIGHTS)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if self.model is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return Answer(text=self.look(question), plan=plan, token_ids=(1,))

    def look(self, question: Question) -> str:
        image = open_image(question)
        return f"{image.getpixel((image.width // 2, image.height // 2))} {question.text}"

    def release(self) -> None:
        self.model = None

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(weights=WEIGHTS, exact=self.model is not None)
