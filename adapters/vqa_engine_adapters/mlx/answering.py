"""Questions through a loaded model, what is common to them computed once per image."""

from __future__ import annotations

import logging
from functools import partial
from time import perf_counter

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, QuestionCost
from vqa_engine_adapters.checkpoints.family import Family
from vqa_engine_adapters.mlx.encoding import BATCH, in_batches
from vqa_engine_adapters.mlx.generation import Generated, Prepared, generate, go_on, prepare
from vqa_engine_adapters.mlx.loading import Loaded, special
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.pixels import Cutter, Pixels
from vqa_engine_adapters.mlx.prefix import (
    Unsuited,
    capacity,
    check,
    compute,
    reserve,
    rewind,
    split,
)
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
        self._dearest = 0
        self._tower = family.tower(loaded.model) if family.tower else None
        self.cutter = (
            Cutter(loaded.processor, family.pixels, family.narrow) if family.pixels else None
        )
        self._said: tuple[str, list[int]] = ("", [])
        if reuse:
            self._try()

    def generate(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Generated:
        """Answer one prompt."""
        generated = self._generate(prompt, picture, plan)
        if self._family.sizes is None:
            beside = generated.tokens.prompt - sum(self._texts(prompt))
            self._dearest = max(self._dearest, beside)
        return generated

    @property
    def batches(self) -> bool:
        """Whether the vision encoder can be run a few tiles at a time."""
        return self._tower is not None and self.cutter is not None

    def cost(self, prompt: str, picture: Picture, plan: GenerationPlan) -> QuestionCost:
        """What `generate` would put through the model: tokens at most, tiles exactly.

        Of a model whose family is unknown, an image is taken to cost what the dearest one
        so far did.
        """
        before, after = self._texts(prompt)
        kept = self.prefixes.peek(self.key(prompt, picture, plan)) if self._reuse else None
        if kept is not None:
            whole = kept.positions + after
            return QuestionCost(
                prompt_tokens=whole,
                reused_tokens=kept.positions,
                cache_tokens=max(0, capacity(whole + plan.max_tokens) - kept.capacity),
            )
        tokens, tiles = self._image(picture, plan)
        whole = before + tokens + after
        return QuestionCost(
            prompt_tokens=whole,
            image_tiles=tiles,
            apart_tokens=before + tokens if self._reuse else 0,
            cache_tokens=capacity(whole + plan.max_tokens),
            freed_bytes=self.prefixes.giving_way(self._most) if self._reuse else 0,
        )

    def cut_ahead(self, picture: Picture) -> Pixels | None:
        """What the processor makes of a picture, on another thread than the model's.

        None where it cannot be done there, or where the picture's prefix is kept already.
        """
        if self.cutter is None or self.prefixes.has(picture.digest):
            return None
        return self.cutter(picture.image)

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
        assert self._family.tail is not None
        if self._said[0] != prompt:
            ids = self._family.tail(self._loaded.processor, prompt, special=special(self._loaded))
            self._said = prompt, ids
        return self._said[1]

    def _texts(self, prompt: str) -> tuple[int, int]:
        """Tokens in front of the image and behind it; all behind it, where it is unknown."""
        if self._family.tail is None:
            return 0, self._tokens(prompt)
        return self._tokens(prompt.partition(self._family.marker or "")[0]), len(
            self.suffix(prompt)
        )

    def _tokens(self, text: str) -> int:
        encoded = self._loaded.tokenizer(text, add_special_tokens=special(self._loaded))
        return len(encoded["input_ids"])

    def _image(self, picture: Picture, plan: GenerationPlan) -> tuple[int, int]:
        """(tokens, tiles) of a picture that has to be computed."""
        if self._family.sizes is None:
            return self._dearest, 1
        found = self._loaded.checkpoint
        size = picture.image.size
        return self._family.sizes(found.config, found.settings, size, plan.image_longest_edge)

    def _generate(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Generated:
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
        if self.cutter is None:
            return prepare(self._loaded, prompt, picture.image)
        with self.cutter.bounded(plan.image_longest_edge):
            return self._cut(self.cutter, prompt, picture, plan)

    def _cut(self, cutter: Cutter, prompt: str, picture: Picture, plan: GenerationPlan) -> Prepared:
        """The prompt prepared around pixels that stay outside MLX until they are encoded."""
        started = perf_counter()
        ahead = picture.take_pixels() if plan.image_longest_edge is None else None
        pixels = ahead or cutter(picture.image)
        with cutter.given(pixels):
            prepared = prepare(self._loaded, prompt, picture.image)
        if self._tower is None:
            prepared.put_in(pixels)
        else:
            batch = plan.encoder_batch or BATCH
            prepared.stand_in(pixels, partial(in_batches, self._tower, pixels.tiles, batch))
        return evolve(prepared, seconds=perf_counter() - started)

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
