"""How likely options are as answers: by themselves, or as branches behind one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.continuing import OptionIds, rows_of
from vqa_engine_adapters.mlx.generation import positions_in, scored
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.prefill import steps
from vqa_engine_adapters.mlx.preparing import Prepared
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.mlx.scores import logprobs
from vqa_engine_adapters.mlx.tree import Spot, Tree

_LOGITS = 128
"""Tokens of options whose logits are computed at once: 80 MB for a vocabulary of 150,000."""


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
    with prepared.encoding(), closing(scored(loaded, prepared, plan, cache, forced)) as steps:
        _, scores = next(steps)
        positions, total = positions_in(cache), _logprob(scores, option[0])
        for token, (_, scores) in zip(option[1:], steps, strict=True):
            total += _logprob(scores, token)
    mx.synchronize(generation_stream)
    return Likelihood(total, positions)


def _logprob(scores: Any, token: int) -> float:
    return logprobs(scores.reshape(1, -1), [(0, token)])[0]


def score_together(
    loaded: Loaded,
    prefix: Prefix,
    suffixes: Sequence[Sequence[int]],
    options: Sequence[OptionIds],
    plan: GenerationPlan,
) -> list[list[float]]:
    """The sum of each option's log-probabilities, for questions that share a prefix.

    A question's suffix goes through the model once and its options as branches behind it,
    those that begin alike as one.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    tree, place = Tree(loaded, prefix), prefix.positions
    begun = [token for suffix in suffixes for token in suffix[:-1]]
    trunks = [Spot(n, place + at) for n, one in enumerate(suffixes) for at in range(len(one) - 1)]
    rows, ids, spots = rows_of(options), list[int](), list[Spot]()
    wanted = list[tuple[int, int]]()
    for number, row in enumerate(rows, len(suffixes)):
        *before, last = suffixes[row.asked]
        wanted += [(len(ids) + at, token) for at, token in row.wanted]
        ids += [last, *row.begun]
        start = place + len(before)
        spots += [Spot(number, start + n, trunk=row.asked) for n in range(len(row.begun) + 1)]
    likely: list[float] = []
    with tree.grown(), mx.stream(generation_stream):
        tree.prefill(begun, trunks, plan)
        for first, stop in steps(len(ids), _LOGITS):
            here = [(at - first, token) for at, token in wanted if first <= at < stop]
            likely += logprobs(tree.put(ids[first:stop], spots[first:stop]), here)
    mx.synchronize(generation_stream)
    found, rest = [[0.0] * len(each) for each in options], iter(likely)
    for row in rows:
        row.read([*islice(rest, len(row.wanted))], found)
    return found
