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
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from attrs import define, field, frozen

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.mlx.generation import Generated
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

_TRUNK = -1
"""The branch of tokens that all branches see."""


@frozen
class _Token:
    """A token, the branch that it belongs to, and its place in that branch's question."""

    id: int
    branch: int
    place: int


@define
class _Branch:
    """A question behind the prefix; `next` is its newest token, not yet in the cache."""

    next: _Token
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
        self.next = _Token(token, self.next.branch, self.next.place + 1)
        return True


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

    @contextmanager
    def grown(self) -> Iterator[None]:
        """Have the model's layers turn positions as the tree says while the block runs."""
        with ExitStack() as stack:
            for layer in self._model.layers:
                attention = layer.self_attn
                stack.enter_context(swapped(attention, "rope", _Rotation(attention.rope, self)))
            yield

    def put(self, tokens: Sequence[_Token]) -> Any:
        """Let these tokens follow; the logits of each, shape (tokens, vocabulary), lazily."""
        import mlx.core as mx

        self._branches += [token.branch for token in tokens]
        self.places = mx.array([token.place for token in tokens])
        ids = mx.array([[token.id for token in tokens]])
        output = self._model(inputs=ids, cache=self._prefix.cache, mask=self._mask(len(tokens)))
        return output.logits[0]

    def _mask(self, new: int) -> Any:
        """What the last `new` tokens see: the prefix, and their branch up to themselves."""
        import mlx.core as mx

        branches, count = mx.array(self._branches), len(self._branches)
        kin = (branches[-new:, None] == branches[None]) | (branches[None] == _TRUNK)
        earlier = mx.arange(count - new, count)[:, None] >= mx.arange(count)[None]
        prefix = mx.ones((new, self._prefix.positions), dtype=mx.bool_)
        return mx.concatenate([prefix, kin & earlier], axis=1)


def go_on_together(
    loaded: Loaded, prefix: Prefix, suffixes: Sequence[Sequence[int]], plan: GenerationPlan
) -> list[Generated]:
    """Answer the questions whose prompts go on with these ids after a computed prefix.

    Like `generation.go_on` for each, with the same arithmetic: all of a suffix but its last
    token is prefilled, then each token is the greedy choice after the one before. The cache
    has to have room for all suffixes and answers (`prefix.reserve`), and is longer
    afterwards. Seconds are shared equally by the questions that they were spent on, so
    those of a batch add up to what it took.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    tree, started, place = _Tree(loaded, prefix), perf_counter(), prefix.positions
    rows = [
        [_Token(token, number, place + n) for n, token in enumerate(suffix)]
        for number, suffix in enumerate(suffixes)
    ]
    branches = [_Branch(row[-1]) for row in rows]
    with tree.grown(), mx.stream(generation_stream):
        _prefill(tree, [token for row in rows for token in row[:-1]], prefix, plan)
        prefilled = perf_counter()
        ended = ended_by(loaded.tokenizer, plan.stop)
        _decode(tree, branches, loaded.stop, ended, plan)
    mx.synchronize(generation_stream)
    share = (prefilled - started) / len(rows)
    return [
        _generated(prefix, len(row), branch, share, plan)
        for row, branch in zip(rows, branches, strict=True)
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
    trunk = [_Token(token, _TRUNK, place + n) for n, token in enumerate(suffix)]
    start, last = trunk[-1].place, suffix[-1]
    tokens = [
        _Token(token, number, start + n)
        for number, option in enumerate(options)
        for n, token in enumerate((last, *option[:-1]))
    ]
    wanted = [token for option in options for token in option]
    totals = [0.0] * len(options)
    with tree.grown(), mx.stream(generation_stream):
        _prefill(tree, trunk[:-1], prefix, plan)
        for first, stop in steps(len(tokens), _LOGITS):
            found = _logprobs(tree.put(tokens[first:stop]), wanted[first:stop])
            for token, logprob in zip(tokens[first:stop], found, strict=True):
                totals[token.branch] += logprob
    mx.synchronize(generation_stream)
    return totals


def _logprobs(logits: Any, tokens: Sequence[int]) -> list[float]:
    """The log-probability of one token of each row, computed in float32."""
    import mlx.core as mx

    wide = logits.astype(mx.float32)
    chosen = mx.take_along_axis(wide, mx.array(list(tokens))[:, None], axis=-1)[:, 0]
    found: Any = (chosen - mx.logsumexp(wide, axis=-1)).tolist()
    return list(found)


def _prefill(tree: _Tree, tokens: Sequence[_Token], prefix: Prefix, plan: GenerationPlan) -> None:
    """Put the suffixes into the cache, a step of the plan at a time; no logits are computed."""
    import mlx.core as mx

    for start, stop in steps(len(tokens), plan.prefill_step):
        tree.put(tokens[start:stop])
        mx.eval([layer.state for layer in prefix.cache])
        mx.clear_cache()


def _decode(
    tree: _Tree,
    branches: Sequence[_Branch],
    stop: frozenset[int],
    ended: Ended,
    plan: GenerationPlan,
) -> None:
    """Let the branches grow, one token each at a time, until each has ended."""
    growing = list(branches)
    for _ in range(plan.max_tokens):
        if not growing:
            return
        started = perf_counter()
        logits = tree.put([branch.next for branch in growing])
        chosen = _choose(logits)
        likely = _logprobs(logits, chosen) if plan.logprobs else [0.0] * len(chosen)
        share = (perf_counter() - started) / len(growing)
        for branch in growing:
            branch.decode += share
        growing = [
            branch
            for branch, token, logprob in zip(growing, chosen, likely, strict=True)
            if branch.take(token, logprob, stop, ended)
        ]


def _choose(logits: Any) -> list[int]:
    """The likeliest token of each row, found as mlx_vlm/generate/ar.py does at temperature 0."""
    import mlx.core as mx

    likelihoods = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    chosen: Any = mx.argmax(likelihoods, axis=-1).tolist()
    return list(chosen)


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
