"""A prefix's cache with branches behind it: what follows an image, several ways at once.

All that the branches have in common is the prefix's keys and values. So they go through the
model as one row, one behind the other, in the cache of the prefix itself: a mask lets a token
see the prefix and what comes before it in its own branch, and each token is rotated to the
place that it has in its own question. The prefix is there once whatever the number of
branches, nothing is padded, and a branch that has ended is simply continued no more. mlx-vlm's
`BatchKVCache` (mlx_vlm/models/cache.py) would hold the prefix once per branch instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from attrs import frozen

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.device import on_gpu
from vqa_engine_adapters.mlx.greedy import last_places
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.prefill import steps
from vqa_engine_adapters.mlx.prefix import Unsuited
from vqa_engine_adapters.mlx.reuse import Prefix
from vqa_engine_adapters.swapping import swapped


def check(loaded: Loaded) -> None:
    """See that the model turns positions where `Tree` can reach it.

    Raises:
        Unsuited: it does so elsewhere, or in a way of its own.
    """
    from mlx.nn import RoPE
    from mlx_vlm.models.rope_utils import SuScaledRoPE

    for layer in loaded.model.language_model.layers:
        rope = getattr(getattr(layer, "self_attn", None), "rope", None)
        if type(rope) not in (RoPE, SuScaledRoPE):
            raise Unsuited(f"its positions are turned by a {type(rope).__name__}")


_NONE, _PADDING = -1, -2
"""No trunk, and the branch of rows that only fill up a pass."""

_FEW, _FULL = 4, 8
"""From 4 rows on, a pass of quantised weights is filled up to 8 on CUDA: below 8 MLX multiplies
row by row there. A pass of LLaVA 1.6 7B in 4 bits on an H200: 9, 15, 22, 27, 18 and 19 ms with
1, 2, 4, 5, 8 and 16 rows (`benchmarks/gpu.py`)."""


@frozen
class Spot:
    """Where a token belongs: a branch, and a place in that branch's question.

    A branch may grow out of another one, its `trunk`, whose tokens it sees as well.
    """

    branch: int
    place: int
    trunk: int = _NONE


def fills(model: Any) -> bool:
    """Whether passes of a few rows are filled up: quantised weights on CUDA."""
    import mlx.core as mx
    from mlx.nn import QuantizedLinear

    if not (on_gpu() and mx.cuda.is_available()):
        return False
    return any(isinstance(part, QuantizedLinear) for part in model.layers[0].modules())


class _Rotation:
    """A layer's rotation, which turns each token to the place that the tree gives it."""

    def __init__(self, rope: Any, tree: Tree) -> None:
        self._rope, self._tree = rope, tree

    def __call__(self, x: Any, offset: Any = None) -> Any:
        """`x` has shape (1, heads, tokens, width); `rope` takes one offset per row."""
        rows = x.transpose(2, 1, 0, 3)
        return self._rope(rows, offset=self._tree.places).transpose(2, 1, 0, 3)


class Tree:
    """The branches behind a prefix. The cache has to have room for all of them
    (`prefix.reserve`), and is longer afterwards. `places` are those of the tokens under way.
    """

    def __init__(self, loaded: Loaded, prefix: Prefix) -> None:
        self.places: Any = None
        self._model, self._prefix = loaded.model.language_model, prefix
        self._branches: list[int] = []
        self._fills = fills(self._model)

    @contextmanager
    def grown(self) -> Iterator[None]:
        """Have the model's layers turn positions as the tree says while the block runs."""
        with ExitStack() as stack:
            for layer in self._model.layers:
                attention = layer.self_attn
                stack.enter_context(swapped(attention, "rope", _Rotation(attention.rope, self)))
            yield

    def put(self, ids: Any, spots: Sequence[Spot], wanted: int | None = None) -> Any:
        """Let these tokens follow; the logits of the last `wanted`, of all if None, lazily.

        `ids` are a list or an array that need not be known yet. The logits have shape (tokens,
        vocabulary).
        """
        import mlx.core as mx

        count = len(spots)
        few = self._fills and wanted is None and _FEW <= count < _FULL
        more = _FULL - count if few else 0
        padded = [*spots, *[Spot(_PADDING, self._prefix.positions)] * more]
        self.places = mx.array([spot.place for spot in padded])
        row = mx.concatenate([mx.array(ids), mx.zeros(more, mx.int32)]).reshape(1, -1)
        mask = self._mask(padded)
        self._branches += [spot.branch for spot in spots]
        with nullcontext() if wanted is None else last_places(self._model, wanted):
            logits = self._model(inputs=row, cache=self._prefix.cache, mask=mask).logits[0]
        if more:
            for layer in self._prefix.cache:
                layer.trim(more)
        return logits[:count]

    def prefill(self, ids: Sequence[int], spots: Sequence[Spot], plan: GenerationPlan) -> None:
        """Put tokens into the cache, a step of the plan at a time; no logits are computed."""
        import mlx.core as mx

        for start, stop in steps(len(ids), plan.prefill_step):
            self.put(ids[start:stop], spots[start:stop])
            mx.eval([layer.state for layer in self._prefix.cache])
            mx.clear_cache()

    def _mask(self, spots: Sequence[Spot]) -> Any:
        """What tokens here see: the prefix, and their branch and trunk up to themselves."""
        import mlx.core as mx

        branches = mx.array([*self._branches, *(spot.branch for spot in spots)])
        new, count = len(spots), len(branches)
        trunks = mx.array([spot.trunk for spot in spots])
        kin = (branches[-new:, None] == branches[None]) | (trunks[:, None] == branches[None])
        earlier = mx.arange(count - new, count)[:, None] >= mx.arange(count)[None]
        prefix = mx.ones((new, self._prefix.positions), dtype=mx.bool_)
        return mx.concatenate([prefix, kin & earlier], axis=1)
