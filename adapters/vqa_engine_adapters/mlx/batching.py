"""Several questions about one image answered in one go, as branches behind one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from attrs import define, evolve, field

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.mlx.device import on_gpu
from vqa_engine_adapters.mlx.greedy import has_head
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.prefill import steps
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.mlx.scores import chosen, logprobs
from vqa_engine_adapters.mlx.tree import Spot, Tree
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
    """A question behind the prefix; `next` is where its next token belongs."""

    next: Spot
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

    def step(self) -> Spot:
        """The spot of the newest token, which now goes through the model."""
        spot, self.next = self.next, evolve(self.next, place=self.next.place + 1)
        return spot


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

    tree, started, place = Tree(loaded, prefix), perf_counter(), prefix.positions
    branches = [_Branch(Spot(n, place + len(suffix))) for n, suffix in enumerate(suffixes)]
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


def _prefilled(
    tree: Tree,
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
    spots = [Spot(n, place + at) for n, one in enumerate(suffixes) for at in range(len(one) - 1)]
    ids += [suffix[-1] for suffix in suffixes]
    spots += [Spot(n, place + len(one) - 1) for n, one in enumerate(suffixes)]
    # Where the head cannot be kept to a few places, the last tokens go through by themselves.
    start = len(ids) - count
    if has_head(loaded.model.language_model):
        *_, (last, _) = steps(len(ids), plan.prefill_step)
        start = min(start, last)
    tree.prefill(ids[:start], spots[:start], plan)
    return tree.put(ids[start:], spots[start:], count)


def _decode(  # noqa: PLR0913, PLR0917  all that the loop is about
    tree: Tree,
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

    growing, ahead = list(branches), on_gpu()
    for left in reversed(range(plan.max_tokens)):
        started = perf_counter()
        best, following = chosen(logits), None
        if ahead and left:
            following = tree.put(best, [branch.step() for branch in growing])
            mx.async_eval(best, following)  # type: ignore[no-untyped-call]  # in its stubs
        tokens: list[int] = best.tolist()
        likely = logprobs(logits, [*enumerate(tokens)]) if plan.logprobs else [0.0] * len(tokens)
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
