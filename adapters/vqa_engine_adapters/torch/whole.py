"""Questions through `model.generate`, for models that are not known to be plain decoders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from attrs import evolve
from PIL import Image, ImageDraw

from vqa_engine.adapter import GenerationPlan, Timings
from vqa_engine_adapters.stopping import ended_by
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.generation import Generated, bound, counted, logprobs, rows_of
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.padding import padded, stacked, stacks
from vqa_engine_adapters.torch.preparing import Prepared

_TRIAL = GenerationPlan(max_tokens=4)
"""How the drawn pictures are asked about: the length of a short answer."""

TRIAL_TEXTS = ("What is this?", "Which colours are in the picture, and how many shapes?")
"""What is asked about them: of two lengths, so that rows are padded for every model."""

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
    bound(loaded, evolve(plan, prefill_step=None))
    said: dict[int, Generated] = {}
    for group in stacks(asked):
        said |= zip(map(id, group), _together(loaded, group, plan), strict=True)
    return [said[id(one)] for one in asked]


def score_whole(
    loaded: Loaded, prepared: Prepared, options: Sequence[Sequence[int]], plan: GenerationPlan
) -> list[float]:
    """The sum of each option's log-probabilities.

    The model is made to say the options, those that begin alike at once.
    """
    found = [0.0] * len(options)
    for row in rows_of([options]):
        row.read(_logits(loaded, prepared, options[row.options[0]], plan), options, found)
    return found


def _logits(loaded: Loaded, prepared: Prepared, option: Sequence[int], plan: GenerationPlan) -> Any:
    """The logits of each step while the model says these ids, shape (tokens, vocabulary)."""
    import torch

    rest = iter(option)
    with torch.inference_mode():
        output = loaded.model.generate(
            **_inputs(torch, loaded, [prepared]),
            **_sampling(evolve(plan, temperature=0.0)),
            max_new_tokens=len(option),
            eos_token_id=None,
            pad_token_id=min(loaded.stop, default=0),
            prefix_allowed_tokens_fn=lambda _row, _ids: [next(rest)],
            **_RAW,
        )
    synchronise(torch, loaded.device)
    return torch.cat(output.logits)


def pictures() -> list[Image.Image]:
    """Four drawn pictures of two sizes, no two alike."""
    drawn = []
    for number, size in enumerate(((96, 64), (96, 64), (64, 160), (64, 160))):
        picture = Image.new("RGB", size, (40 + 50 * number, 200 - 40 * number, 90))
        corner = (8 + 6 * number, 10, 40 + 4 * number, 50)
        ImageDraw.Draw(picture).ellipse(corner, fill=(250, 240 - 60 * number, 20 * number))
        drawn.append(picture)
    return drawn


def same_together(loaded: Loaded, asked: Sequence[Prepared]) -> bool:
    """Whether these questions get the same ids in one batch as alone.

    An encoder-decoder is not tried: its padding is another matter.
    """
    if loaded.model.config.is_encoder_decoder:
        return False
    alone = [generate_whole(loaded, [one], _TRIAL)[0].ids for one in asked]
    return [one.ids for one in generate_whole(loaded, asked, _TRIAL)] == alone


def _together(loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan) -> list[Generated]:
    import torch

    started, clock, count = perf_counter(), _Clock(), len(asked)
    torch.manual_seed(plan.seed)  # `generate` takes no generator of its own
    with torch.inference_mode():
        output = loaded.model.generate(
            **_inputs(torch, loaded, asked),
            **_sampling(plan),
            max_new_tokens=plan.max_tokens,
            eos_token_id=sorted(loaded.stop),
            pad_token_id=min(loaded.stop, default=0),
            stopping_criteria=_stopping(loaded, plan),
            **({"streamer": clock} if count == 1 else {}),
            **(_RAW if plan.logprobs else {}),
        )
    synchronise(torch, loaded.device)
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


def _inputs(torch: Any, loaded: Loaded, asked: Sequence[Prepared]) -> dict[str, Any]:
    """All that the processor made, on the device, floats in the model's precision."""
    if len(asked) == 1:
        made = dict(asked[0].inputs)
    else:
        rows = padded(torch, loaded, [one.ids for one in asked])
        made = stacked(torch, [one.inputs for one in asked])
        made |= {"input_ids": rows.ids, "attention_mask": rows.mask.long()}
        for name in _LIKE_TOKENS:
            if name in asked[0].inputs:
                lines = [one.inputs[name][0].tolist() for one in asked]
                made[name] = padded(torch, loaded, lines, blank=0).ids
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
