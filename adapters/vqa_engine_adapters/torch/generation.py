"""Questions through the model together: prefixes, rest of the prompts, then token by token.

Each question is a row. The prefixes of images that are new are rows of one prefill, and are
computed apart from what follows, so an answer is the same whether its prefix was kept or not.
One question is a batch of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from attrs import frozen

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
    """What came out: ids without the end token, why it ended, counts and seconds."""

    ids: tuple[int, ...]
    finish_reason: FinishReason
    tokens: TokenCounts
    timings: Timings


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
        ids = batch.decode(logits)
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
        )
        for one, said in zip(asked, ids, strict=True)
    ]


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

    def prefill(self) -> Any:
        """Logits after each whole prompt, one row for each question."""
        new = fresh(self._asked)
        groups = list(stacks(list(new.values())[::-1]))
        if len(groups) == 1 and len(groups[0]) == len(self._asked) > 1:
            return self._straight(groups[0])
        computed = {one: made for group in groups for one, made in self._prefixes(group).items()}
        self._keep(computed)
        found = {key(one): one.prefix for one in self._asked if one.prefix is not None} | computed
        mine = [found[key(one)] for one in self._asked]
        self._before = padded(_torch(), self._loaded, [one.ids for one in mine])
        self._cache = mine[0].continued() if len(mine) == 1 else rows.behind(mine, self._room)
        return self._follow(self._rest)

    def decode(self, logits: Any) -> list[list[int]]:
        """The ids of each answer; a row that has ended leaves the batch."""
        said: list[list[int]] = [[] for _ in self._asked]
        ended = ended_by(self._loaded.tokenizer, self._plan.stop)
        running, draws = list(range(len(said))), _draws(self._loaded, self._plan, len(said))
        while True:
            tokens = _next(logits, self._plan.temperature, [draws[n] for n in running])
            on = []
            for at, (number, token) in enumerate(zip(running, tokens, strict=True)):
                if token in self._loaded.stop:
                    continue
                said[number].append(token)
                if len(said[number]) < self._plan.max_tokens and not ended(said[number]):
                    on.append(at)
            if not on:
                return said
            if len(on) < len(running):
                self._drop_all_but(on)
                running = [running[at] for at in on]
            logits = self._follow(
                padded(_torch(), self._loaded, [(said[number][-1],) for number in running])
            )

    def _straight(self, group: Sequence[Prepared]) -> Any:
        """Each question has a new image of its own: its prefix's row is already the question's."""
        ids = [one.ids[: one.split] for one in group]
        self._before = padded(_torch(), self._loaded, ids)
        self._cache = rows.empty(_depth(self._loaded), self._before.length + self._room)
        self._compute(group, self._before, self._cache)
        self._keep(self._cut(group, self._cache, self._before.length))
        return self._follow(self._rest)

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

    def _follow(self, new: Padded) -> Any:
        """Logits after more tokens of each row; what came before hides its padding."""
        logits = _forward(self._loaded, new.ids, self._cache, new.arguments(self._before))
        self._before = self._before.and_then(new)
        return logits

    def _drop_all_but(self, places: list[int]) -> None:
        chosen = _torch().tensor(places, device=self._loaded.device)
        rows.keep_rows(self._cache, chosen)
        self._before = self._before.only(chosen)


def _forward(
    loaded: Loaded,
    ids: Any,
    cache: Any,
    places: dict[str, Any],
    image: dict[str, Any] | None = None,
) -> Any:
    """Logits after the last of each row's ids; keys and values go into the cache."""
    output = loaded.model(
        input_ids=ids,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **places,
        **(image or {}),
    )
    return output.logits[:, -1]


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
