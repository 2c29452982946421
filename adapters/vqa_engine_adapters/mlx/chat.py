"""A question's text as the whole prompt of a model."""

from __future__ import annotations

from vqa_engine.errors import AnswerError
from vqa_engine_adapters.families.family import with_system
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.loading import Loaded


def formatted(loaded: Loaded, family: MlxFamily, text: str, system: str | None = None) -> str:
    """The prompt, as the chat template formats it, or the family where there is none.

    A family's own format has no place for a system message; it goes in front.

    Raises:
        AnswerError: the text has an image marker, or is not valid Unicode.
    """
    _check(text + (system or ""))
    if family.marker and family.marker in text + (system or ""):
        raise AnswerError(f"The question's text contains {family.marker!r}.", cause="marker")
    if family.prompt is not None and not has_template(loaded):
        return with_system(family.prompt(loaded.checkpoint.config), system).replace(
            "{question}", text
        )
    from mlx_vlm import apply_chat_template

    text = family.lead + text
    messages = text if system is None else _messages(system, text)
    return str(apply_chat_template(loaded.processor, loaded.config, messages, num_images=1))


def _messages(system: str, text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def has_template(loaded: Loaded) -> bool:
    """Whether the checkpoint brings a chat template."""
    return any(
        getattr(owner, "chat_template", None) for owner in (loaded.processor, loaded.tokenizer)
    )


def _check(text: str) -> None:
    """Refuse half of a surrogate pair, which no tokenizer can encode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise AnswerError(
            "The question's text is not valid Unicode: it has half of a surrogate pair.",
            cause="encoding",
        ) from error
