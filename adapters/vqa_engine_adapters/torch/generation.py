"""One question through the model: prefix, rest of the prompt, then token by token."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from attrs import frozen

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.prefixes import Prefix, Prefixes
from vqa_engine_adapters.torch.preparing import Prepared

_NOT_PIXELS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What a processor makes beside the image's tensors; a lone prompt needs no mask."""


@frozen(kw_only=True)
class Generated:
    """What came out: ids without the end token, why it ended, counts and seconds."""

    ids: tuple[int, ...]
    finish_reason: FinishReason
    tokens: TokenCounts
    timings: Timings


def generate(
    loaded: Loaded, prepared: Prepared, plan: GenerationPlan, prefixes: Prefixes
) -> Generated:
    """Answer a prepared question, obeying the plan.

    Returns only after the device has finished: an error may come late. The image's prefix
    is always computed by itself, so an answer is the same whether it was kept or not.
    """
    started = perf_counter()
    _bound(loaded, plan)
    steps = _steps(loaded, prepared, plan, prefixes)
    first = next(steps)
    prefilled = perf_counter()
    ids, finish_reason = _collect(first, steps, loaded.stop, plan.max_tokens)
    synchronise(_torch(), loaded.device)
    return Generated(
        ids=ids,
        finish_reason=finish_reason,
        tokens=counted(loaded, prepared, len(ids)),
        timings=Timings(
            prepare=prepared.seconds,
            prefill=prefilled - started,
            decode=perf_counter() - prefilled,
        ),
    )


def counted(loaded: Loaded, prepared: Prepared, completion: int) -> TokenCounts:
    """The token counts of an answer; the image's are its placeholders."""
    token = loaded.image_token
    return TokenCounts(
        prompt=len(prepared.ids),
        completion=completion,
        image=None if token is None else prepared.ids.count(token),
    )


def _bound(loaded: Loaded, plan: GenerationPlan) -> None:
    if loaded.steps is not None:
        loaded.steps.step = plan.prefill_step
    if loaded.tiles is not None:
        loaded.tiles.size = plan.encoder_batch


def _steps(
    loaded: Loaded, prepared: Prepared, plan: GenerationPlan, prefixes: Prefixes
) -> Iterator[int]:
    """Token ids, one at a time; the first one comes after the whole prefill."""
    torch = _torch()
    prefix = prepared.prefix or _prefix(loaded, prepared, prefixes)
    cache = prefix.continued()
    rest: tuple[int, ...] = prepared.ids[prepared.split :]
    draw = torch.Generator(device=loaded.device).manual_seed(plan.seed)
    while True:
        token = _next(_forward(loaded, rest, cache), plan.temperature, draw)
        yield token
        rest = (token,)


def _prefix(loaded: Loaded, prepared: Prepared, prefixes: Prefixes) -> Prefix:
    """Everything up to the end of the image, computed; kept if there is room.

    The device has finished before it is kept: what a late error spoils serves nobody.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=loaded.model.config)
    ids = prepared.ids[: prepared.split]
    _forward(loaded, ids, cache, pixels(loaded, prepared))
    synchronise(_torch(), loaded.device)
    prefix = Prefix(ids=ids, head=prepared.head, cache=cache)
    prefixes.keep(prepared.image, prefix)
    return prefix


def pixels(loaded: Loaded, prepared: Prepared) -> dict[str, Any]:
    """The image's tensors on the device."""
    return {
        name: value.to(loaded.device) if hasattr(value, "to") else value
        for name, value in prepared.inputs.items()
        if name not in _NOT_PIXELS
    }


def _forward(
    loaded: Loaded, ids: tuple[int, ...], cache: Any, image: dict[str, Any] | None = None
) -> Any:
    """Logits after the last of `ids`; their keys and values go into the cache."""
    torch = _torch()
    with torch.inference_mode():
        output = loaded.model(
            input_ids=torch.tensor([ids], device=loaded.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **(image or {}),
        )
        return output.logits[0, -1]


def _next(logits: Any, temperature: float, draw: Any) -> int:
    """The likeliest token, or one drawn from the softened distribution."""
    if temperature == 0.0:
        return int(logits.argmax())
    torch = _torch()
    chances = torch.softmax(logits.float() / temperature, dim=-1)
    return int(torch.multinomial(chances, 1, generator=draw))


def _collect(
    first: int, steps: Iterator[int], stop: frozenset[int], most: int
) -> tuple[tuple[int, ...], FinishReason]:
    """The ids up to the first end token, and whether there was one among `most`."""
    ids: list[int] = []
    token = first
    while token not in stop:
        ids.append(token)
        if len(ids) == most:
            return tuple(ids), "length"
        token = next(steps)
    return tuple(ids), "stop"


def _torch() -> Any:
    import torch

    return torch
