"""Questions through the model together: prefixes, rest of the prompts, then token by token.

Each question is a row. The prefixes of images that are new are rows of one prefill, and are
computed apart from what follows, so an answer is the same whether its prefix was kept or not.
One question is a batch of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from attrs import evolve, frozen

from vqa_engine.adapter import FinishReason, GenerationPlan, Timings, TokenCounts
from vqa_engine_adapters.stopping import ended_by
from vqa_engine_adapters.torch import rows
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.padding import NOT_PIXELS, Padded, padded, stacked, stacks
from vqa_engine_adapters.torch.prefixes import Key, Prefix, Prefixes
from vqa_engine_adapters.torch.preparing import Prepared


@frozen(kw_only=True)
class Generated:
    """What came out: ids without the end token, why it ended, counts and seconds.

    `logprob` is the sum of the ids' log-probabilities, None where it was not asked for.
    """

    ids: tuple[int, ...]
    finish_reason: FinishReason
    tokens: TokenCounts
    timings: Timings
    logprob: float | None = None


def generate(
    loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan, prefixes: Prefixes
) -> list[Generated]:
    """Answer prepared questions together, obeying the plan.

    Returns only after the device has finished: an error may come late, and what it spoils
    is not kept. The questions share the seconds of what was computed for all of them.
    """
    torch, started = _torch(), perf_counter()
    bound(loaded, plan)
    with torch.inference_mode():
        batch = _Batch(loaded, asked, plan, prefixes)
        logits = batch.prefill()
        prefilled = perf_counter()
        ids, logprobs = batch.decode(logits)
        synchronise(torch, loaded.device)
    prefill, decode = prefilled - started, perf_counter() - prefilled
    return [
        Generated(
            ids=tuple(said),
            finish_reason="length" if len(said) == plan.max_tokens else "stop",
            tokens=counted(loaded, one, len(said)),
            timings=Timings(
                prepare=one.seconds, prefill=prefill / len(asked), decode=decode / len(asked)
            ),
            logprob=logprob if plan.logprobs else None,
        )
        for one, said, logprob in zip(asked, ids, logprobs, strict=True)
    ]


OptionIds = Sequence[Sequence[int]]
"""The token ids of each option of a question."""

_LOGITS = 512
"""Positions whose logits are computed at once: 150 MB in half precision for a vocabulary of
150,000."""


@frozen
class Row:
    """What the log-likelihoods of options are read from: a prompt with the beginning of some.

    `options` are the places of those options, which begin alike and end in one more token.
    Options of one token each, such as letters, need no more than the prompt.
    """

    asked: int
    begun: tuple[int, ...]
    options: tuple[int, ...]

    def read(self, logits: Any, options: OptionIds, found: list[float]) -> None:
        """Put the log-likelihoods of the row's options where `found` has those of all.

        `logits` has the shape (tokens that it begins with and one more, vocabulary).
        """
        wide = _torch().log_softmax(logits.float(), dim=-1)
        begun = sum(float(wide[place, token]) for place, token in enumerate(self.begun))
        for place in self.options:
            found[place] = begun + float(wide[-1, options[place][-1]])


def rows_of(options: Sequence[OptionIds]) -> list[Row]:
    """The rows for the options of several questions."""
    places: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for number, each in enumerate(options):
        for place, option in enumerate(each):
            places.setdefault((number, tuple(option[:-1])), []).append(place)
    return [Row(number, begun, tuple(found)) for (number, begun), found in places.items()]


def score(
    loaded: Loaded,
    asked: Sequence[tuple[Prepared, OptionIds]],
    plan: GenerationPlan,
    prefixes: Prefixes,
    most: int,
) -> list[list[float]]:
    """The sum of the log-probabilities of each prepared question's options, behind its prompt.

    They are rows of one batch behind the questions' prefixes, at most `most` at a time.
    """
    options = [each for _, each in asked]
    every, found = rows_of(options), [[0.0] * len(each) for each in options]
    most = max(1, min(most, _LOGITS // max(1 + len(row.begun) for row in every)))
    for start in range(0, len(every), most):
        part = every[start : start + most]
        ready = [kept(one, prefixes) if start else one for one, _ in asked]
        for row, logits in zip(part, _scores(loaded, ready, part, plan, prefixes), strict=True):
            row.read(logits, options[row.asked], found[row.asked])
    return found


def _scores(
    loaded: Loaded,
    asked: Sequence[Prepared],
    part: Sequence[Row],
    plan: GenerationPlan,
    prefixes: Prefixes,
) -> list[Any]:
    """For each row the logits of what it begins with and of the token behind that."""
    torch = _torch()
    bound(loaded, plan)
    begun = [evolve(asked[row.asked], ids=(*asked[row.asked].ids, *row.begun)) for row in part]
    keep = 1 + max(len(row.begun) for row in part)
    with torch.inference_mode():
        batch = _Batch(loaded, begun, evolve(plan, max_tokens=1), prefixes)
        logits = batch.prefill(keep).reshape(len(part), keep, -1)
        synchronise(torch, loaded.device)
    return [one[keep - len(row.begun) - 1 :] for row, one in zip(part, logits, strict=True)]


def logprobs(logits: Any, tokens: Sequence[int]) -> Any:
    """The log-probability of one token of each row, computed in float32."""
    torch = _torch()
    wide = torch.log_softmax(logits.float(), dim=-1)
    return wide.gather(1, torch.tensor(tokens, dtype=torch.long, device=wide.device)[:, None])[:, 0]


def counted(loaded: Loaded, prepared: Prepared, completion: int) -> TokenCounts:
    """The token counts of an answer; the image's are its placeholders."""
    token = loaded.image_token
    return TokenCounts(
        prompt=len(prepared.ids),
        completion=completion,
        image=None if token is None else prepared.ids.count(token),
        reused=0 if prepared.inputs else prepared.split,
    )


def key(prepared: Prepared) -> Key:
    """What a question's prefix is known by."""
    return prepared.image, prepared.ids[: prepared.split]


def kept(prepared: Prepared, prefixes: Prefixes) -> Prepared:
    """The question with its prefix, where that was kept meanwhile."""
    prefix = prefixes.find(prepared.image, prepared.ids[: prepared.head])
    if prepared.prefix or prefix is None or prefix.ids != prepared.ids[: prepared.split]:
        return prepared
    return evolve(prepared, prefix=prefix, inputs={})


def fresh(asked: Sequence[Prepared]) -> dict[Key, Prepared]:
    """One question for each prefix that is still to be computed."""
    return {key(one): one for one in reversed(asked) if one.prefix is None and one.inputs}


def pixels(loaded: Loaded, inputs: dict[str, Any]) -> dict[str, Any]:
    """The images' tensors on the device."""
    return {
        name: value.to(loaded.device) if hasattr(value, "to") else value
        for name, value in inputs.items()
        if name not in NOT_PIXELS
    }


def bound(loaded: Loaded, plan: GenerationPlan) -> None:
    """Have the model compute no more at once than the plan says."""
    if loaded.steps is not None:
        loaded.steps.step = plan.prefill_step
    if loaded.tiles is not None:
        loaded.tiles.size = plan.encoder_batch


class _Batch:
    """The tensors of questions that are answered together."""

    def __init__(
        self,
        loaded: Loaded,
        asked: Sequence[Prepared],
        plan: GenerationPlan,
        prefixes: Prefixes,
    ) -> None:
        self._loaded, self._asked, self._plan, self._kept = loaded, asked, plan, prefixes
        self._rest = padded(_torch(), loaded, [one.ids[one.split :] for one in asked])
        self._room = self._rest.length + plan.max_tokens

    def prefill(self, keep: int = 1) -> Any:
        """Logits after the last `keep` tokens of each prompt.

        One row for each question; shape (rows, keep, vocabulary), without `keep` if it is 1.
        """
        new = fresh(self._asked)
        groups = list(stacks(list(new.values())[::-1]))
        if len(groups) == 1 and len(groups[0]) == len(self._asked) > 1:
            return self._straight(groups[0], keep)
        computed = {one: made for group in groups for one, made in self._prefixes(group).items()}
        self._keep(computed)
        found = {key(one): one.prefix for one in self._asked if one.prefix is not None} | computed
        mine = [found[key(one)] for one in self._asked]
        self._before = padded(_torch(), self._loaded, [one.ids for one in mine])
        self._cache = mine[0].continued() if len(mine) == 1 else rows.behind(mine, self._room)
        return self._follow(self._rest, keep)

    def decode(self, logits: Any) -> tuple[list[list[int]], list[float]]:
        """The ids of each answer, and their log-probability if the plan asks for it.

        A row that has ended leaves the batch.
        """
        said: list[list[int]] = [[] for _ in self._asked]
        ended = ended_by(self._loaded.tokenizer, self._plan.stop)
        likely = [0.0] * len(said)
        running, draws = list(range(len(said))), _draws(self._loaded, self._plan, len(said))
        while True:
            tokens = _next(logits, self._plan.temperature, [draws[n] for n in running])
            scores = logprobs(logits, tokens).tolist() if self._plan.logprobs else tokens
            on = []
            for at, (number, token) in enumerate(zip(running, tokens, strict=True)):
                if token in self._loaded.stop:
                    continue
                said[number].append(token)
                likely[number] += scores[at]
                if len(said[number]) < self._plan.max_tokens and not ended(said[number]):
                    on.append(at)
            if not on:
                return said, likely
            if len(on) < len(running):
                self._drop_all_but(on)
                running = [running[at] for at in on]
            logits = self._follow(
                padded(_torch(), self._loaded, [(said[number][-1],) for number in running])
            )

    def _straight(self, group: Sequence[Prepared], keep: int) -> Any:
        """Each question has a new image of its own: its prefix's row is already the question's."""
        ids = [one.ids[: one.split] for one in group]
        self._before = padded(_torch(), self._loaded, ids)
        self._cache = rows.empty(_depth(self._loaded), self._before.length + self._room)
        self._compute(group, self._before, self._cache)
        self._keep(self._cut(group, self._cache, self._before.length))
        return self._follow(self._rest, keep)

    def _prefixes(self, group: Sequence[Prepared]) -> dict[Key, Prefix]:
        """The prefixes of pictures that can be stacked."""
        from transformers import DynamicCache

        before = padded(_torch(), self._loaded, [one.ids[: one.split] for one in group])
        cache = DynamicCache(config=self._loaded.model.config)
        self._compute(group, before, cache)
        if len(group) > 1:
            return self._cut(group, cache, before.length)
        ((name, ids),) = map(key, group)
        return {(name, ids): Prefix(ids=ids, head=group[0].head, cache=cache)}

    def _compute(self, group: Sequence[Prepared], before: Padded, cache: Any) -> None:
        image = pixels(self._loaded, stacked(_torch(), [one.inputs for one in group]))
        _forward(self._loaded, before.ids, cache, before.arguments(None), image)

    def _cut(self, group: Sequence[Prepared], cache: Any, end: int) -> dict[Key, Prefix]:
        """The rows of a prefill as the prefixes that they are."""
        found = {}
        for number, one in enumerate(group):
            row = rows.row(cache, number, one.split, end)
            ids = one.ids[: one.split]
            found[key(one)] = Prefix(ids=ids, head=one.head, cache=row, passing=True)
        return found

    def _keep(self, computed: dict[Key, Prefix]) -> None:
        """Keep new prefixes, once the device has finished: a late error spoils nothing."""
        if computed:
            synchronise(_torch(), self._loaded.device)
            self._kept.keep([(name, prefix) for (name, _), prefix in computed.items()])

    def _follow(self, new: Padded, keep: int = 1) -> Any:
        """Logits after more tokens of each row; what came before hides its padding."""
        places = new.arguments(self._before)
        if keep > 1 and self._loaded.steps is not None:
            self._loaded.steps.step = None  # the last step alone would hold fewer positions
        logits = _forward(self._loaded, new.ids, self._cache, places, keep=keep)
        self._before = self._before.and_then(new)
        return logits

    def _drop_all_but(self, places: list[int]) -> None:
        chosen = _torch().tensor(places, device=self._loaded.device)
        rows.keep_rows(self._cache, chosen)
        self._before = self._before.only(chosen)


def _forward(  # noqa: PLR0913, PLR0917  what one call of the model needs
    loaded: Loaded,
    ids: Any,
    cache: Any,
    places: dict[str, Any],
    image: dict[str, Any] | None = None,
    keep: int = 1,
) -> Any:
    """Logits after the last of each row's ids, or the last `keep`; the cache grows."""
    output = loaded.model(
        input_ids=ids,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
        **places,
        **(image or {}),
    )
    return output.logits[:, -1] if keep == 1 else output.logits[:, -keep:]


def _next(logits: Any, temperature: float, draws: Sequence[Any]) -> list[int]:
    """The likeliest token of each row, or one drawn from the softened distribution."""
    if temperature == 0.0:
        return [int(token) for token in logits.argmax(dim=-1).tolist()]
    torch = _torch()
    chances = torch.softmax(logits.float() / temperature, dim=-1)
    return [
        int(torch.multinomial(row, 1, generator=draw))
        for row, draw in zip(chances, draws, strict=True)
    ]


def _draws(loaded: Loaded, plan: GenerationPlan, count: int) -> list[Any]:
    """A generator for each row, so that a question draws what it draws alone."""
    if plan.temperature == 0.0:
        return [None] * count
    torch = _torch()
    return [torch.Generator(device=loaded.device).manual_seed(plan.seed) for _ in range(count)]


def _depth(loaded: Loaded) -> int:
    return int(loaded.model.config.get_text_config(decoder=True).num_hidden_layers)


def _torch() -> Any:
    import torch

    return torch
