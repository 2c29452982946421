"""A question's text as the whole prompt of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqa_engine.errors import AnswerError
from vqa_engine_adapters.interleaving import parts
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.options import Wording


def formatted(
    loaded: Loaded, family: MlxFamily, text: str, wording: Wording, images: int = 1
) -> str:
    """The prompt, as the chat template formats it, or the family where there is none.

    Raises:
        AnswerError: the wording has an image marker, the text is not valid Unicode, or there
            is no place for a system text.
    """
    _check(family, text, wording)
    if family.prompt is not None and not has_template(loaded):
        bare = family.prompt(loaded.checkpoint.config).replace("{question}", text)
    elif images > 1:
        bare = _interleaved(loaded, text, wording.system, images)
    else:
        said = messages(family.lead + text, wording.system)
        bare = rendered(loaded.processor, loaded.config, said)
    if wording.system.strip() not in bare:
        raise AnswerError("The model's prompt has no place for a system text.", cause="template")
    return bare + wording.prefill


def _interleaved(loaded: Loaded, text: str, system: str, images: int) -> str:
    """The prompt with each of several images at its place in the text.

    mlx-vlm's own messages have all images in front (prompt_utils.py, `get_message_json`), so
    the checkpoint's template gets ours.
    """
    from mlx_vlm.prompt_utils import get_chat_template

    content: list[dict[str, Any]] = [
        {"type": "text", "text": one} if isinstance(one, str) else {"type": "image"}
        for one in parts(text, images)
    ]
    begun = [{"role": "system", "content": system}] if system else []
    said = [*begun, {"role": "user", "content": content}]
    return str(get_chat_template(loaded.processor, said, add_generation_prompt=True))


def messages(text: str, system: str = "") -> list[dict[str, Any]]:
    """One turn of the user's: the image, then the text, as the models' cards have it.

    mlx-vlm 0.7.10 puts the image of a plain prompt last for some of them (prompt_utils.py,
    `MODEL_CONFIG`; docs/upstream.md).
    """
    content = [{"type": "image"}, {"type": "text", "text": text}]
    begun = [{"role": "system", "content": system}] if system else []
    return [*begun, {"role": "user", "content": content}]


def rendered(processor: Any, config: Any, said: Sequence[Any]) -> str:
    """The messages as mlx-vlm has the chat template render them."""
    from mlx_vlm import apply_chat_template

    return str(apply_chat_template(processor, config, list(said), num_images=1))


def has_template(loaded: Loaded) -> bool:
    """Whether the checkpoint brings a chat template."""
    return any(
        getattr(owner, "chat_template", None) for owner in (loaded.processor, loaded.tokenizer)
    )


def drop_blind_template(family: MlxFamily, processor: Any, config: Any) -> None:
    """Take a chat template away that cannot render an image.

    Conversions may carry the language model's own: Mistral's joins strings and fails, others
    print the message's parts as Python does.
    """
    try:
        said = rendered(processor, config, messages("?"))
    except Exception:  # noqa: BLE001  a template may raise anything, and then is no use
        said = ""
    if not said or "{'type'" in said or (family.marker or "") not in said:
        for owner in (processor, getattr(processor, "tokenizer", processor)):
            owner.chat_template = None


def _check(family: MlxFamily, text: str, wording: Wording) -> None:
    """Refuse an image marker, and half of a surrogate pair, which no tokenizer can encode."""
    whole = text + wording.system + wording.prefill
    try:
        whole.encode("utf-8")
    except UnicodeEncodeError as error:
        raise AnswerError(
            "The question's text is not valid Unicode: it has half of a surrogate pair.",
            cause="encoding",
        ) from error
    if family.marker and family.marker in whole:
        raise AnswerError(f"The prompt's wording contains {family.marker!r}.", cause="marker")
