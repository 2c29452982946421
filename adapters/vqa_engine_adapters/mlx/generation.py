"""One question through the model, prefill and decode."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from time import perf_counter
from typing import Any

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.mlx.greedy import continued
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.preparing import Prepared, behind
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.mlx.scores import logprobs
from vqa_engine_adapters.stopping import Ended, ended_by

_Said = tuple[int, float]
"""A token, and its log-probability where that was asked for."""

_Scored = Generator[tuple[Any, Any], None, None]
"""Tokens, each with what it was chosen from."""


def generate(loaded: Loaded, prepared: Prepared, plan: GenerationPlan) -> Generated:
    """Answer a prepared question in one go, as `mlx_vlm.generate` does.

    The cache lives for this one question.
    """
    from mlx_vlm.models.cache import make_prompt_cache

    cache = make_prompt_cache(loaded.model.language_model)
    with prepared.encoding():
        ran = _run(loaded, scored(loaded, prepared, plan, cache), plan, cache)
    ids, finish_reason, logprob, positions, prefill, decode = ran
    prompt = positions or int(prepared.ids.size)
    return Generated(
        ids=ids,
        finish_reason=finish_reason,
        tokens=TokenCounts(prompt=prompt, completion=len(ids), image=prompt - prepared.text_tokens),
        timings=Timings(prepare=prepared.seconds, prefill=prefill, decode=decode),
        logprob=logprob,
    )


def go_on(loaded: Loaded, prefix: Prefix, suffix: Sequence[int], plan: GenerationPlan) -> Generated:
    """Answer the question whose prompt goes on with `suffix` after a computed prefix.

    The prefix's cache is longer afterwards: rewind it before it is used again. `prepare`
    of the timings is left for the caller to fill in.
    """
    cache = prefix.cache
    found = (
        scored(loaded, behind(suffix), plan, cache)
        if plan.temperature > 0
        else continued(loaded, suffix, plan, cache)
    )
    ids, finish_reason, logprob, _, prefill, decode = _run(loaded, found, plan, cache)
    prompt = prefix.positions + len(suffix)
    return Generated(
        ids=ids,
        finish_reason=finish_reason,
        tokens=TokenCounts(prompt=prompt, completion=len(ids), image=prefix.image),
        timings=Timings(prefill=prefill, decode=decode),
        logprob=logprob,
    )


def _run(
    loaded: Loaded, found: _Scored, plan: GenerationPlan, cache: list[Any]
) -> tuple[tuple[int, ...], FinishReason, float | None, int | None, float, float]:
    """(ids, why it ended, logprob, positions of the prompt, seconds of prefill and of decode).

    Returns only after the stream that computed the answer has synchronised: an error of
    the device can come late (docs/facts/memory.md, "When an out-of-memory error can be
    caught"). Uses `generate_step`, which unlike `stream_generate` never wires memory.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    started = perf_counter()
    with closing(_steps(found, plan)) as steps:
        first = next(steps)
        positions, prefilled = positions_in(cache), perf_counter()
        ended = ended_by(loaded.tokenizer, plan.stop)
        said, finish_reason = _collect(first, steps, loaded.stop, ended)
    mx.synchronize(generation_stream)
    ids = tuple(token for token, _ in said)
    logprob = sum(one for _, one in said) if plan.logprobs else None
    return ids, finish_reason, logprob, positions, prefilled - started, perf_counter() - prefilled


def _steps(found: _Scored, plan: GenerationPlan) -> Generator[_Said, None, None]:
    """Tokens, one at a time; the first one comes after the whole prefill."""
    with closing(found) as steps:
        for token, scores in steps:
            said = int(token)
            wanted = plan.logprobs
            yield said, logprobs(scores.reshape(1, -1), [(0, said)])[0] if wanted else 0.0


def scored(
    loaded: Loaded,
    prepared: Prepared,
    plan: GenerationPlan,
    cache: list[Any],
    sampler: Callable[[Any], Any] | None = None,
) -> _Scored:
    """Tokens, each with the log-probabilities that it was chosen from.

    A quantised KV cache starts at the first token: mlx-vlm's own start of 5000 would
    leave usual prompts as they are (docs/facts/mlx_vlm.md).
    """
    from mlx_vlm.generate import generate_step

    options: dict[str, Any] = dict(prepared.rest)
    if plan.prefill_step is not None:
        options["prefill_step_size"] = plan.prefill_step
    if plan.kv_bits is not None:
        options |= {"kv_bits": plan.kv_bits, "kv_group_size": loaded.kv_group}
    steps: _Scored = generate_step(
        prepared.ids,
        loaded.model,
        prepared.pixels,
        prepared.mask,
        max_tokens=plan.max_tokens,
        temperature=plan.temperature,
        seed=plan.seed,
        sampler=sampler,
        prompt_cache=cache,
        quantized_kv_start=0,
        **options,
    )
    return steps


def _collect(
    first: _Said, steps: Iterator[_Said], stop: frozenset[int], ended: Ended
) -> tuple[list[_Said], FinishReason]:
    """The tokens up to the first end token or stop text, and whether there was one."""
    said: list[_Said] = []
    token: _Said | None = first
    while token is not None:
        if token[0] in stop:
            return said, "stop"
        said.append(token)
        if ended([one for one, _ in said]):
            return said, "stop"
        token = next(steps, None)
    return said, "length"


def positions_in(cache: list[Any]) -> int | None:
    """Positions that the prompt really took, read when the first token is out.

    The cache knows better than the ids: mlx-vlm's llava_next puts more image features
    in than there are placeholders. By then one generated token is in the cache as well.
    """
    offset = getattr(cache[0], "offset", None)
    return offset - 1 if isinstance(offset, int) else None
