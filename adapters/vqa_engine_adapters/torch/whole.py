"""One question through `model.generate`, for models that are not known to be plain decoders."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from vqa_engine.adapter import GenerationPlan, Timings
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.generation import Generated, counted
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.preparing import Prepared


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


def generate_whole(loaded: Loaded, prepared: Prepared, plan: GenerationPlan) -> Generated:
    """Answer with transformers' own loop, which knows every model's peculiarities.

    The prompt is computed at once: only plain models can be prefilled in steps.
    """
    import torch

    started, clock = perf_counter(), _Clock()
    torch.manual_seed(plan.seed)  # `generate` takes no generator of its own
    with torch.inference_mode():
        output = loaded.model.generate(
            **_inputs(loaded, prepared),
            **_sampling(plan),
            max_new_tokens=plan.max_tokens,
            eos_token_id=sorted(loaded.stop),
            pad_token_id=min(loaded.stop, default=0),
            streamer=clock,
        )
    synchronise(torch, loaded.device)
    ended = perf_counter()
    ids = _new(loaded, output[0].tolist(), prepared)
    stopped = bool(ids) and ids[-1] in loaded.stop
    ids = ids[:-1] if stopped else ids
    first = clock.first or ended
    return Generated(
        ids=ids,
        finish_reason="stop" if stopped else "length",
        tokens=counted(loaded, prepared, len(ids)),
        timings=Timings(prepare=prepared.seconds, prefill=first - started, decode=ended - first),
    )


def _inputs(loaded: Loaded, prepared: Prepared) -> dict[str, Any]:
    """All that the processor made, on the device, floats in the model's precision."""
    moved = {}
    for name, value in prepared.inputs.items():
        if hasattr(value, "is_floating_point"):
            dtype = loaded.model.dtype if value.is_floating_point() else value.dtype
            moved[name] = value.to(loaded.device, dtype)
        else:
            moved[name] = value
    return moved


def _sampling(plan: GenerationPlan) -> dict[str, Any]:
    """Greedy, or plain sampling; the checkpoint's own defaults are switched off."""
    if plan.temperature == 0.0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": plan.temperature, "top_p": 1.0, "top_k": 0}


def _new(loaded: Loaded, ids: list[int], prepared: Prepared) -> tuple[int, ...]:
    """The generated ids: a decoder repeats the prompt, an encoder-decoder a start token."""
    if loaded.model.config.is_encoder_decoder:
        return tuple(ids[1:])
    prompt = prepared.ids
    return tuple(ids[len(prompt) :] if tuple(ids[: len(prompt)]) == prompt else ids)
