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
from contextlib import ExitStack, contextmanager
from typing import Any

from attrs import frozen

from vqa_engine.adapter import GenerationPlan
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


@frozen
class Token:
    """A token, the branch that it belongs to, and its place in that branch's question.

    A branch may grow out of another one, its `trunk`, whose tokens it sees as well.
    """

    id: int
    branch: int
    place: int
    trunk: int = -1


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

    @contextmanager
    def grown(self) -> Iterator[None]:
        """Have the model's layers turn positions as the tree says while the block runs."""
        with ExitStack() as stack:
            for layer in self._model.layers:
                attention = layer.self_attn
                stack.enter_context(swapped(attention, "rope", _Rotation(attention.rope, self)))
            yield

    def put(self, tokens: Sequence[Token]) -> Any:
        """Let these tokens follow; the logits of each, shape (tokens, vocabulary), lazily."""
        import mlx.core as mx

        self._branches += [token.branch for token in tokens]
        self.places = mx.array([token.place for token in tokens])
        ids = mx.array([[token.id for token in tokens]])
        output = self._model(inputs=ids, cache=self._prefix.cache, mask=self._mask(tokens))
        return output.logits[0]

    def prefill(self, tokens: Sequence[Token], plan: GenerationPlan) -> None:
        """Put tokens into the cache, a step of the plan at a time; no logits are computed."""
        import mlx.core as mx

        for start, stop in steps(len(tokens), plan.prefill_step):
            self.put(tokens[start:stop])
            mx.eval([layer.state for layer in self._prefix.cache])
            mx.clear_cache()

    def _mask(self, tokens: Sequence[Token]) -> Any:
        """What the newest tokens see: the prefix, and their branch and trunk up to themselves."""
        import mlx.core as mx

        branches, new, count = mx.array(self._branches), len(tokens), len(self._branches)
        trunks = mx.array([token.trunk for token in tokens])
        kin = (branches[-new:, None] == branches[None]) | (trunks[:, None] == branches[None])
        earlier = mx.arange(count - new, count)[:, None] >= mx.arange(count)[None]
        prefix = mx.ones((new, self._prefix.positions), dtype=mx.bool_)
        return mx.concatenate([prefix, kin & earlier], axis=1)
