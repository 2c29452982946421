"""Several questions about one image in one go, as branches behind one prefix.

All that the questions' tokens have in common is the prefix's keys and values. So the
branches go through the model as one row, one behind the other, in the cache of the prefix
itself: a mask lets a token see the prefix and what comes before it in its own branch, and
each token is rotated to the place that it has in its own question. The prefix is there
once whatever the number of questions, nothing is padded, and a branch that has ended is
simply continued no more. mlx-vlm's `BatchKVCache` (mlx_vlm/models/cache.py) would hold the
prefix once per question instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from time import perf_counter
from typing import Any

from attrs import define, evolve, field, frozen

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.mlx.generation import Generated
from vqa_engine_adapters.mlx.greedy import has_head, last_places, looks_ahead
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.prefill import steps
from vqa_engine_adapters.mlx.prefix import Unsuited
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.stopping import Ended, ended_by
from vqa_engine_adapters.swapping import swapped

MOST_QUESTIONS = 16
"""Questions that go together at most.

Processor time per question of a SmolVLM with 17 tiles, four tokens each, OpenBLAS: 98 ms one
by one, 48, 44, 35, 35 and 49 ms in batches of 2, 4, 8, 16 and 32. What the mask hides is
computed as well, and grows with the square of the batch.
"""

MOST_PLACES = 512
"""Places in the cache that the answers of a batch may take: 16 of the default 32 tokens.
They are reserved beforehand, so long answers make for small batches."""


def most(plan: GenerationPlan) -> int:
    """How many questions go together under a plan; 1 where they have to go alone.

    Sampling draws from a row of random numbers that belongs to one question, and rounding
    keys and values to a few bits makes much of the last bit, in which a batch may differ.
    """
    if plan.temperature > 0 or plan.kv_bits is not None:
        return 1
    return max(1, min(MOST_QUESTIONS, MOST_PLACES // plan.max_tokens))


def check(loaded: Loaded) -> None:
    """See that the model turns positions where `Tree` can reach it.

    Raises:
        Unsuited: it does so elsewhere, or in a way of its own.
    """
    from mlx.nn import RoPE
    from mlx_vlm.models.rope_utils import SuScaledRoPE

    for layer in loaded.model.language_model.layers:
        rope = getattr(getattr(layer, "self_attn", None), "rope", None)
        if type(rope) not in (RoPE, SuScaledRoPE):
            raise Unsuited(f"its positions are turned by a {type(rope).__name__}")


_LOGITS = 128
"""Tokens of options whose logits are computed at once: 80 MB for a vocabulary of 150,000."""

_TRUNK, _PADDING = -1, -2
"""The branch of tokens that all branches see, and that of rows that only fill up a pass."""

_FEW, _FULL = 4, 8
"""From 4 rows on, a pass of quantised weights is filled up to 8 on CUDA: below 8 MLX multiplies
row by row there. A pass of LLaVA 1.6 7B in 4 bits on an H200: 9, 15, 22, 27, 18 and 19 ms with
1, 2, 4, 5, 8 and 16 rows (`benchmarks/gpu.py`)."""


@frozen
class _Spot:
    """Where a token belongs: a branch, and a place in that branch's question."""

    branch: int
    place: int


@define
class _Branch:
    """A question behind the prefix; `next` is where its next token belongs."""

    next: _Spot
    ids: list[int] = field(factory=list)
    finish_reason: FinishReason = "length"
    decode: float = 0.0
    logprob: float = 0.0

    def take(self, token: int, logprob: float, stop: frozenset[int], ended: Ended) -> bool:
        """Take the token that the model chose; whether the answer goes on."""
        if token in stop:
            self.finish_reason = "stop"
            return False
        self.ids.append(token)
        self.logprob += logprob
        if ended(self.ids):
            self.finish_reason = "stop"
            return False
        return True

    def step(self) -> _Spot:
        """The spot of the newest token, which now goes through the model."""
        spot, self.next = self.next, evolve(self.next, place=self.next.place + 1)
        return spot


class _Rotation:
    """A layer's rotation, which turns each token to the place that the tree gives it."""

    def __init__(self, rope: Any, tree: _Tree) -> None:
        self._rope, self._tree = rope, tree

    def __call__(self, x: Any, offset: Any = None) -> Any:
        """`x` has shape (1, heads, tokens, width); `rope` takes one offset per row."""
        rows = x.transpose(2, 1, 0, 3)
        return self._rope(rows, offset=self._tree.places).transpose(2, 1, 0, 3)


class _Tree:
    """A prefix's cache with branches behind it. `places` are those of the tokens under way."""

    def __init__(self, loaded: Loaded, prefix: Prefix) -> None:
        self.places: Any = None
        self._model, self._prefix = loaded.model.language_model, prefix
        self._branches: list[int] = []
        self._fills = _fills(self._model)

    @contextmanager
    def grown(self) -> Iterator[None]:
        """Have the model's layers turn positions as the tree says while the block runs."""
        with ExitStack() as stack:
            for layer in self._model.layers:
                attention = layer.self_attn
                stack.enter_context(swapped(attention, "rope", _Rotation(attention.rope, self)))
            yield

    def put(self, ids: Any, spots: Sequence[_Spot], wanted: int | None = None) -> Any:
        """Let these tokens follow; the logits of the last `wanted`, of all if None, lazily.

        The logits have shape (tokens, vocabulary).
        """
        import mlx.core as mx

        count = len(spots)
        few = self._fills and wanted is None and _FEW <= count < _FULL
        more = _FULL - count if few else 0
        padded = [*spots, *[_Spot(_PADDING, self._prefix.positions)] * more]
        self.places = mx.array([spot.place for spot in padded])
        row = mx.concatenate([mx.array(ids), mx.zeros(more, mx.int32)]).reshape(1, -1)
        mask = self._mask([spot.branch for spot in padded])
        self._branches += [spot.branch for spot in spots]
        with nullcontext() if wanted is None else last_places(self._model, wanted):
            logits = self._model(inputs=row, cache=self._prefix.cache, mask=mask).logits[0]
        if more:
            for layer in self._prefix.cache:
                layer.trim(more)
        return logits[:count]

    def _mask(self, new: Sequence[int]) -> Any:
        """What tokens of these branches see: the prefix, and their branch up to themselves."""
        import mlx.core as mx

        branches = mx.array([*self._branches, *new])
        count = len(branches)
        kin = (branches[-len(new) :, None] == branches[None]) | (branches[None] == _TRUNK)
        earlier = mx.arange(count - len(new), count)[:, None] >= mx.arange(count)[None]
        prefix = mx.ones((len(new), self._prefix.positions), dtype=mx.bool_)
        return mx.concatenate([prefix, kin & earlier], axis=1)


def _fills(model: Any) -> bool:
    """Whether passes of a few rows are filled up: quantised weights on CUDA."""
    import mlx.core as mx
    from mlx.nn import QuantizedLinear

    gpu = mx.default_device().type == mx.DeviceType.gpu
    if not (gpu and mx.cuda.is_available()):
        return False
    return any(isinstance(part, QuantizedLinear) for part in model.layers[0].modules())


def go_on_together(
    loaded: Loaded, prefix: Prefix, suffixes: Sequence[Sequence[int]], plan: GenerationPlan
) -> list[Generated]:
    """Answer the questions whose prompts go on with these ids after a computed prefix.

    Like `generation.go_on` for each, with the same arithmetic. The cache has to have room for
    all suffixes and answers (`prefix.reserve`), and is longer afterwards. Seconds are shared
    equally by the questions that they were spent on, so those of a batch add up to what it
    took.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    tree, started, place = _Tree(loaded, prefix), perf_counter(), prefix.positions
    branches = [_Branch(_Spot(n, place + len(suffix))) for n, suffix in enumerate(suffixes)]
    with tree.grown(), mx.stream(generation_stream):
        logits = _prefilled(tree, loaded, suffixes, prefix, plan)
        mx.eval(logits)
        prefilled = perf_counter()
        ended = ended_by(loaded.tokenizer, plan.stop)
        _decode(tree, branches, logits, loaded.stop, ended, plan)
    mx.synchronize(generation_stream)
    share = (prefilled - started) / len(branches)
    return [
        _generated(prefix, len(suffix), branch, share, plan)
        for suffix, branch in zip(suffixes, branches, strict=True)
    ]


def score_together(
    loaded: Loaded,
    prefix: Prefix,
    suffix: Sequence[int],
    options: Sequence[Sequence[int]],
    plan: GenerationPlan,
) -> list[float]:
    """The sum of each option's log-probabilities, behind a prefix and a suffix for all.

    The suffix goes through the model once and the options as branches behind it. The cache has
    to have room for all of them, and is longer afterwards.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    tree, place = _Tree(loaded, prefix), prefix.positions
    trunk = [_Spot(_TRUNK, place + n) for n in range(len(suffix))]
    spots = [
        _Spot(number, trunk[-1].place + n)
        for number, option in enumerate(options)
        for n in range(len(option))
    ]
    ids = [token for option in options for token in (suffix[-1], *option[:-1])]
    wanted = [token for option in options for token in option]
    totals = [0.0] * len(options)
    with tree.grown(), mx.stream(generation_stream):
        _prefill(tree, suffix[:-1], trunk[:-1], prefix, plan)
        for first, stop in steps(len(spots), _LOGITS):
            found = _logprobs(tree.put(ids[first:stop], spots[first:stop]), wanted[first:stop])
            for spot, logprob in zip(spots[first:stop], found, strict=True):
                totals[spot.branch] += logprob
    mx.synchronize(generation_stream)
    return totals


def _logprobs(logits: Any, tokens: Sequence[int]) -> list[float]:
    """The log-probability of one token of each row, computed in float32."""
    import mlx.core as mx

    wide = logits.astype(mx.float32)
    chosen = mx.take_along_axis(wide, mx.array(list(tokens))[:, None], axis=-1)[:, 0]
    found: Any = (chosen - mx.logsumexp(wide, axis=-1)).tolist()
    return list(found)


def _prefilled(
    tree: _Tree,
    loaded: Loaded,
    suffixes: Sequence[Sequence[int]],
    prefix: Prefix,
    plan: GenerationPlan,
) -> Any:
    """Put the suffixes into the cache; the logits behind the last token of each.

    The last tokens of all stand at the end of the row, in the last step.
    """
    place, count = prefix.positions, len(suffixes)
    ids = [token for suffix in suffixes for token in suffix[:-1]]
    spots = [_Spot(n, place + at) for n, one in enumerate(suffixes) for at in range(len(one) - 1)]
    ids += [suffix[-1] for suffix in suffixes]
    spots += [_Spot(n, place + len(one) - 1) for n, one in enumerate(suffixes)]
    # Where the head cannot be kept to a few places, the last tokens go through by themselves.
    start = len(ids) - count
    if has_head(loaded.model.language_model):
        *_, (last, _) = steps(len(ids), plan.prefill_step)
        start = min(start, last)
    _prefill(tree, ids[:start], spots[:start], prefix, plan)
    return tree.put(ids[start:], spots[start:], count)


def _prefill(
    tree: _Tree, ids: Sequence[int], spots: Sequence[_Spot], prefix: Prefix, plan: GenerationPlan
) -> None:
    """Put tokens into the cache, a step of the plan at a time; no logits are computed."""
    import mlx.core as mx

    for start, stop in steps(len(ids), plan.prefill_step):
        tree.put(ids[start:stop], spots[start:stop])
        mx.eval([layer.state for layer in prefix.cache])
        mx.clear_cache()


def _decode(  # noqa: PLR0913, PLR0917  all that the loop is about
    tree: _Tree,
    branches: Sequence[_Branch],
    logits: Any,
    stop: frozenset[int],
    ended: Ended,
    plan: GenerationPlan,
) -> None:
    """Let the branches grow, one token each at a time, until each has ended.

    A GPU computes the tokens after these while these are looked at; see `greedy.continued`.
    """
    import mlx.core as mx

    growing, ahead = list(branches), looks_ahead()
    for left in reversed(range(plan.max_tokens)):
        started = perf_counter()
        chosen, following = _choose(logits), None
        if ahead and left:
            following = tree.put(chosen, [branch.step() for branch in growing])
            mx.async_eval(chosen, following)  # type: ignore[no-untyped-call]  # in its stubs
        tokens: list[int] = chosen.tolist()
        likely = _logprobs(logits, tokens) if plan.logprobs else [0.0] * len(tokens)
        share = (perf_counter() - started) / len(growing)
        for branch in growing:
            branch.decode += share
        going = [
            n
            for n, branch in enumerate(growing)
            if branch.take(tokens[n], likely[n], stop, ended) and left
        ]
        if not going:
            return
        growing, fewer = [growing[n] for n in going], len(going) < len(growing)
        if following is None:
            following = tree.put([tokens[n] for n in going], [one.step() for one in growing])
        elif fewer:
            following = following[mx.array(going)]
        logits = following


def _choose(logits: Any) -> Any:
    """The likeliest token of each row, found as mlx_vlm/generate/ar.py does at temperature 0."""
    import mlx.core as mx

    return mx.argmax(logits - mx.logsumexp(logits, axis=-1, keepdims=True), axis=-1)


def _generated(
    prefix: Prefix, suffix: int, branch: _Branch, prefill: float, plan: GenerationPlan
) -> Generated:
    return Generated(
        ids=tuple(branch.ids),
        finish_reason=branch.finish_reason,
        tokens=TokenCounts(
            prompt=prefix.positions + suffix, completion=len(branch.ids), image=prefix.image
        ),
        timings=Timings(prefill=prefill, decode=branch.decode),
        logprob=branch.logprob if plan.logprobs else None,
    )
