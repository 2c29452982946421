"""Parts of a model that compute their input in steps, so that peaks stay small.

Both wrap a module's own `forward`, so they serve every call that reaches it, and
change no number but by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Forward = Callable[..., Any]


class Stepwise:
    """A decoder that takes at most `step` positions of a prompt at once; None for all.

    Its output holds the last step's positions only: enough for the next token.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self.step: int | None = None

    def __call__(self, *args: Any, inputs_embeds: Any = None, **rest: Any) -> Any:
        count = 0 if inputs_embeds is None else inputs_embeds.shape[1]
        if self.step is None or count <= self.step:
            return self._forward(*args, inputs_embeds=inputs_embeds, **rest)
        output = None
        for start in range(0, count, self.step):
            end = min(start + self.step, count)
            part = inputs_embeds[:, start:end]
            output = self._forward(*args, inputs_embeds=part, **_between(rest, start, end, count))
        return output


def _between(rest: dict[str, Any], start: int, end: int, count: int) -> dict[str, Any]:
    """The mask and the positions of one step; the mask covers what came before as well."""
    cut = dict(rest)
    mask, places = rest.get("attention_mask"), rest.get("position_ids")
    if mask is not None:
        cut["attention_mask"] = mask[:, : mask.shape[1] - count + end]
    if places is not None:
        cut["position_ids"] = places[:, start:end]
    return cut


class Batchwise:
    """A vision encoder that takes at most `size` tiles at once; None for all."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self.size: int | None = None

    def __call__(self, *args: Any, **rest: Any) -> Any:
        tensors = [value for value in (*args, *rest.values()) if getattr(value, "ndim", 0)]
        count = tensors[0].shape[0] if tensors else 0
        if self.size is None or count <= self.size:
            return self._forward(*args, **rest)
        parts = []
        for start in range(0, count, self.size):
            cut = _Cut(start, start + self.size, count)
            parts.append(
                self._forward(
                    *(cut(value) for value in args),
                    **{name: cut(value) for name, value in rest.items()},
                )
            )
        return _joined(parts)


class _Cut:
    """Rows `start` to `end` of whatever has one row for each tile."""

    def __init__(self, start: int, end: int, count: int) -> None:
        self._start, self._end, self._count = start, end, count

    def __call__(self, value: Any) -> Any:
        if not getattr(value, "ndim", 0) or value.shape[0] != self._count:
            return value
        return value[self._start : self._end]


def _joined(parts: list[Any]) -> Any:
    """Outputs of several batches as the output of one: tensors, tuples and records of them."""
    first = parts[0]
    if first is None:
        return None
    if hasattr(first, "keys"):
        return type(first)(**{name: _joined([part[name] for part in parts]) for name in first})
    if isinstance(first, tuple):
        return tuple(_joined(list(row)) for row in zip(*parts, strict=True))
    import torch

    return torch.cat(parts)
