"""vqa-engine: ask local vision-language models visual questions, and score the answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqa_engine.adapter import (
        BUILTIN,
        Answer,
        GenerationPlan,
        MemoryProfile,
        MemoryReading,
        ModelAdapter,
        ModelRef,
        Question,
    )
    from vqa_engine.engine import Engine
    from vqa_engine.errors import VqaEngineError
    from vqa_engine.images import open_image
    from vqa_engine.observer import Observer, Progress
    from vqa_engine.outcome import RunResult, open_run
    from vqa_engine.plugins.spec import AdapterSpec
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
    "open_run",
]

_HOMES = {
    "engine": ("Engine",),
    "errors": ("VqaEngineError",),
    "images": ("open_image",),
    "observer": ("Observer", "Progress"),
    "plugins.spec": ("AdapterSpec",),
    "questions": ("QuestionSet", "load_questions"),
    "results": ("Failure", "Row"),
    "outcome": ("RunResult", "open_run"),
}
"""The module of each public name; one that is not here is in `adapter`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562).

    A worker imports this package to find an adapter, and pays for the engine otherwise
    at every restart.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "adapter")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    """The public names, whether they were used or not."""
    return sorted(__all__)
