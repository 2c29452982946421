"""Questions through a loaded model, what is common to them computed once per image."""

from __future__ import annotations

import logging
from time import perf_counter

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.family import Family
from vqa_engine_adapters.mlx.generation import Generated, Prepared, generate, go_on, prepare
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.prefix import Unsuited, check, compute, reserve, rewind, split
from vqa_engine_adapters.mlx.reuse import Key, Prefix, Prefixes

log = logging.getLogger(__name__)


@frozen
class Ready:
    """A question whose prefix is computed: its key, the ids that follow, tokens reused.

    `seconds` is what making it ready took, without the prefix.
    """

    key: Key
    prefix: Prefix
    suffix: list[int]
    reused: int
    seconds: float


class Answering:
    """Answers formatted prompts about pictures, and keeps the prefixes it computed.

    With `reuse` off, or with a model that does not allow it, each question is computed
    from its first token on. Why a model does not is said once, at info level.
    """

    def __init__(self, loaded: Loaded, family: Family, *, reuse: bool, most: int = 0) -> None:
        self.prefixes = Prefixes()
        self._loaded, self._family, self._most = loaded, family, most
        self._reuse = reuse
        self._short = family.tail is not None
        if reuse:
            self._try()

    def generate(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Generated:
        """Answer one prompt."""
        if not self._reuse:
            return generate(self._loaded, self._prepare(prompt, picture, plan), plan)
        key = self.key(prompt, picture, plan)
        kept = self.prefixes.take(key)
        if kept is not None and self._short:
            started = perf_counter()
            suffix = self.suffix(prompt)
            if self._within(len(kept.ids) + len(suffix)):
                seconds = perf_counter() - started
                return self._finish(Ready(key, kept, suffix, kept.positions, seconds), plan)
        return self._prepared(key, kept, self._prepare(prompt, picture, plan), prompt, plan)

    def key(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Key:
        """What the prompt's prefix is kept under."""
        marker = self._family.marker
        return Key(
            digest=picture.digest,
            longest_edge=plan.image_longest_edge if self._family.narrow else None,
            kv_bits=plan.kv_bits,
            before=prompt.partition(marker)[0] if marker else "",
        )

    def suffix(self, prompt: str) -> list[int]:
        """The ids of what follows the image, without what comes before."""
        from mlx_vlm.utils import should_add_special_tokens

        assert self._family.tail is not None
        processor = self._loaded.processor
        special = should_add_special_tokens(self._loaded.config.model_type, processor)
        return self._family.tail(processor, prompt, special=special)

    def _prepared(
        self, key: Key, kept: Prefix | None, prepared: Prepared, prompt: str, plan: GenerationPlan
    ) -> Generated:
        """Answer with all ids at hand; a kept prefix serves only if its ids are the same."""
        try:
            ready = self._ready(key, kept, prepared, plan)
        except Unsuited as reason:
            self._refuse(reason)
            ready = None
        if ready is None:
            return generate(self._loaded, prepared, plan)
        self._short = self._short and self.suffix(prompt) == ready.suffix
        return self._finish(ready, plan)

    def _ready(
        self, key: Key, kept: Prefix | None, prepared: Prepared, plan: GenerationPlan
    ) -> Ready | None:
        """The prefix, kept or computed now; None for a prompt that may not be taken apart."""
        ids = prepared.ids[0].tolist()
        if not self._within(len(ids)):
            return None
        end = split(self._loaded, ids)
        if kept is not None and kept.ids == tuple(ids[:end]):
            return Ready(key, kept, ids[end:], kept.positions, prepared.seconds)
        del kept
        self.prefixes.make_room(self._most)
        prefix = compute(self._loaded, prepared, end, plan)
        return Ready(key, prefix, ids[end:], 0, prepared.seconds)

    def _finish(self, ready: Ready, plan: GenerationPlan) -> Generated:
        """Generate, and keep the prefix if nothing went wrong."""
        prefix, suffix = ready.prefix, ready.suffix
        reserve(prefix, len(suffix) + plan.max_tokens)
        generated = go_on(self._loaded, prefix, suffix, plan)
        rewind(prefix)
        self.prefixes.put(ready.key, prefix)
        return evolve(
            generated,
            tokens=evolve(generated.tokens, reused=ready.reused),
            timings=evolve(generated.timings, prepare=ready.seconds),
        )

    def _prepare(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Prepared:
        narrow, longest_edge = self._family.narrow, plan.image_longest_edge
        if narrow is None or longest_edge is None:
            return prepare(self._loaded, prompt, picture.image)
        with narrow(self._loaded.processor, longest_edge):
            return prepare(self._loaded, prompt, picture.image)

    def _within(self, tokens: int) -> bool:
        """Whether a prompt is short enough for its parts to be computed apart.

        Past a length that its config names, Phi rotates all positions of a step another
        way (mlx_vlm/models/rope_utils.py, `SuScaledRoPE`), so there the steps matter.
        """
        config = self._loaded.config
        scaling = getattr(config, "rope_scaling", None) or {}
        if "long_factor" not in scaling:
            return True
        return tokens <= int(getattr(config, "original_max_position_embeddings", 0))

    def _try(self) -> None:
        try:
            check(self._loaded)
        except Unsuited as reason:
            self._refuse(reason)

    def _refuse(self, reason: Unsuited) -> None:
        self._reuse = False
        name = self._loaded.config.model_type
        log.info("%s: each question is computed from its start, for %s", name, reason)
