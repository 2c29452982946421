"""Several questions about one image answered in one go, as branches behind one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from attrs import define, field

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.mlx.scores import chosen, logprobs
from vqa_engine_adapters.mlx.tree import Token, Tree
from vqa_engine_adapters.stopping import Ended, ended_by

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


@define
class _Branch:
    """A question behind the prefix; `next` is its newest token, not yet in the cache."""

    next: Token
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
        self.next = Token(token, self.next.branch, self.next.place + 1)
        return True


def go_on_together(
    loaded: Loaded, prefix: Prefix, suffixes: Sequence[Sequence[int]], plan: GenerationPlan
) -> list[Generated]:
    """Answer the questions whose prompts go on with these ids after a computed prefix.

    Like `generation.go_on` for each, with the same arithmetic: all of a suffix but its last
    token is prefilled, then each token is the greedy choice after the one before. Seconds are
    shared equally by the questions that they were spent on, so those of a batch add up to what
    it took.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    tree, started, place = Tree(loaded, prefix), perf_counter(), prefix.positions
    rows = [
        [Token(token, number, place + n) for n, token in enumerate(suffix)]
        for number, suffix in enumerate(suffixes)
    ]
    branches = [_Branch(row[-1]) for row in rows]
    with tree.grown(), mx.stream(generation_stream):
        tree.prefill([token for row in rows for token in row[:-1]], plan)
        prefilled = perf_counter()
        ended = ended_by(loaded.tokenizer, plan.stop)
        _decode(tree, branches, loaded.stop, ended, plan)
    mx.synchronize(generation_stream)
    share = (prefilled - started) / len(rows)
    return [
        _generated(prefix, len(row), branch, share, plan)
        for row, branch in zip(rows, branches, strict=True)
    ]


def _decode(
    tree: Tree,
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
        tokens = chosen(logits)
        likely = logprobs(logits, [*enumerate(tokens)]) if plan.logprobs else [0.0] * len(tokens)
        share = (perf_counter() - started) / len(growing)
        for branch in growing:
            branch.decode += share
        growing = [
            branch
            for branch, token, logprob in zip(growing, tokens, likely, strict=True)
            if branch.take(token, logprob, stop, ended)
        ]


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
