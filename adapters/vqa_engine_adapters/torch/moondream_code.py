"""moondream2's own code: built under the transformers that we need, and watched while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from attrs import define

from vqa_engine.adapter import TokenCounts, Trace
from vqa_engine_adapters.checkpoints import hub
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint, weight_files
from vqa_engine_adapters.swapping import swapped
from vqa_engine_adapters.tracing import CHOICES, spread

TOKENIZERS = {"moondream/starmie-v1": "35192e10a54e36eabe0a7cc57a2c1aab371cafc5"}
"""What that code fetches while it loads, and the commit that is used of it."""

_IMAGE = -1
"""Stands for each position of the image in a trace: its code has no token for them."""


def made(checkpoint: Checkpoint) -> Any:
    """The model of the checkpoint's own code, its weights read by us.

    That code is written for transformers 4. Version 5 builds a model without memory first:
    it asks for an attribute that this one lacks (`all_tied_weights_keys`), and leaves the
    buffers that no file holds, the attention mask and the rotary table, uninitialised.

    It is bfloat16 on every device: that is what its code makes of a picture (vision.py,
    `prepare_crops`).
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    config = AutoConfig.from_pretrained(
        checkpoint.folder, trust_remote_code=True, local_files_only=True
    )
    kind = get_class_from_dynamic_module(
        config.auto_map["AutoModelForCausalLM"], str(checkpoint.folder), local_files_only=True
    )
    with _local_tokenizers():
        model = kind(config)
    weights: dict[str, Any] = {}
    for file in weight_files(checkpoint.name, checkpoint.folder):
        weights |= load_file(file)
    model.load_state_dict(weights, assign=True)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return model


@contextmanager
def _local_tokenizers() -> Iterator[None]:
    """Have code that fetches a tokenizer while it loads find the pinned one in the cache."""
    from tokenizers import Tokenizer

    def local(name: str, *_given: Any, **_options: Any) -> Any:
        file = hub.small_file(name, "tokenizer.json", TOKENIZERS.get(name))
        return Tokenizer.from_file(str(file))

    with swapped(Tokenizer, "from_pretrained", staticmethod(local)):
        yield


class _Ended(Exception):
    """The answer has come to a text that ends it."""


@define
class Query:
    """One `query` of that code, which itself returns no more than a text.

    `ids` are the tokens of the prompt behind the image, `generated` counts those of the
    answer, `first` are the likeliest first ones with their log-probabilities. They are seen on
    their way through two methods that the releases of 2025 have (moondream.py,
    `_prefill_prompt` and `_decode_one_tok`); with other code they stay empty.
    """

    stop: tuple[str, ...] = ()
    text: str = ""
    ids: tuple[int, ...] = ()
    generated: int = 0
    first: tuple[tuple[int, float], ...] = ()

    def run(self, model: Any, encoded: Any, question: str, settings: dict[str, Any]) -> str:
        """The text of the answer; no token is computed after a text that ends it."""
        code = getattr(model, "model", None)
        prompted = _through(code, "_prefill_prompt", self._prompted)
        with prompted, _through(code, "_decode_one_tok", self._continued), suppress(_Ended):
            for part in model.query(encoded, question, stream=True, settings=settings)["answer"]:
                self.text += part
        return self.text

    def tokens(self, encoded: Any, *, reused: bool) -> TokenCounts | None:
        """The counts, None where that code did not show them."""
        if not self.ids:
            return None
        return TokenCounts(
            prompt=encoded.pos + len(self.ids),
            completion=self.generated,
            image=encoded.pos - 1,  # the start token is before it
            reused=encoded.pos if reused else 0,
        )

    def prompt(self, model: Any) -> str | None:
        """What follows the image, with that code's own marks; None where it is not known."""
        if not self.ids:
            return None
        return str(model.model.tokenizer.decode(list(self.ids), skip_special_tokens=False))

    def _prompted(self, method: Any, ids: Any, *given: Any, **named: Any) -> Any:
        self.ids = tuple(ids[0].tolist())
        result = method(ids, *given, **named)
        best = result[0][-1].float().log_softmax(-1).topk(CHOICES)
        self.first = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return result

    def _continued(self, method: Any, *given: Any, **named: Any) -> Any:
        """A step for the next token; the one that it starts from is part of the answer."""
        self.generated += 1
        if any(text in self.text.lstrip() for text in self.stop):
            raise _Ended
        return method(*given, **named)


def trace(model: Any, image: Any, question: str) -> Trace:
    """What that code makes of a picture and a question, computed once more.

    Its image has no tokens; `_IMAGE` stands for each of its positions in the prompt.
    """
    crops: list[Any] = []

    def encoding(method: Any, pictures: Any) -> Any:
        crops.append(pictures.float().cpu().numpy())
        return method(pictures)

    with _through(getattr(model, "model", None), "_vis_enc", encoding):
        encoded = model.encode_image(image)
    query = Query()
    query.run(model, encoded, question, {"temperature": 0.0, "max_tokens": 1})
    if not query.ids or not crops:
        return Trace(prompt=question, image_size=image.size)
    start = model.model.config.tokenizer.bos_id
    return Trace(
        prompt=query.prompt(model) or question,
        prompt_ids=(start, *(encoded.pos - 1) * (_IMAGE,), *query.ids),
        image_size=image.size,
        pixel_shape=tuple(crops[0].shape),
        pixels=spread(crops[0]),
        image_positions=(1, encoded.pos - 1),
        first=query.first,
    )


@contextmanager
def _through(code: Any, name: str, way: Callable[..., Any]) -> Iterator[None]:
    """Have a method's calls go through `way(method, ...)`; code may lack that method."""
    method = getattr(code, name, None)
    if method is None:
        yield
        return
    setattr(code, name, partial(way, method))
    try:
        yield
    finally:
        delattr(code, name)
