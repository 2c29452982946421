"""The contract between the engine and a model: `ModelAdapter` and its records.

Everything here is public. A change needs a reason in the CHANGELOG.
Sizes are bytes, times are seconds, lengths are tokens, unless a name says otherwise.
"""

from vqa_engine.adapter.memory import (
    LEVERS,
    ImageTokens,
    Lever,
    MemoryProfile,
    QuestionCost,
    portable,
)
from vqa_engine.adapter.model import (
    BatchAdapter,
    CacheHolder,
    CostAware,
    Fetchable,
    ModelAdapter,
    Sizable,
    Traceable,
    images_per_question,
)
from vqa_engine.adapter.options import read_options
from vqa_engine.adapter.records import (
    BUILTIN,
    NO_EDGE,
    Answer,
    FinishReason,
    GenerationPlan,
    ImageSource,
    MemoryReading,
    ModelRef,
    Question,
    QuestionId,
    Timings,
    TokenCounts,
    Trace,
    Transfer,
    as_image,
)
from vqa_engine.adapter.strategy import (
    VERDICT,
    Bound,
    CleanupStrategy,
    Controls,
    Described,
    Moment,
    describe,
    restore,
)

__all__ = [
    "BUILTIN",
    "LEVERS",
    "NO_EDGE",
    "VERDICT",
    "Answer",
    "BatchAdapter",
    "Bound",
    "CacheHolder",
    "CleanupStrategy",
    "Controls",
    "CostAware",
    "Described",
    "Fetchable",
    "FinishReason",
    "GenerationPlan",
    "ImageSource",
    "ImageTokens",
    "Lever",
    "MemoryProfile",
    "MemoryReading",
    "ModelAdapter",
    "ModelRef",
    "Moment",
    "Question",
    "QuestionCost",
    "QuestionId",
    "Sizable",
    "Timings",
    "TokenCounts",
    "Trace",
    "Traceable",
    "Transfer",
    "as_image",
    "describe",
    "images_per_question",
    "portable",
    "read_options",
    "restore",
]
