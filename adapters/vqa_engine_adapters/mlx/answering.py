"""Questions through a loaded model, what is common to them computed once per image."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, QuestionCost, TokenCounts
from vqa_engine_adapters.mlx import batching
from vqa_engine_adapters.mlx.batching import go_on_together, score_together
from vqa_engine_adapters.mlx.encoding import in_batches
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.generation import (
    Generated,
    Prepared,
    behind,
    generate,
    go_on,
    likelihood_of,
    prepare,
)
from vqa_engine_adapters.mlx.loading import Loaded
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


class Answering:
    """Answers formatted prompts about pictures, and keeps the prefixes it computed.

    With `reuse` off, or with a model that does not allow it, each question is computed
    from its first token on; with `batch` off, or likewise, each by itself. Why a model
    does not allow it is said once, at info level.
    """

    def __init__(
        self, loaded: Loaded, family: MlxFamily, *, reuse: bool, batch: bool = True, most: int = 0
    ) -> None:
        self.prefixes = Prefixes()
        self.together: set[int] = set()
        self._loaded, self._family, self._most = loaded, family, most
        self._reuse, self._batch = reuse, batch
        self._short = family.tail is not None
        self._prompts = Prompts(loaded, family)
        self._tower = family.tower(loaded.model) if family.tower else None
        self.cutter = (
            Cutter(loaded.processor, family.pixels, family.narrow) if family.pixels else None
        )
        if reuse:
            self._try()
        if self._reuse and batch:
            self._try_together()

    def most(self, plan: GenerationPlan) -> int:
        """How many prompts about one picture go together; 1 if each goes alone."""
        return batching.most(plan) if self._reuse and self._batch and self._short else 1

    def generate(
        self, prompts: Mapping[int, str], picture: Picture, plan: GenerationPlan
    ) -> dict[int, Generated]:
        """Answer the first of the prompts, and with it those that can go together with it."""
        first, prompt = next(iter(prompts.items()))
        self.together = {first}
        ready = self._readied(prompt, picture, plan)
        if isinstance(ready, Prepared):
            said = {first: generate(self._loaded, ready, plan)}
        elif others := self._joining(ready, prompts, picture, plan):
            self.together |= set(others)
            said = self._finish_together(ready, {first: ready.suffix, **others}, plan)
        else:
            said = {first: self._finish(ready, plan)}
        if not picture.further:
            for place, generated in said.items():
                self._prompts.learn(prompts[place], generated.tokens.prompt)
        return said

    def score(
        self,
        prompt: str,
        options: Sequence[Sequence[int]],
        picture: Picture,
        plan: GenerationPlan,
    ) -> tuple[list[float], TokenCounts]:
        """The log-likelihood of each option's ids behind a prompt, and the prompt's tokens.

        With a kept prefix, all options are branches behind it where the model allows that, else
        each follows it in turn. A model without one computes the prompt for each option.
        """
        ready = self._readied(prompt, picture, plan)
        if isinstance(ready, Prepared):
            said = [likelihood_of(self._loaded, ready, option, plan) for option in options]
            whole = said[0].positions or int(ready.ids.size)
            image = whole - ready.text_tokens
            return [one.total for one in said], TokenCounts(prompt=whole, completion=0, image=image)
        prefix, suffix = ready.prefix, ready.suffix
        tokens = TokenCounts(
            prompt=prefix.positions + len(suffix),
            completion=0,
            image=prefix.image,
            reused=ready.reused,
        )
        longest = prefix.positions + len(suffix) + max(map(len, options))
        reserve(prefix, len(suffix) + sum(map(len, options)))
        if self.most(evolve(plan, temperature=0.0)) > 1 and self._prompts.within(longest):
            found = score_together(self._loaded, prefix, suffix, options, plan)
        else:
            found = [self._score_alone(prefix, suffix, option, plan) for option in options]
        self._keep(ready)
        return found, tokens

    @property
    def batches(self) -> bool:
        """Whether the vision encoder can be run a few tiles at a time."""
        return self._tower is not None and self.cutter is not None

    def cost(self, prompts: Sequence[str], picture: Picture, plan: GenerationPlan) -> QuestionCost:
        """What these prompts about one picture would put through the model, all at once.

        To the model they are one: the picture, then all that follows it in any of them.
        Tokens are an upper bound, tiles exact.
        """
        if picture.further:
            return self._cost_of_several(prompts[0], picture, plan)
        before, after = self._prompts.texts(prompts[0])
        after += sum(len(self._prompts.suffix(prompt)) for prompt in prompts[1:])
        room = plan.max_tokens * len(prompts)
        key = self._prompts.key(prompts[0], picture, plan)
        kept = self.prefixes.peek(key) if self._reuse else None
        if kept is not None:
            whole = kept.positions + after
            return QuestionCost(
                prompt_tokens=whole,
                reused_tokens=kept.positions,
                cache_tokens=max(0, capacity(whole + room) - kept.capacity),
            )
        tokens, tiles = self._prompts.image(picture, plan)
        whole = before + tokens + after
        return QuestionCost(
            prompt_tokens=whole,
            image_tiles=tiles,
            apart_tokens=before + tokens if self._reuse else 0,
            cache_tokens=capacity(whole + room),
            freed_bytes=self.prefixes.giving_way(self._most) if self._reuse else 0,
        )

    def _cost_of_several(self, prompt: str, picture: Picture, plan: GenerationPlan) -> QuestionCost:
        """What a question with several pictures costs, all of it computed for it alone."""
        tokens, tiles = self._prompts.image(picture, plan)
        whole = self._prompts.tokens(prompt) + tokens
        return QuestionCost(
            prompt_tokens=whole,
            image_tiles=tiles,
            cache_tokens=capacity(whole + plan.max_tokens),
        )

    def cut_ahead(self, picture: Picture) -> Pixels | None:
        """What the processor makes of a picture, on another thread than the model's.

        None where it cannot be done there, or where the picture's prefix is kept already.
        """
        if self.cutter is None or self.prefixes.has(picture.digest):
            return None
        return self.cutter(*picture.images)

    def whole(
        self, prompt: str, picture: Picture, plan: GenerationPlan
    ) -> tuple[Prepared, Pixels | None]:
        """A prompt prepared to be computed in one piece, and its pixels where we cut them."""
        prepared = self._prepare(prompt, picture, plan)
        if self.cutter is None:
            return prepared, None
        with self.cutter.bounded(plan.image_longest_edge):
            return prepared, self.cutter(*picture.images)

    def _readied(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Ready | Prepared:
        """The prompt's prefix, kept or computed now; else all of the prompt, to be computed."""
        if not self._reuse or picture.further:
            return self._prepare(prompt, picture, plan)
        key, started = self._prompts.key(prompt, picture, plan), perf_counter()
        kept = self.prefixes.take(key)
        if kept is not None and self._short:
            suffix = self._prompts.suffix(prompt)
            if self._prompts.within(len(kept.ids) + len(suffix)):
                return Ready(key, kept, suffix, kept.positions, perf_counter() - started)
        return self._processed(key, kept, prompt, self._prepare(prompt, picture, plan), plan)

    def _joining(
        self, ready: Ready, prompts: Mapping[int, str], picture: Picture, plan: GenerationPlan
    ) -> dict[int, list[int]]:
        """The ids behind the prefix of all prompts but the first that can share it.

        They have the same in front of the picture, and are short enough together with
        their answers. None go together with a first one that is too long for it.
        """
        room = ready.prefix.positions + plan.max_tokens
        if self.most(plan) == 1 or not self._prompts.within(room + len(ready.suffix)):
            return {}
        sharing = {
            place: self._prompts.suffix(prompt)
            for place, prompt in list(prompts.items())[1:]
            if self._prompts.key(prompt, picture, plan) == ready.key
        }
        return {
            place: suffix
            for place, suffix in sharing.items()
            if self._prompts.within(room + len(suffix))
        }

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
        self._short = self._short and self._prompts.suffix(prompt) == ready.suffix
        return ready

    def _ready(
        self, key: Key, kept: Prefix | None, prepared: Prepared, plan: GenerationPlan
    ) -> Ready | None:
        """The prefix, kept or computed now; None for a prompt that may not be taken apart."""
        ids = prepared.ids[0].tolist()
        if not self._prompts.within(len(ids)):
            return None
        end = split(self._loaded, ids)
        if kept is not None and kept.ids == tuple(ids[:end]):
            return Ready(key, kept, ids[end:], kept.positions, prepared.seconds)
        del kept
        self.prefixes.make_room(self._most)
        started = perf_counter()
        prefix = compute(self._loaded, prepared, end, plan)
        return Ready(key, prefix, ids[end:], 0, prepared.seconds, perf_counter() - started)

    def _finish(self, ready: Ready, plan: GenerationPlan) -> Generated:
        """Generate, and keep the prefix if nothing went wrong."""
        prefix, suffix = ready.prefix, ready.suffix
        reserve(prefix, len(suffix) + plan.max_tokens)
        generated = go_on(self._loaded, prefix, suffix, plan)
        self._keep(ready)
        return _completed(generated, ready.reused, ready.prepare, ready.prefill)

    def _finish_together(
        self, ready: Ready, suffixes: Mapping[int, list[int]], plan: GenerationPlan
    ) -> dict[int, Generated]:
        """Generate for all prompts, and keep the prefix if nothing went wrong.

        All questions share the seconds that preparing took.
        """
        count, prefix = len(suffixes), ready.prefix
        reserve(prefix, sum(map(len, suffixes.values())) + plan.max_tokens * count)
        said = go_on_together(self._loaded, prefix, list(suffixes.values()), plan)
        self._keep(ready)
        shares = ready.prepare / count, ready.prefill / count
        reused = [ready.reused] + [prefix.positions] * (count - 1)
        whole = [_completed(one, known, *shares) for one, known in zip(said, reused, strict=True)]
        return dict(zip(suffixes, whole, strict=True))

    def _score_alone(
        self, prefix: Prefix, suffix: list[int], option: Sequence[int], plan: GenerationPlan
    ) -> float:
        said = likelihood_of(self._loaded, behind(suffix), option, plan, prefix.cache)
        rewind(prefix)
        return said.total

    def _keep(self, ready: Ready) -> None:
        rewind(ready.prefix)
        self.prefixes.put(ready.key, ready.prefix)

    def _prepare(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Prepared:
        if self.cutter is None:
            return prepare(self._loaded, prompt, *picture.images)
        with self.cutter.bounded(plan.image_longest_edge):
            return self._cut(self.cutter, prompt, picture, plan)

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

    def _try_together(self) -> None:
        try:
            if not self._family.branches:
                raise Unsuited("batches are not proven for it")
            batching.check(self._loaded)
        except Unsuited as reason:
            self._batch = False
            name = self._loaded.config.model_type
            log.info("%s: questions are answered one by one, for %s", name, reason)

    def _try(self) -> None:
        try:
            check(self._loaded)
        except Unsuited as reason:
            self._refuse(reason)

    def _refuse(self, reason: Unsuited) -> None:
        self._reuse = False
        name = self._loaded.config.model_type
        log.info("%s: each question is computed from its start, for %s", name, reason)


def _completed(generated: Generated, reused: int, prepare: float, prefill: float) -> Generated:
    """With what was known before the question's own tokens, and the seconds it took."""
    timings = generated.timings
    return evolve(
        generated,
        tokens=evolve(generated.tokens, reused=reused),
        timings=evolve(timings, prepare=prepare, prefill=prefill + timings.prefill),
    )
