"""One question through the model: image and prompt made ready, then prefill and decode."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from time import perf_counter
from typing import Any

from attrs import define, evolve, frozen
from PIL import Image

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.mlx.greedy import continued
from vqa_engine_adapters.mlx.loading import Loaded, once_begun
from vqa_engine_adapters.mlx.pixels import Pixels
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.stopping import Ended, ended_by
from vqa_engine_adapters.tracing import CHOICES

_KV_GROUPS = (64, 32)
"""Group widths that `mx.quantize` takes; one has to divide the width of a head."""


_Said = tuple[int, float]
"""A token, and its log-probability where that was asked for."""

_Scored = Generator[tuple[Any, Any], None, None]
"""Tokens, each with what it was chosen from."""


@define(kw_only=True)
class Prepared:
    """A question as arrays, before any of the model has run.

    `ids` are the prompt's token ids with the image's placeholders in place, shape (1, n),
    `pixels` the image's tiles, `mask` the attention mask, `rest` what else the processor
    made. `text_tokens` counts the ids that are no placeholders. `seconds` is what it took.
    While `encoding` is entered, the encoder takes its tiles from outside MLX a few at a
    time, and `pixels` have only their shape.
    """

    ids: Any
    pixels: Any
    mask: Any
    rest: dict[str, Any]
    text_tokens: int
    seconds: float
    encoding: Callable[[], AbstractContextManager[None]] = nullcontext

    def let_go(self) -> None:
        """Let go of the tiles, which are large, once they are encoded."""
        self.pixels, self.mask, self.rest, self.encoding = None, None, {}, nullcontext

    def put_in(self, pixels: Pixels) -> None:
        """Have `pixels` for the tiles, all of them at once."""
        import mlx.core as mx

        self.pixels = mx.array(pixels.values)

    def postpone(
        self, pixels: Pixels, encoding: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Have `pixels` for the tiles, encoded only while `encoding` is entered.

        Until then one number fills their whole shape, in the memory of one.
        """
        import mlx.core as mx

        self.pixels = mx.broadcast_to(mx.array(1.0, mx.float32), pixels.values.shape)
        self.encoding = encoding


@frozen(kw_only=True)
class Generated:
    """What came out: ids without the end token, why it ended, counts and seconds.

    `logprob` is the sum of the ids' log-probabilities, None where it was not asked for.
    """

    ids: tuple[int, ...]
    finish_reason: FinishReason
    tokens: TokenCounts
    timings: Timings
    logprob: float | None = None


def prepare(loaded: Loaded, prompt: str, *images: Image.Image) -> Prepared:
    """Tokens and tiles of a formatted prompt and its RGB images.

    The same steps as `mlx_vlm.generate` (mlx_vlm/generate/dispatch.py,
    `_prepare_generation_inputs`).
    """
    from mlx_vlm import prepare_inputs

    started = perf_counter()
    text, marked = once_begun(loaded, prompt)
    inputs = prepare_inputs(
        loaded.processor,
        images=list(images),
        prompts=text,
        image_token_index=getattr(loaded.config, "image_token_index", None),
        add_special_tokens=marked,
    )
    ids = inputs.pop("input_ids")
    return Prepared(
        ids=ids,
        pixels=inputs.pop("pixel_values", None),
        mask=inputs.pop("attention_mask", None),
        rest=dict(inputs),
        text_tokens=sum(not is_image(loaded, token) for token in ids.flatten().tolist()),
        seconds=perf_counter() - started,
    )


def is_image(loaded: Loaded, token: int) -> bool:
    """Whether an id is an image placeholder: the config's id, or negative (phi3_v)."""
    config = loaded.config
    known = (getattr(config, "image_token_index", None), getattr(config, "image_token_id", None))
    return token < 0 or token in known


def generate(loaded: Loaded, prepared: Prepared, plan: GenerationPlan) -> Generated:
    """Answer a prepared question in one go, as `mlx_vlm.generate` does.

    The cache lives for this one question.
    """
    from mlx_vlm.models.cache import make_prompt_cache

    cache = make_prompt_cache(loaded.model.language_model)
    with prepared.encoding():
        ran = _run(loaded, _scored(loaded, prepared, plan, cache), plan, cache)
    ids, finish_reason, logprob, positions, prefill, decode = ran
    prompt = positions or int(prepared.ids.size)
    return Generated(
        ids=ids,
        finish_reason=finish_reason,
        tokens=TokenCounts(prompt=prompt, completion=len(ids), image=prompt - prepared.text_tokens),
        timings=Timings(prepare=prepared.seconds, prefill=prefill, decode=decode),
        logprob=logprob,
    )


def first_choices(
    loaded: Loaded, prepared: Prepared, plan: GenerationPlan
) -> tuple[tuple[int, float], ...]:
    """The likeliest first tokens of a prepared question, with their log-probabilities."""
    import mlx.core as mx
    from mlx_vlm.models.cache import make_prompt_cache

    cache = make_prompt_cache(loaded.model.language_model)
    with prepared.encoding(), closing(_scored(loaded, prepared, plan, cache)) as steps:
        _, scores = next(steps)
        scores = scores.reshape(-1).astype(mx.float32)
        order: Any = mx.argsort(-scores)[:CHOICES].tolist()
        return tuple((int(token), scores[token].item()) for token in order)


def go_on(loaded: Loaded, prefix: Prefix, suffix: Sequence[int], plan: GenerationPlan) -> Generated:
    """Answer the question whose prompt goes on with `suffix` after a computed prefix.

    The prefix's cache is longer afterwards: rewind it before it is used again. `prepare`
    of the timings is left for the caller to fill in.
    """
    cache = prefix.cache
    found = (
        _scored(loaded, behind(suffix), plan, cache)
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


def behind(suffix: Sequence[int]) -> Prepared:
    """The rest of a prompt whose prefix is in a cache."""
    import mlx.core as mx

    return Prepared(
        ids=mx.array([suffix]), pixels=None, mask=None, rest={}, text_tokens=0, seconds=0.0
    )


@frozen
class Likelihood:
    """The sum of an option's log-probabilities, and the positions that its prompt took."""

    total: float
    positions: int | None


def likelihood_of(
    loaded: Loaded,
    prepared: Prepared,
    option: Sequence[int],
    plan: GenerationPlan,
    cache: list[Any] | None = None,
) -> Likelihood:
    """How likely these ids are behind a prepared prompt.

    The model is made to say them; that works with every model that can generate.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream
    from mlx_vlm.models.cache import make_prompt_cache

    rest, plan = iter(option), evolve(plan, max_tokens=len(option), temperature=0.0)

    def forced(_logprobs: Any) -> Any:
        return mx.array([next(rest, option[-1])])

    cache = make_prompt_cache(loaded.model.language_model) if cache is None else cache
    with prepared.encoding(), closing(_scored(loaded, prepared, plan, cache, forced)) as steps:
        _, scores = next(steps)
        positions, total = _positions(cache), _logprob(scores, option[0])
        for token, (_, scores) in zip(option[1:], steps, strict=True):
            total += _logprob(scores, token)
    mx.synchronize(generation_stream)
    return Likelihood(total, positions)


def _logprob(scores: Any, token: int) -> float:
    """The log-probability of a token, normalised in float32 whatever the model computes in."""
    import mlx.core as mx

    wide = scores.reshape(-1).astype(mx.float32)
    return float((wide[token] - mx.logsumexp(wide)).item())


def _run(
    loaded: Loaded, scored: _Scored, plan: GenerationPlan, cache: list[Any]
) -> tuple[tuple[int, ...], FinishReason, float | None, int | None, float, float]:
    """(ids, why it ended, logprob, positions of the prompt, seconds of prefill and of decode).

    Returns only after the stream that computed the answer has synchronised: an error of
    the device can come late (docs/facts/memory.md, "When an out-of-memory error can be
    caught"). Uses `generate_step`, which unlike `stream_generate` never wires memory.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    started = perf_counter()
    with closing(_steps(scored, plan)) as steps:
        first = next(steps)
        positions, prefilled = _positions(cache), perf_counter()
        ended = ended_by(loaded.tokenizer, plan.stop)
        said, finish_reason = _collect(first, steps, loaded.stop, ended)
    mx.synchronize(generation_stream)
    ids = tuple(token for token, _ in said)
    logprob = sum(one for _, one in said) if plan.logprobs else None
    return ids, finish_reason, logprob, positions, prefilled - started, perf_counter() - prefilled


def _steps(scored: _Scored, plan: GenerationPlan) -> Generator[_Said, None, None]:
    """Tokens, one at a time; the first one comes after the whole prefill."""
    with closing(scored) as steps:
        for token, scores in steps:
            yield int(token), _logprob(scores, int(token)) if plan.logprobs else 0.0


def _scored(
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
        options |= {"kv_bits": plan.kv_bits, "kv_group_size": kv_group(loaded)}
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


def _positions(cache: list[Any]) -> int | None:
    """Positions that the prompt really took, read when the first token is out.

    The cache knows better than the ids: mlx-vlm's llava_next puts more image features
    in than there are placeholders. By then one generated token is in the cache as well.
    """
    offset = getattr(cache[0], "offset", None)
    return offset - 1 if isinstance(offset, int) else None


def kv_group(loaded: Loaded) -> int | None:
    """The group width for a quantised KV cache, None if none divides the width of a head."""
    width = int(getattr(loaded.model.language_model, "head_dim", _KV_GROUPS[0]))
    return next((group for group in _KV_GROUPS if width % group == 0), None)
