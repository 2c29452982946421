"""Questions through a loaded model, what is common to them computed once per image."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from attrs import evolve

from vqa_engine.adapter import GenerationPlan, TokenCounts
from vqa_engine_adapters.continuing import OptionIds
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.mlx import batching, tree
from vqa_engine_adapters.mlx.batching import go_on_together
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.generation import generate, go_on
from vqa_engine_adapters.mlx.likelihood import likelihood_of, score_together
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.prefix import Unsuited, reserve, rewind
from vqa_engine_adapters.mlx.preparing import Prepared, behind
from vqa_engine_adapters.mlx.readying import Ready, Readying

log = logging.getLogger(__name__)

Scored = tuple[list[float], TokenCounts]
"""The log-likelihood of each option of a question, and its prompt's tokens."""


class Answering:
    """Answers formatted prompts about pictures, as many together as can be.

    With `batch` off, or with a model that does not allow it, each goes by itself. Why a model
    does not allow it is said once, at info level.
    """

    def __init__(
        self, loaded: Loaded, family: MlxFamily, *, reuse: bool, batch: bool = True, most: int = 0
    ) -> None:
        self.readying = Readying(loaded, family, reuse=reuse, most=most)
        self.together: set[int] = set()
        self.loaded, self._family, self._warned = loaded, family, False
        self._batch = batch and self.readying.reuse and self._branches()

    def possible(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan without what this model cannot do.

        The answer records it like that. A plan further down the ladder keeps `kv_bits` and
        may still help, so a model that has no quantised cache must not fail on it.
        """
        loaded, family = self.loaded, self._family
        if plan.kv_bits is not None and not (family.quantises_kv and loaded.kv_group):
            if not self._warned:
                log.warning("%s cannot quantise its KV cache", loaded.config.model_type)
            self._warned = True
            plan = evolve(plan, kv_bits=None)
        if "prefill_step" not in family.estimate.levers:
            plan = evolve(plan, prefill_step=None)
        return plan if self.readying.batches else evolve(plan, encoder_batch=None)

    def most(self, plan: GenerationPlan) -> int:
        """How many prompts about one picture go together; 1 if each goes alone."""
        return batching.most(plan) if self._batch and self.readying.shares else 1

    def generate(
        self, prompts: Mapping[int, str], picture: Picture, plan: GenerationPlan
    ) -> dict[int, Generated]:
        """Answer the first of the prompts, and with it those that can go together with it."""
        first, prompt = next(iter(prompts.items()))
        self.together = {first}
        ready = self._ready(prompt, picture, plan, plan.max_tokens)
        if isinstance(ready, Prepared):
            said = {first: generate(self.loaded, ready, plan)}
        else:
            suffixes = self._joined(ready, prompts, picture, plan, plan.max_tokens)
            self.together |= set(suffixes)
            said = (
                self._finish_together(ready, suffixes, plan)
                if len(suffixes) > 1
                else {first: self._finish(ready, plan)}
            )
        if not picture.further:
            for place, generated in said.items():
                self.readying.prompts.learn(prompts[place], generated.tokens.prompt)
        return said

    def score(
        self,
        prompts: Mapping[int, str],
        options: Mapping[int, OptionIds],
        picture: Picture,
        plan: GenerationPlan,
    ) -> dict[int, Scored]:
        """Score the options of the first of the prompts, and of those that go together with it.

        With a kept prefix, all are branches behind it where the model allows that, else each
        follows it in turn. A model without one computes the prompt for each option.
        """
        first, prompt = next(iter(prompts.items()))
        self.together, plan = {first}, evolve(plan, temperature=0.0)
        ready = self._ready(prompt, picture, plan, max(map(len, options[first])))
        if isinstance(ready, Prepared):
            return {first: self._score_whole(ready, options[first], plan)}
        longest = max(len(one) for each in options.values() for one in each)
        suffixes = self._joined(ready, prompts, picture, plan, longest)
        self.together |= set(suffixes)
        if suffixes:
            found = self._score_together(ready, suffixes, options, plan)
        else:
            suffixes = {first: ready.suffix}
            found = [[self._score_alone(ready, option, plan) for option in options[first]]]
        self.readying.keep(ready)
        reused = [ready.reused] + [ready.prefix.positions] * (len(suffixes) - 1)
        counts = [
            TokenCounts(
                prompt=ready.prefix.positions + len(suffix),
                completion=0,
                image=ready.prefix.image,
                reused=known,
            )
            for suffix, known in zip(suffixes.values(), reused, strict=True)
        ]
        return dict(zip(suffixes, zip(found, counts, strict=True), strict=True))

    def _ready(
        self, prompt: str, picture: Picture, plan: GenerationPlan, room: int
    ) -> Ready | Prepared:
        ready = self.readying.ready(prompt, picture, plan, room)
        self.readying.meanwhile()  # what was ready already, or is computed in one piece, is next
        return ready

    def _joined(
        self,
        ready: Ready,
        prompts: Mapping[int, str],
        picture: Picture,
        plan: GenerationPlan,
        room: int,
    ) -> dict[int, list[int]]:
        """The ids behind the prefix of the first prompt and of all that can share it.

        They have the same in front of the picture, and are short enough together with `room`
        tokens of an answer. None go together with a first one that is too long for it.
        """
        prepared, taken = self.readying.prompts, ready.prefix.positions + room
        if self.most(plan) == 1 or not prepared.within(taken + len(ready.suffix)):
            return {}
        first, *others = prompts
        sharing = {
            place: prepared.suffix(prompts[place])
            for place in others
            if prepared.key(prompts[place], picture, plan) == ready.key
        }
        short = {
            place: one
            for place, one in sharing.items()
            if prepared.within(taken + len(one)) and self.readying.fits(ready.prefix, one, room)
        }
        return {first: ready.suffix, **short}

    def _finish(self, ready: Ready, plan: GenerationPlan) -> Generated:
        """Generate, and keep the prefix if nothing went wrong."""
        prefix, suffix = ready.prefix, ready.suffix
        reserve(prefix, len(suffix) + plan.max_tokens)
        generated = go_on(self.loaded, prefix, suffix, plan)
        self.readying.keep(ready)
        return _completed(generated, ready.reused, ready.prepare, ready.prefill)

    def _finish_together(
        self, ready: Ready, suffixes: Mapping[int, list[int]], plan: GenerationPlan
    ) -> dict[int, Generated]:
        """Generate for all prompts, and keep the prefix if nothing went wrong.

        All questions share the seconds that preparing took.
        """
        count, prefix = len(suffixes), ready.prefix
        reserve(prefix, sum(map(len, suffixes.values())) + plan.max_tokens * count)
        said = go_on_together(self.loaded, prefix, list(suffixes.values()), plan)
        self.readying.keep(ready)
        shares = ready.prepare / count, ready.prefill / count
        reused = [ready.reused] + [prefix.positions] * (count - 1)
        whole = [_completed(one, known, *shares) for one, known in zip(said, reused, strict=True)]
        return dict(zip(suffixes, whole, strict=True))

    def _score_together(
        self,
        ready: Ready,
        suffixes: Mapping[int, list[int]],
        options: Mapping[int, OptionIds],
        plan: GenerationPlan,
    ) -> list[list[float]]:
        each = [options[place] for place in suffixes]
        tokens = sum(map(len, suffixes.values())) + sum(len(one) for all_ in each for one in all_)
        reserve(ready.prefix, tokens)
        return score_together(self.loaded, ready.prefix, list(suffixes.values()), each, plan)

    def _score_alone(self, ready: Ready, option: Sequence[int], plan: GenerationPlan) -> float:
        prefix, suffix = ready.prefix, ready.suffix
        reserve(prefix, len(suffix) + len(option))
        said = likelihood_of(self.loaded, behind(suffix), option, plan, prefix.cache)
        rewind(prefix)
        return said.total

    def _score_whole(self, ready: Prepared, options: OptionIds, plan: GenerationPlan) -> Scored:
        said = [likelihood_of(self.loaded, ready, option, plan) for option in options]
        whole = said[0].positions or int(ready.ids.size)
        counts = TokenCounts(prompt=whole, completion=0, image=whole - ready.text_tokens)
        return [one.total for one in said], counts

    def _branches(self) -> bool:
        """Whether questions may be branches behind one prefix."""
        try:
            if not self._family.branches:
                raise Unsuited("batches are not proven for it")
            tree.check(self.loaded)
        except Unsuited as reason:
            name = self.loaded.config.model_type
            log.info("%s: questions are answered one by one, for %s", name, reason)
            return False
        return True


def _completed(generated: Generated, reused: int, prepare: float, prefill: float) -> Generated:
    """With what was known before the question's own tokens, and the seconds it took."""
    timings = generated.timings
    return evolve(
        generated,
        tokens=evolve(generated.tokens, reused=reused),
        timings=evolve(timings, prepare=prepare, prefill=prefill + timings.prefill),
    )
