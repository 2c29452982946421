"""Prepared questions answered together, whichever way their model goes."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from vqa_engine.adapter import GenerationPlan, Timings
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.torch.decoding import decode
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.prefill import Batch
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, counted
from vqa_engine_adapters.torch.whole import generate_whole


def generate(
    loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan, prefixes: Prefixes
) -> list[Generated]:
    """Answer prepared questions, obeying the plan.

    Those that can be cut at their image go together behind its prefix, the others through
    transformers' own `generate`.
    """
    cut = [one for one in asked if one.split]
    said = iter(_behind_prefixes(loaded, cut, plan, prefixes) if cut else ())
    rest = [one for one in asked if not one.split]
    others = iter(generate_whole(loaded, rest, plan) if rest else ())
    return [next(said if one.split else others) for one in asked]


def _behind_prefixes(
    loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan, prefixes: Prefixes
) -> list[Generated]:
    """Returns only after the device has finished: an error may come late, and what it spoils
    is not kept. The questions share the seconds of what was computed for all of them.
    """
    import torch

    started = perf_counter()
    loaded.bound(plan)
    with torch.inference_mode():
        batch = Batch(loaded, asked, plan.max_tokens, prefixes)
        logits = batch.prefill()
        prefilled = perf_counter()
        said = decode(loaded, batch, logits, plan)
        synchronise(loaded.device)
    prefill, decoded = prefilled - started, perf_counter() - prefilled
    return [
        Generated(
            ids=tuple(ids),
            finish_reason="length" if len(ids) == plan.max_tokens else "stop",
            tokens=counted(loaded, one, len(ids)),
            timings=Timings(
                prepare=one.seconds, prefill=prefill / len(asked), decode=decoded / len(asked)
            ),
            logprob=logprob if plan.logprobs else None,
        )
        for one, (ids, logprob) in zip(asked, said, strict=True)
    ]
