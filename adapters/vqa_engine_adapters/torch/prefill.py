"""Questions through the model together up to their first token: prefixes, then the rest.

Each question is a row. The prefixes of images that are new are rows of one prefill, and are
computed apart from what follows, so an answer is the same whether its prefix was kept or not.
One question is a batch of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqa_engine_adapters.torch import rows
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.padding import NOT_PIXELS, Padded, padded, stacked, stacks
from vqa_engine_adapters.torch.prefixes import Key, Prefix, Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, fresh


class Batch:
    """The tensors of questions that go together, with room for so many tokens of each answer."""

    def __init__(
        self, loaded: Loaded, asked: Sequence[Prepared], room: int, prefixes: Prefixes
    ) -> None:
        self._loaded, self._asked, self._kept = loaded, asked, prefixes
        self._rest = padded(loaded, [one.ids[one.split :] for one in asked])
        self._room = self._rest.length + room

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
        found = {one.key: one.prefix for one in self._asked if one.prefix is not None} | computed
        mine = [found[one.key] for one in self._asked]
        self._before = padded(self._loaded, [one.ids for one in mine])
        self._cache = mine[0].continued() if len(mine) == 1 else rows.behind(mine, self._room)
        return self._follow(self._rest, keep)

    def follow(self, tokens: Sequence[int]) -> Any:
        """Logits after one more token of each row, shape (rows, vocabulary)."""
        return self._follow(padded(self._loaded, [(token,) for token in tokens]))

    def drop_all_but(self, places: list[int]) -> None:
        """Go on with these rows only."""
        import torch

        chosen = torch.tensor(places, device=self._loaded.device)
        rows.keep_rows(self._cache, chosen)
        self._before = self._before.only(chosen)

    def _straight(self, group: Sequence[Prepared], keep: int) -> Any:
        """Each question has a new image of its own: its prefix's row is already the question's."""
        self._before = padded(self._loaded, [one.ids[: one.split] for one in group])
        self._cache = rows.empty(_depth(self._loaded), self._before.length + self._room)
        self._compute(group, self._before, self._cache)
        self._keep(_cut(group, self._cache, self._before.length))
        return self._follow(self._rest, keep)

    def _prefixes(self, group: Sequence[Prepared]) -> dict[Key, Prefix]:
        """The prefixes of pictures that can be stacked."""
        from transformers import DynamicCache

        before = padded(self._loaded, [one.ids[: one.split] for one in group])
        cache = DynamicCache(config=self._loaded.model.config)
        self._compute(group, before, cache)
        if len(group) > 1:
            return _cut(group, cache, before.length)
        (one,) = group
        return {one.key: Prefix(ids=one.ids[: one.split], head=one.head, cache=cache)}

    def _compute(self, group: Sequence[Prepared], before: Padded, cache: Any) -> None:
        image = {
            name: value.to(self._loaded.device) if hasattr(value, "to") else value
            for name, value in stacked([one.inputs for one in group]).items()
            if name not in NOT_PIXELS
        }
        _forward(self._loaded, before.ids, cache, before.arguments(None) | image)

    def _keep(self, computed: dict[Key, Prefix]) -> None:
        """Keep new prefixes, once the device has finished: a late error spoils nothing."""
        if computed:
            synchronise(self._loaded.device)
            self._kept.keep([(name, prefix) for (name, _), prefix in computed.items()])

    def _follow(self, new: Padded, keep: int = 1) -> Any:
        """Logits after more tokens of each row; what came before hides its padding."""
        places = new.arguments(self._before)
        if keep > 1 and self._loaded.steps is not None:
            self._loaded.steps.step = None  # the last step alone would hold fewer positions
        logits = _forward(self._loaded, new.ids, self._cache, places, keep)
        self._before = self._before.and_then(new)
        return logits


def _cut(group: Sequence[Prepared], cache: Any, end: int) -> dict[Key, Prefix]:
    """The rows of a prefill as the prefixes that they are."""
    return {
        one.key: Prefix(
            ids=one.ids[: one.split],
            head=one.head,
            cache=rows.row(cache, number, one.split, end),
            passing=True,
        )
        for number, one in enumerate(group)
    }


def _forward(loaded: Loaded, ids: Any, cache: Any, more: dict[str, Any], keep: int = 1) -> Any:
    """Logits after the last of each row's ids, or the last `keep`; the cache grows."""
    output = loaded.model(
        input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=keep, **more
    )
    return output.logits[:, -1] if keep == 1 else output.logits[:, -keep:]


def _depth(loaded: Loaded) -> int:
    return int(loaded.model.config.get_text_config(decoder=True).num_hidden_layers)
