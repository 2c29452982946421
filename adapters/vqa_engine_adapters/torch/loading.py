"""Loading a checkpoint through transformers, and what of it the driver needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen

from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.errors import BackendError, CheckpointError, OutOfMemory
from vqa_engine.failures import classify
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint
from vqa_engine_adapters.checkpoints.harmless import data_of, left_out
from vqa_engine_adapters.checkpoints.quiet import quiet
from vqa_engine_adapters.context import Context
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.importing import import_transformers, uncollected
from vqa_engine_adapters.torch.device import choose_device, choose_dtype
from vqa_engine_adapters.torch.options import Options
from vqa_engine_adapters.torch.stepwise import Batchwise, Stepwise

log = logging.getLogger(__name__)

PLAIN = frozenset({"idefics3", "smolvlm", "llava", "llava_next"})
"""Types whose language model is a plain causal decoder: positions count up from 0, what
comes later never changes what came before, and one image is one run of tokens. Only these
can be prefilled in steps and reuse an image's prefix; others go through `generate`."""


@frozen(kw_only=True)
class Loaded:
    """A model in memory, on its device.

    `stop` are the ids that end an answer. `steps` and `tiles` bound what is computed at
    once, None where the model is not known to allow it.
    """

    model: Any
    processor: Any
    checkpoint: Checkpoint
    device: Any
    stop: frozenset[int]
    steps: Stepwise | None = None
    tiles: Batchwise | None = None

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer; some processors are their own."""
        return getattr(self.processor, "tokenizer", self.processor)

    @cached_property
    def context(self) -> Context:
        """How many tokens the model reads."""
        return Context.of(self.checkpoint.config)

    @property
    def weights(self) -> int:
        """Bytes of parameters and buffers as they lie in memory; tied ones count once.

        Tables that a quantiser keeps elsewhere (bitsandbytes' scales) are not among them.
        """
        tensors = (*self.model.parameters(), *self.model.buffers())
        parts = (part for tensor in tensors for part in _parts(tensor))
        return sum({part.data_ptr(): part.nbytes for part in parts}.values())

    @property
    def image_token(self) -> int | None:
        """The id at an image's positions."""
        config = self.model.config
        for name in ("image_token_id", "image_token_index"):
            token = getattr(config, name, None)
            if isinstance(token, int):
                return token
        return None

    def bound(self, plan: GenerationPlan) -> None:
        """Have the model compute no more at once than the plan says."""
        if self.steps is not None:
            self.steps.step = plan.prefill_step
        if self.tiles is not None:
            self.tiles.size = plan.encoder_batch


def _parts(tensor: Any) -> Iterator[Any]:
    """A tensor's own storage, or that of the tensors which a quantised one is made of."""
    parts = getattr(tensor, "__tensor_flatten__", None)
    if parts is None:
        yield tensor
        return
    names, _ = parts()
    for name in names:
        yield from _parts(getattr(tensor, name))


def require() -> Any:
    """torch, with transformers beside it.

    Raises:
        BackendError: one of them is not installed, or does not import.
    """
    try:
        with uncollected():
            import torch

            import_transformers()
    except ImportError as error:
        raise BackendError(
            f"import {error.name}", str(error), "Install it: pip install 'vqa-engine[torch]'"
        ) from error
    return torch


def load(family: Family, checkpoint: Checkpoint, model: ModelRef, options: Options) -> Loaded:
    """Load with the real transformers, and say nothing on stdout or stderr.

    Raises:
        ConfigurationError: there is no such device here.
        CheckpointError: transformers cannot make a model of the files.
        OutOfMemory: it does not fit.
    """
    torch = require()
    device = choose_device(torch, options.device)
    arguments = {
        "dtype": choose_dtype(torch, device, model.model, options.dtype),
        "trust_remote_code": model.trust_remote_code,
        "local_files_only": True,
        **_passed_on(options, device),
    }
    try:
        with quiet(), data_of(checkpoint, model) as folder:
            processor = _processor(checkpoint, folder, model)
            _drop_blind_template(processor)
            network = _network(folder, arguments, device)
    except CheckpointError:
        raise
    except Exception as error:  # any library under transformers may raise anything
        raise unloadable(checkpoint, error, left_out(checkpoint, model)) from error
    steps, tiles = _bounds(network)
    return Loaded(
        model=network,
        processor=processor,
        checkpoint=checkpoint,
        device=device,
        stop=_stop_tokens(family, checkpoint, getattr(processor, "tokenizer", processor), network),
        steps=steps,
        tiles=tiles,
    )


def _passed_on(options: Options, device: Any) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if options.attn_implementation is not None:
        given["attn_implementation"] = options.attn_implementation
    if options.quantization is not None:
        # Quantisers place the weights themselves, and cannot be moved afterwards.
        given |= {"quantization_config": options.quantization, "device_map": {"": str(device)}}
    return given


def _processor(checkpoint: Checkpoint, folder: Path, model: ModelRef) -> Any:
    """The checkpoint's processor, without its part for videos where torchvision is missing.

    For SmolVLM it is the one of Idefics3, which writes the same: SmolVLM's own wants num2words
    as well, for videos only.
    """
    from transformers import AutoProcessor, Idefics3Processor

    model_type = checkpoint.config.get("model_type")
    found = Idefics3Processor if model_type == "smolvlm" else _without_videos(model_type)
    return (found or AutoProcessor).from_pretrained(
        folder, trust_remote_code=model.trust_remote_code, local_files_only=True
    )


def _without_videos(model_type: Any) -> Any:
    """The processor class of a model type, less its part for videos; None to leave it whole.

    That part alone needs torchvision (transformers 5.23, Qwen2-VL and others).
    """
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    whole = getattr(transformers, PROCESSOR_MAPPING_NAMES.get(model_type) or "", None)
    if find_spec("torchvision") is not None or whole is None:
        return None
    try:
        parts = whole.get_attributes()
    except ImportError:  # all of it needs torchvision, which its error says
        return None
    if "video_processor" not in parts:
        return None
    still = [part for part in parts if part != "video_processor"]
    return type(whole.__name__, (whole,), {"get_attributes": classmethod(lambda _: still)})


def _drop_blind_template(processor: Any) -> None:
    """Take a chat template away that cannot render an image, as a language model's own."""
    content = [{"type": "image"}, {"type": "text", "text": "?"}]
    try:
        said = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    except Exception:  # noqa: BLE001  a template may raise anything, and then is no use
        said = ""
    if not said or "{'type'" in said:
        for owner in (processor, getattr(processor, "tokenizer", processor)):
            owner.chat_template = None


def _network(folder: Path, arguments: Mapping[str, Any], device: Any) -> Any:
    from transformers import AutoModelForImageTextToText

    network = AutoModelForImageTextToText.from_pretrained(folder, **arguments)
    return network.eval() if "device_map" in arguments else network.eval().to(device)


def _bounds(network: Any) -> tuple[Stepwise | None, Batchwise | None]:
    """Put the bounds before the decoder and the vision encoder of a plain model."""
    if network.config.model_type not in PLAIN:
        return None, None
    decoder, inner = network.get_decoder(), network.model
    encoder = inner.vision_model if hasattr(inner, "vision_model") else inner.vision_tower
    steps, tiles = Stepwise(decoder.forward), Batchwise(encoder.forward)
    decoder.forward, encoder.forward = steps, tiles
    return steps, tiles


def _stop_tokens(
    family: Family, checkpoint: Checkpoint, tokenizer: Any, network: Any
) -> frozenset[int]:
    """The union of every source of end tokens; no single one is enough
    (docs/facts/models.md, "quirks to encode").

    What a config leaves unsaid is not asked of transformers, whose default (2, for a Llama)
    is some other token of most tokenizers.
    """
    config, found = checkpoint.config, set[int]()
    generation = getattr(network, "generation_config", None)
    text = config.get("text_config") or {}
    declared = [one.get("eos_token_id") for one in (config, text)]
    declared += [getattr(one, "eos_token_id", None) for one in (generation, tokenizer)]
    for ids in declared:
        found |= {ids} if isinstance(ids, int) else set(ids or ())
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    return frozenset(found | {vocabulary[mark] for mark in family.stop if mark in vocabulary})


def unloadable(
    checkpoint: Checkpoint, error: Exception, unread: str = ""
) -> CheckpointError | OutOfMemory:
    """The error of ours for what transformers raised while loading.

    `unread` says what of the checkpoint transformers was not shown.
    """
    meaning = classify(error, "transformers.from_pretrained")
    if isinstance(meaning, OutOfMemory):
        return meaning
    while isinstance(error, ImportError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # transformers' own words only say which of its modules it was
    text = str(error).strip()
    remedy = unread or "Its files fit no model that this transformers knows; a newer one may."
    if "torchvision::" in text:
        remedy = "torchvision is of another torch's build: install this one's, or uninstall it."
    elif "torchvision" in text.lower():
        remedy = "Its processor needs torchvision: pip install torchvision, of torch's own build."
    elif isinstance(error, ImportError) or "pip install" in text:
        remedy = "Install what it names."
    first = " ".join(text.split())[:300] or "no text"
    return CheckpointError(
        checkpoint.name,
        (f"transformers on {checkpoint.folder}",),
        f"{type(error).__name__}: {first}",
        remedy,
    )
