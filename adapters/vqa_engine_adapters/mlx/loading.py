"""Loading a checkpoint through mlx-vlm, and what of it the driver needs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from attrs import frozen

from vqa_engine.adapter import ModelRef
from vqa_engine.errors import BackendError, CheckpointError, OutOfMemory
from vqa_engine.failures import classify
from vqa_engine.strays import is_marked
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint
from vqa_engine_adapters.checkpoints.harmless import data_of, left_out
from vqa_engine_adapters.checkpoints.quiet import quiet
from vqa_engine_adapters.context import Context
from vqa_engine_adapters.families.family import Config
from vqa_engine_adapters.importing import import_transformers, uncollected
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.swapping import swapped

log = logging.getLogger(__name__)

_KV_GROUPS = (64, 32)
"""Group widths that `mx.quantize` takes; one has to divide the width of a head."""


@frozen(kw_only=True)
class Loaded:
    """A model in memory: mlx-vlm's model and processor, and the ids that end an answer."""

    model: Any
    processor: Any
    checkpoint: Checkpoint
    stop: frozenset[int]

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer; some processors are their own."""
        return getattr(self.processor, "tokenizer", self.processor)

    @cached_property
    def context(self) -> Context:
        """How many tokens the model reads."""
        return Context.of(self.checkpoint.config)

    @property
    def config(self) -> Any:
        """mlx-vlm's configuration of the model, generation defaults included."""
        return self.model.config

    @cached_property
    def begins(self) -> bool:
        """Whether the tokenizer puts its start token in front of a text."""
        return bool(self.tokenizer("")["input_ids"][:1] == [self.tokenizer.bos_token_id])

    @property
    def kv_group(self) -> int | None:
        """The group width for a quantised KV cache, None if none divides the width of a head."""
        width = int(getattr(self.model.language_model, "head_dim", _KV_GROUPS[0]))
        return next((group for group in _KV_GROUPS if width % group == 0), None)

    def is_image(self, token: int) -> bool:
        """Whether an id is an image placeholder: the config's id, or negative (phi3_v)."""
        return token < 0 or token in self._image_tokens

    @cached_property
    def _image_tokens(self) -> frozenset[int | None]:
        names = ("image_token_index", "image_token_id")
        return frozenset(getattr(self.config, name, None) for name in names)

    @property
    def weights(self) -> int:
        """Bytes of the parameters as they lie in memory."""
        from mlx.utils import tree_flatten

        return sum(array.nbytes for _, array in tree_flatten(self.model.parameters()))


def require() -> None:
    """See that MLX and mlx-vlm are there, before anything is looked for or downloaded.

    Raises:
        BackendError: one of them is not installed; the text has the line that installs it.
    """
    for name in ("mlx", "mlx_vlm"):
        if find_spec(name) is None:
            raise BackendError(
                f"import {name}", "it is not installed", "Run: pip install 'vqa-engine[mlx]'"
            )


def load(family: MlxFamily, checkpoint: Checkpoint, asked: ModelRef) -> Loaded:
    """Load with the real mlx-vlm, and say nothing on stdout or stderr.

    Raises:
        CheckpointError: mlx-vlm cannot make a model of the files.
        OutOfMemory: it does not fit.
        BackendError: mlx-vlm is installed, but its import failed.
    """
    lean = family.pixels is not None and not asked.trust_remote_code and is_marked()
    with _without_torch() if lean else nullcontext():
        model, processor = _loaded(family, checkpoint, asked)
    tokenizer = getattr(processor, "tokenizer", processor)
    return Loaded(
        model=model,
        processor=processor,
        checkpoint=checkpoint,
        stop=stop_tokens(family, tokenizer, model.config),
    )


def _loaded(family: MlxFamily, checkpoint: Checkpoint, asked: ModelRef) -> tuple[Any, Any]:
    load_model = _imported()
    try:
        with quiet(), _completed(family), data_of(checkpoint, asked) as folder:
            model, processor = load_model(str(folder), trust_remote_code=asked.trust_remote_code)
            if family.mend is not None:
                family.mend(model, processor, checkpoint.settings)
    except CheckpointError:
        raise
    except Exception as error:  # any library under mlx-vlm may raise anything
        raise _unloadable(checkpoint, asked, error) from error
    return model, processor


@contextmanager
def _without_torch() -> Iterator[None]:
    """Have torch seem not to be installed while the block runs, unless it is imported already.

    transformers, which mlx-vlm imports, imports torch wherever it is: 3.6 of 4.7 s. A family
    whose pictures we cut with Pillow and numpy has no use for it. In a process of other
    people's it stays in sight, for transformers remembers what it did not find.
    """
    if "torch" in sys.modules or "transformers" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # as importlib says "not to be found"
    try:
        yield
    finally:
        del sys.modules["torch"]


@contextmanager
def _completed(family: MlxFamily) -> Iterator[None]:
    """Have mlx-vlm read a sparse config as the family completes it.

    Its own defaults for what LLaVA's text config leaves out fit one language model only
    (mlx-vlm 0.7.10, models/llava_next/config.py, `TextConfig`).
    """
    from mlx_vlm import utils

    read = utils.load_config

    def completed(*given: Any, **options: Any) -> Config:
        return family.complete(read(*given, **options))

    with swapped(utils, "load_config", completed):
        yield


def _imported() -> Any:
    try:
        with uncollected(), quiet():
            import_transformers()
            from mlx_vlm import load as load_model
    except Exception as error:  # an import runs code, which may raise anything
        raise BackendError(
            "import mlx_vlm", f"it is installed, but {type(error).__name__}: {error}"
        ) from error
    return load_model


def stop_tokens(family: MlxFamily, tokenizer: Any, config: Any) -> frozenset[int]:
    """The union of every source of end tokens.

    No single source is enough: Phi-3.5-vision's config names one that it does not emit,
    SmolVLM's `<end_of_utterance>` is in no config (docs/facts/models.md).
    mlx-vlm has merged generation_config.json into `config` already.
    """
    criteria = getattr(tokenizer, "stopping_criteria", None)
    found: set[int] = set(getattr(criteria, "eos_token_ids", ()))
    for source in (config, getattr(config, "text_config", None), tokenizer):
        found |= _ids(getattr(source, "eos_token_id", None))
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    return frozenset(found | {vocabulary[mark] for mark in family.stop if mark in vocabulary})


def special(loaded: Loaded) -> bool:
    """Whether mlx-vlm has a prompt tokenised with the tokenizer's own markers."""
    from mlx_vlm.utils import should_add_special_tokens

    return bool(should_add_special_tokens(loaded.config.model_type, loaded.processor))


def once_begun(loaded: Loaded, prompt: str) -> tuple[str, bool]:
    """The prompt to tokenise so that it starts once, and whether with the tokenizer's markers.

    Where the chat template writes the start token and the tokenizer does too, there would be
    two: mlx-vlm 0.7.10 does not hand `add_special_tokens` on to Gemma 3's processor
    (utils.py, `process_inputs`). So the template's is left out.
    """
    start = getattr(loaded.tokenizer, "bos_token", None)
    if not start or not prompt.startswith(start):
        return prompt, special(loaded)
    if not loaded.begins:
        return prompt, special(loaded)
    return prompt.removeprefix(start), True


def _ids(declared: Any) -> set[int]:
    """One id, several, or none, as configs spell them."""
    if declared is None:
        return set()
    return {declared} if isinstance(declared, int) else set(declared)


def _unloadable(
    checkpoint: Checkpoint, asked: ModelRef, error: Exception
) -> CheckpointError | OutOfMemory:
    meaning = classify(error, "mlx_vlm.load")
    if isinstance(meaning, OutOfMemory):
        return meaning
    first = str(error).strip().partition("\n")[0] or "no text"
    return CheckpointError(
        checkpoint.name,
        (f"mlx-vlm on {checkpoint.folder}",),
        f"{type(error).__name__}: {first}",
        left_out(checkpoint, asked)
        or "Its files fit no model that this mlx-vlm knows; a newer mlx-vlm may.",
    )
