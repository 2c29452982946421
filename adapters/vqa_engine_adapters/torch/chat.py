"""A question's text as the whole prompt of a model."""

from __future__ import annotations

from typing import Any

from vqa_engine.errors import AnswerError
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.interleaving import parts
from vqa_engine_adapters.options import Wording
from vqa_engine_adapters.torch.loading import Loaded


def formatted(loaded: Loaded, family: Family, text: str, wording: Wording, images: int = 1) -> str:
    """The prompt, as the chat template formats it, or the family where there is none.

    Raises:
        AnswerError: the wording has an image marker, there is no template at all, or no place
            for a system text.
    """
    system, marker = wording.system, getattr(loaded.processor, "image_token", None)
    if marker and marker in text + system + wording.prefill:
        raise AnswerError(f"The prompt's wording contains {marker!r}.", cause="marker")
    if _has_template(loaded):
        bare = _templated(loaded, text, system, images)
    elif family.prompt is None:
        raise AnswerError("The checkpoint brings no chat template.", cause="template")
    else:
        bare = family.prompt(loaded.checkpoint.config).replace("{question}", text)
    if system.strip() not in bare:
        raise AnswerError("The model's prompt has no place for a system text.", cause="template")
    return bare + wording.prefill


def _has_template(loaded: Loaded) -> bool:
    return any(
        getattr(owner, "chat_template", None) for owner in (loaded.processor, loaded.tokenizer)
    )


def _templated(loaded: Loaded, text: str, system: str, images: int) -> str:
    content: list[dict[str, Any]] = [
        {"type": "text", "text": one} if isinstance(one, str) else {"type": "image"}
        for one in parts(text, images)
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        told = [{"type": "text", "text": system}]
        messages.insert(0, {"role": "system", "content": told})
    return str(
        loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    )
