"""Rows of tokens padded on the left, and pictures stacked: what a batch hands to the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from attrs import evolve, frozen

from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.preparing import Prepared

NOT_PIXELS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What a processor makes beside the image's tensors; rows bring a mask of their own."""


@frozen(kw_only=True, eq=False)
class Padded:
    """Tokens of several rows: `ids` of shape (rows, length), `mask` the same, true for tokens.

    `counts`, of shape (rows, 1), are the tokens of each row without padding. `ragged` says
    whether there is any padding; without it the model needs no mask and is faster.
    """

    ids: Any
    mask: Any
    counts: Any
    ragged: bool

    @property
    def length(self) -> int:
        """Positions of every row, padding among them."""
        return int(self.mask.shape[1])

    def arguments(self, before: Padded | None) -> dict[str, Any]:
        """The mask over all positions so far and the positions of these tokens."""
        if not (self.ragged or (before is not None and before.ragged)):
            return {}
        own = (self.mask.cumsum(dim=1) - 1).clamp(min=0)
        if before is None:
            return {"attention_mask": self.mask, "position_ids": own}
        import torch

        whole = torch.cat([before.mask, self.mask], dim=1)
        return {"attention_mask": whole, "position_ids": own + before.counts}

    def and_then(self, new: Padded) -> Padded:
        """The rows with more tokens behind them; the ids are not needed any more."""
        import torch

        return Padded(
            ids=None,
            mask=torch.cat([self.mask, new.mask], dim=1),
            counts=self.counts + new.counts,
            ragged=self.ragged or new.ragged,
        )

    def only(self, rows: Any) -> Padded:
        """Some of the rows."""
        return evolve(self, ids=None, mask=self.mask[rows], counts=self.counts[rows])


def padded(loaded: Loaded, rows: Sequence[Sequence[int]], blank: int | None = None) -> Padded:
    """Rows of token ids on the device; padding is any token but the image's, and hidden."""
    import torch

    longest = max(map(len, rows))
    blank = int(loaded.image_token == 0) if blank is None else blank
    ids = [[blank] * (longest - len(row)) + list(row) for row in rows]
    mask = [[False] * (longest - len(row)) + [True] * len(row) for row in rows]
    return Padded(
        ids=torch.tensor(ids, device=loaded.device),
        mask=torch.tensor(mask, device=loaded.device),
        counts=torch.tensor([[len(row)] for row in rows], device=loaded.device),
        ragged=any(len(row) < longest for row in rows),
    )


def stacks(asked: Sequence[Prepared]) -> Iterator[list[Prepared]]:
    """Questions in groups whose pictures fit on one another: equal in all but their tiles."""
    ordered = sorted(asked, key=_form)
    for _, group in groupby(ordered, key=_form):
        yield list(group)


def stacked(inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a processor made for one picture each as if for all at once.

    The second axis counts tiles; a picture with fewer has empty ones behind its own, which
    these models leave out (transformers, `get_image_features` of idefics3 and llava_next).
    """
    if len(inputs) == 1:
        return inputs[0]
    return {
        name: _joined([one[name] for one in inputs]) for name in inputs[0] if name not in NOT_PIXELS
    }


def _joined(values: Sequence[Any]) -> Any:
    import torch

    if values[0].ndim < 2:
        return torch.cat(list(values))
    most = max(value.shape[1] for value in values)
    grown = []
    for value in values:
        whole = value.new_zeros((value.shape[0], most, *value.shape[2:]))
        whole[:, : value.shape[1]] = value
        grown.append(whole)
    return torch.cat(grown)


def _form(prepared: Prepared) -> tuple[tuple[str, str], ...]:
    """Names and shapes of the image's tensors without their first two axes."""
    return tuple(
        (name, str(getattr(value, "shape", (0, 0))[2:]))
        for name, value in sorted(prepared.inputs.items())
        if name not in NOT_PIXELS
    )
