"""What an adapter declares of itself to the conformance kit, all in one place."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen, validators

from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.memory.audit import ENOUGH
from vqa_engine.memory.backends import libraries

_HEAVY = ("cv2", "jax", "llama_cpp", "onnxruntime", "tensorflow", "vllm")
"""Heavy modules that no installed backend names."""


def _heavy() -> tuple[str, ...]:
    """Modules that `load` may import, and importing a plugin may not."""
    named = (one for library in libraries().values() for one in library.heavy)
    return tuple(sorted({*_HEAVY, *named}))


def _with_reasons(_instance: object, _attribute: object, waived: Mapping[str, str]) -> None:
    for name, reason in waived.items():
        if not reason.strip():
            raise ValueError(f"{name} is waived without a reason: write one")


@frozen(kw_only=True)
class Capabilities:
    """What the kit should know of an adapter; the defaults suit most.

    `model` is the checkpoint to test with and `plan` how answers are generated; it is
    short, because the kit looks at how an adapter behaves and not at how well it answers.
    `question` is asked about plain coloured pictures. An adapter that answers without
    looking sets `sees_images` to False. `questions` is how many the leak test asks, at least eight,
    `long_words` how many words its longest question has. `profile_tolerance` is the share
    by which a memory profile may be off. `heavy` are modules that importing the plugin
    must leave alone. `waived` maps the name of a standard test to the reason why this
    adapter does without it; a waived test is skipped with that reason.

    Raises:
        ValueError: a test is waived without a reason.
    """

    model: ModelRef = field(factory=ModelRef)
    plan: GenerationPlan = field(factory=lambda: GenerationPlan(max_tokens=8))
    question: str = "What colour is it?"
    sees_images: bool = True
    questions: int = field(default=24, validator=validators.ge(ENOUGH))
    long_words: int = field(default=400, validator=validators.ge(1))
    profile_tolerance: float = field(default=0.25, validator=validators.gt(0))
    heavy: tuple[str, ...] = field(factory=_heavy)
    waived: Mapping[str, str] = field(factory=dict, validator=_with_reasons)
