"""Questions through `model.generate`, for models that are not known to be plain decoders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from attrs import evolve

from vqa_engine.adapter import GenerationPlan, Timings
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.stopping import ended_by
from vqa_engine_adapters.torch.decoding import logprobs
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.padding import padded, stacked, stacks
from vqa_engine_adapters.torch.preparing import Prepared, counted

_RAW = {"output_logits": True, "return_dict_in_generate": True}
"""Has `generate` give the logits of each step, before anything is done to them."""

_LIKE_TOKENS = ("token_type_ids", "mm_token_type_ids")
"""What processors make with one number for each token, beside ids and mask."""


class _Clock:
    """A streamer of `generate`, here only to note when the first token came."""

    def __init__(self) -> None:
        self.calls = 0
        self.first = 0.0

    def put(self, _value: Any) -> None:
        """Called with the prompt, then with each token."""
        self.calls += 1
        if self.calls == 2:
            self.first = perf_counter()

    def end(self) -> None:
        """Nothing to flush."""


def generate_whole(
    loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan
) -> list[Generated]:
    """Answer with transformers' own loop, which knows every model's peculiarities.

    The prompts are computed in one piece. Questions whose pictures have other shapes follow
    in a batch of their own.
    """
    loaded.bound(evolve(plan, prefill_step=None))
    said: dict[int, Generated] = {}
    for group in stacks(asked):
        said |= zip(map(id, group), _together(loaded, group, plan), strict=True)
    return [said[id(one)] for one in asked]


def forced(loaded: Loaded, prepared: Prepared, option: Sequence[int], plan: GenerationPlan) -> Any:
    """The logits of each step while the model says these ids, shape (tokens, vocabulary)."""
    import torch

    rest = iter(option)
    with torch.inference_mode():
        output = loaded.model.generate(
            **_inputs(loaded, [prepared]),
            **_sampling(evolve(plan, temperature=0.0)),
            max_new_tokens=len(option),
            eos_token_id=None,
            pad_token_id=min(loaded.stop, default=0),
            prefix_allowed_tokens_fn=lambda _row, _ids: [next(rest)],
            **_RAW,
        )
    synchronise(loaded.device)
    return torch.cat(output.logits)


def _together(loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan) -> list[Generated]:
    import torch

    started, clock, count = perf_counter(), _Clock(), len(asked)
    torch.manual_seed(plan.seed)  # `generate` takes no generator of its own
    with torch.inference_mode():
        output = loaded.model.generate(
            **_inputs(loaded, asked),
            **_sampling(plan),
            max_new_tokens=plan.max_tokens,
            eos_token_id=sorted(loaded.stop),
            pad_token_id=min(loaded.stop, default=0),
            stopping_criteria=_stopping(loaded, plan),
            **({"streamer": clock} if count == 1 else {}),
            **(_RAW if plan.logprobs else {}),
        )
    synchronise(loaded.device)
    ended = perf_counter()
    first = clock.first or ended
    sequences = output.sequences if plan.logprobs else output
    said = [
        _generated(loaded, one, ids, plan, ((first - started) / count, (ended - first) / count))
        for one, ids in zip(asked, _new(loaded, sequences.tolist(), asked), strict=True)
    ]
    if not plan.logprobs:
        return said
    steps = torch.stack(output.logits, dim=1)
    return [
        evolve(one, logprob=float(logprobs(row[: len(one.ids)], one.ids).sum()))
        for one, row in zip(said, steps, strict=True)
    ]


def _stopping(loaded: Loaded, plan: GenerationPlan) -> list[Any]:
    """What ends a row of `generate` at the plan's stop texts.

    It is called after each new token, with prompts and answers or with answers alone.
    """
    import torch

    if not plan.stop:
        return []
    ended, calls = ended_by(loaded.tokenizer, plan.stop), itertools.count(1)

    def done(ids: Any, _scores: Any, **_options: Any) -> Any:
        new = next(calls)
        return torch.tensor([ended(line[-new:]) for line in ids.tolist()], device=ids.device)

    return [done]


def _generated(
    loaded: Loaded,
    prepared: Prepared,
    ids: tuple[int, ...],
    plan: GenerationPlan,
    seconds: tuple[float, float],
) -> Generated:
    """The answer's ids up to its end token; behind it a batch is padded with such tokens.

    `seconds` are those of prefill and decode.
    """
    end = next((at for at, token in enumerate(ids) if token in loaded.stop), len(ids))
    return Generated(
        ids=ids[:end],
        finish_reason="length" if end == plan.max_tokens else "stop",
        tokens=counted(loaded, prepared, end),
        timings=Timings(prepare=prepared.seconds, prefill=seconds[0], decode=seconds[1]),
    )


def _inputs(loaded: Loaded, asked: Sequence[Prepared]) -> dict[str, Any]:
    """All that the processor made, on the device, floats in the model's precision."""
    if len(asked) == 1:
        made = dict(asked[0].inputs)
    else:
        rows = padded(loaded, [one.ids for one in asked])
        made = stacked([one.inputs for one in asked])
        made |= {"input_ids": rows.ids, "attention_mask": rows.mask.long()}
        for name in _LIKE_TOKENS:
            if name in asked[0].inputs:
                lines = [one.inputs[name][0].tolist() for one in asked]
                made[name] = padded(loaded, lines, blank=0).ids
    return {name: _placed(loaded, value) for name, value in made.items()}


def _placed(loaded: Loaded, value: Any) -> Any:
    if not hasattr(value, "is_floating_point"):
        return value
    dtype = loaded.model.dtype if value.is_floating_point() else value.dtype
    return value.to(loaded.device, dtype)


def _sampling(plan: GenerationPlan) -> dict[str, Any]:
    """Greedy, or plain sampling; the checkpoint's own defaults are switched off."""
    if plan.temperature == 0.0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": plan.temperature, "top_p": 1.0, "top_k": 0}


def _new(
    loaded: Loaded, lines: Sequence[list[int]], asked: Sequence[Prepared]
) -> list[tuple[int, ...]]:
    """The generated ids: a decoder repeats the prompt, an encoder-decoder a start token."""
    if loaded.model.config.is_encoder_decoder:
        return [tuple(line[1:]) for line in lines]
    length = max(len(one.ids) for one in asked)
    repeated = tuple(lines[0][:length])[-len(asked[0].ids) :] == asked[0].ids
    return [tuple(line[length if repeated else 0 :]) for line in lines]
