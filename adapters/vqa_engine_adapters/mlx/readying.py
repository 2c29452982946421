"""Prompts about pictures made ready: their prefix kept from before, or computed now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, QuestionCost
from vqa_engine_adapters.mlx.encoding import in_batches
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.pixels import Cutter, Pixels
from vqa_engine_adapters.mlx.prefix import Unsuited, capacity, check, compute, rewind, split
from vqa_engine_adapters.mlx.preparing import Prepared, prepare
from vqa_engine_adapters.mlx.prompts import Prompts
from vqa_engine_adapters.mlx.reuse import Key, Prefix, Prefixes

log = logging.getLogger(__name__)


@frozen
class Ready:
    """A question whose prefix is computed: its key, the ids that follow, tokens reused.

    `prepare` and `prefill` are the seconds that the prompt and the prefix took.
    """

    key: Key
    prefix: Prefix
    suffix: list[int]
    reused: int
    prepare: float
    prefill: float = 0.0


class Readying:
    """Makes formatted prompts ready, and keeps the prefixes it computed.

    With `reuse` off, or with a model that does not allow it, each question is computed
    from its first token on. Why a model does not allow it is said once, at info level.
    `most` are the bytes of the largest image's prefix. `meanwhile` is called when the device
    has got something to compute.
    """

    def __init__(self, loaded: Loaded, family: MlxFamily, *, reuse: bool, most: int) -> None:
        self.prefixes, self.prompts = Prefixes(), Prompts(loaded, family)
        self.reuse, self.context = reuse, loaded.context
        self._loaded, self._most = loaded, most
        self.meanwhile: Callable[[], None] = lambda: None
        self._short = family.tail is not None
        self._tower = family.tower(loaded.model) if family.tower else None
        self.cutter = (
            Cutter(loaded.processor, family.pixels, family.narrow) if family.pixels else None
        )
        if reuse:
            self._try()

    @property
    def shares(self) -> bool:
        """Whether prompts about one picture can go on behind one prefix, tokenised apart."""
        return self.reuse and self._short

    @property
    def batches(self) -> bool:
        """Whether the vision encoder can be run a few tiles at a time."""
        return self._tower is not None and self.cutter is not None

    def ready(
        self, prompt: str, picture: Picture, plan: GenerationPlan, room: int
    ) -> Ready | Prepared:
        """The prompt's prefix, kept or computed now; else all of the prompt, to be computed.

        Raises:
            ContextExceeded: the model does not read so much and `room` tokens of an answer.
        """
        if not self.reuse or picture.further:
            return self._fitting(prompt, picture, plan, room)
        key, started = self.prompts.key(prompt, picture, plan), perf_counter()
        kept = self.prefixes.take(key)
        if kept is not None and self._short:
            suffix = self.prompts.suffix(prompt)
            self.context.check(len(kept.ids) + len(suffix), kept.image, room)
            if self.prompts.within(len(kept.ids) + len(suffix)):
                return Ready(key, kept, suffix, kept.positions, perf_counter() - started)
        return self._processed(key, kept, prompt, self._fitting(prompt, picture, plan, room), plan)

    def fits(self, prefix: Prefix, suffix: Sequence[int], room: int) -> bool:
        """Whether a prompt behind a prefix, and `room` tokens of an answer, are short enough."""
        return self.context.fits(len(prefix.ids) + len(suffix), prefix.image, room)

    def keep(self, ready: Ready) -> None:
        """Keep the prefix for further questions, without what followed it."""
        rewind(ready.prefix)
        self.prefixes.put(ready.key, ready.prefix)

    def whole(
        self, prompt: str, picture: Picture, plan: GenerationPlan
    ) -> tuple[Prepared, Pixels | None]:
        """A prompt prepared to be computed in one piece, and its pixels where we cut them."""
        prepared = self.prepare(prompt, picture, plan)
        if self.cutter is None:
            return prepared, None
        with self.cutter.bounded(plan.image_longest_edge):
            return prepared, self.cutter(*picture.images)

    def prepare(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Prepared:
        """All of a prompt, to be computed in one piece."""
        if self.cutter is None:
            return prepare(self._loaded, prompt, *picture.images)
        with self.cutter.bounded(plan.image_longest_edge):
            return self._cut(self.cutter, prompt, picture, plan)

    def cut_ahead(self, picture: Picture) -> Pixels | None:
        """What the processor makes of a picture, on another thread than the model's.

        None where it cannot be done there, or where the picture's prefix is kept already.
        """
        if self.cutter is None or self.prefixes.has(picture.digest):
            return None
        return self.cutter(*picture.images)

    def cost(self, prompts: Sequence[str], picture: Picture, plan: GenerationPlan) -> QuestionCost:
        """What these prompts about one picture would put through the model, all at once.

        To the model they are one: the picture, then all that follows it in any of them.
        Tokens are an upper bound, tiles exact.
        """
        if picture.further:
            return self._cost_of_several(prompts[0], picture, plan)
        before, after = self.prompts.texts(prompts[0])
        after += sum(len(self.prompts.suffix(prompt)) for prompt in prompts[1:])
        room = plan.max_tokens * len(prompts)
        key = self.prompts.key(prompts[0], picture, plan)
        kept = self.prefixes.peek(key) if self.reuse else None
        if kept is not None:
            whole = kept.positions + after
            return QuestionCost(
                prompt_tokens=whole,
                reused_tokens=kept.positions,
                cache_tokens=max(0, capacity(whole + room) - kept.capacity),
            )
        tokens, tiles = self.prompts.image(picture, plan)
        whole = before + tokens + after
        return QuestionCost(
            prompt_tokens=whole,
            image_tiles=tiles,
            apart_tokens=before + tokens if self.reuse else 0,
            cache_tokens=capacity(whole + room),
            freed_bytes=self.prefixes.giving_way(self._most) if self.reuse else 0,
        )

    def _fitting(self, prompt: str, picture: Picture, plan: GenerationPlan, room: int) -> Prepared:
        """All of a prompt that is short enough for the model."""
        prepared = self.prepare(prompt, picture, plan)
        tokens = prepared.ids.size
        self.context.check(tokens, tokens - prepared.text_tokens, room)
        return prepared

    def _cost_of_several(self, prompt: str, picture: Picture, plan: GenerationPlan) -> QuestionCost:
        """What a question with several pictures costs, all of it computed for it alone."""
        tokens, tiles = self.prompts.image(picture, plan)
        whole = self.prompts.tokens(prompt) + tokens
        return QuestionCost(
            prompt_tokens=whole,
            image_tiles=tiles,
            cache_tokens=capacity(whole + plan.max_tokens),
        )

    def _cut(self, cutter: Cutter, prompt: str, picture: Picture, plan: GenerationPlan) -> Prepared:
        """The prompt prepared around pixels that stay outside MLX until they are encoded."""
        started = perf_counter()
        ahead = picture.take_pixels() if plan.image_longest_edge is None else None
        pixels = ahead or cutter(*picture.images)
        with cutter.given(pixels):
            prepared = prepare(self._loaded, prompt, *picture.images)
        if self._tower is None:
            prepared.put_in(pixels)
        else:
            batch = plan.encoder_batch or len(pixels.tiles)
            prepared.postpone(pixels, partial(in_batches, self._tower, pixels.tiles, batch))
        return evolve(prepared, seconds=perf_counter() - started)

    def _processed(
        self, key: Key, kept: Prefix | None, prompt: str, prepared: Prepared, plan: GenerationPlan
    ) -> Ready | Prepared:
        """With all ids at hand; a kept prefix serves only if its ids are the same."""
        try:
            ready = self._ready(key, kept, prepared, plan)
        except Unsuited as reason:
            self._refuse(reason)
            return prepared
        if ready is None:
            return prepared
        self._short = self._short and self.prompts.suffix(prompt) == ready.suffix
        return ready

    def _ready(
        self, key: Key, kept: Prefix | None, prepared: Prepared, plan: GenerationPlan
    ) -> Ready | None:
        """The prefix, kept or computed now; None for a prompt that may not be taken apart."""
        ids = prepared.ids[0].tolist()
        if not self.prompts.within(len(ids)):
            return None
        end = split(self._loaded, ids)
        if kept is not None and kept.ids == tuple(ids[:end]):
            return Ready(key, kept, ids[end:], kept.positions, prepared.seconds)
        del kept
        self.prefixes.make_room(self._most)
        started = perf_counter()
        prefix = compute(self._loaded, prepared, end, plan, self.meanwhile)
        return Ready(key, prefix, ids[end:], 0, prepared.seconds, perf_counter() - started)

    def _try(self) -> None:
        try:
            check(self._loaded)
        except Unsuited as reason:
            self._refuse(reason)

    def _refuse(self, reason: Unsuited) -> None:
        self.reuse = False
        name = self._loaded.config.model_type
        log.info("%s: each question is computed from its start, for %s", name, reason)
