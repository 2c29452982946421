"""vqa-engine: ask local vision-language models visual questions, and score the answers."""

from vqa_engine.adapter import (
    BUILTIN,
    AdapterSpec,
    Answer,
    GenerationPlan,
    MemoryProfile,
    MemoryReading,
    ModelAdapter,
    ModelRef,
    Question,
)
from vqa_engine.engine import Engine, RunResult
from vqa_engine.errors import VqaEngineError
from vqa_engine.images import open_image
from vqa_engine.observer import Observer, Progress
from vqa_engine.questions import QuestionSet, load_questions
from vqa_engine.results import Failure, Row

__all__ = [
    "BUILTIN",
    "AdapterSpec",
    "Answer",
    "Engine",
    "Failure",
    "GenerationPlan",
    "MemoryProfile",
    "MemoryReading",
    "ModelAdapter",
    "ModelRef",
    "Observer",
    "Progress",
    "Question",
    "QuestionSet",
    "Row",
    "RunResult",
    "VqaEngineError",
    "load_questions",
    "open_image",
]
