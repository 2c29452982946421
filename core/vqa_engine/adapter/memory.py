"""What a model needs of memory, as its adapter declares it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Literal, get_args

from attrs import evolve, field, frozen

from vqa_engine.adapter.strategy import CleanupStrategy, describe

Lever = Literal["prefill_step", "encoder_batch", "kv_bits", "image_longest_edge"]
"""A field of the plan by which a question becomes cheaper, where the model obeys it."""

LEVERS: frozenset[Lever] = frozenset(get_args(Lever))

LEAST: Mapping[Lever, int] = {
    "prefill_step": 32,
    "encoder_batch": 1,
    "kv_bits": 8,
    "image_longest_edge": 512,
}
"""How far each lever is narrowed unless a profile says otherwise. Steps of fewer than 32 tokens
save next to nothing (docs/facts/memory.md, "Chunked prefill"); 512 pixels are one tile of the
common tilers."""


def bounded(levers: Iterable[Lever] | Mapping[Lever, int]) -> Mapping[Lever, int]:
    """Levers without a bound get the usual one."""
    if isinstance(levers, Mapping):
        return levers
    return {lever: LEAST[lever] for lever in sorted(levers)}


@frozen(kw_only=True)
class ImageTokens:
    """How many prompt tokens an image takes: `per_tile · tiles + fixed`.

    `tile_edge` is a tile's side in pixels, `max_tiles` the most tiles that the
    processor cuts (the thumbnail included). `per_tile` is exact per family, the number
    of tiles an upper bound. Where a picture is one tile of its own size and the model bounds
    it (`MemoryProfile.image_longest_edge`), `unbounded` is the rule without that bound.
    """

    per_tile: int
    tile_edge: int
    max_tiles: int = 1
    fixed: int = 0
    unbounded: ImageTokens | None = None

    def within(self, longest_edge: int | None) -> ImageTokens:
        """The rule for pictures of at most so many pixels on their longer side."""
        if self.unbounded is None or longest_edge is None:
            return self
        if longest_edge >= self.unbounded.tile_edge:
            return self.unbounded
        area = (longest_edge / self.tile_edge) ** 2
        return evolve(self, per_tile=ceil(self.per_tile * area), tile_edge=longest_edge)

    @property
    def most(self) -> int:
        """Tokens of the most expensive image."""
        return self.per_tile * self.max_tiles + self.fixed


@frozen(kw_only=True)
class QuestionCost:
    """What a question will put through the model.

    `prompt_tokens` is the whole prompt with the image's share, `reused_tokens` the part
    of it that is already computed and kept, `image_tiles` the tiles or crops that the
    vision encoder still has to encode.

    The rest sharpens the prediction of its memory. `apart_tokens` of the new tokens, the
    first ones, are computed by themselves before the others. `cache_tokens` are positions
    for which the KV cache allocates memory, where that differs from the new tokens.
    `freed_bytes` of kept caches make room before anything is computed.

    Questions that are rows of a padded batch count with their padding, all rows together:
    `apart_tokens` are spread over `apart_rows`, the others over `rows`. A prefill step is
    then taken in all rows at once.
    """

    prompt_tokens: int
    image_tiles: int = 0
    reused_tokens: int = 0
    apart_tokens: int = 0
    cache_tokens: int | None = None
    freed_bytes: int = 0
    rows: int = 1
    apart_rows: int = 1


@frozen(kw_only=True)
class MemoryProfile:
    """What a model needs, and how its memory is kept in bounds.

    `backend` is the entry-point name of the library whose counters and calls are used
    (group `vqa_engine.memory_backends`): `mlx`, `torch`, `none`, or a third party's.

    `weights` and `kv_per_token` are bytes. Before `load` the figures are estimates for
    the adapter's default checkpoint, after `load` they are exact for the one loaded
    (`exact` says which). `strategies` are applied by the engine, in this order.

    Three more figures sharpen the first predictions, and are learned when they are left
    out: `attention_per_pair`, the bytes that one prompt token of a prefill step takes per
    token of context while the step is computed, `activations_per_token`, what it takes
    whatever the context, and `per_tile`, the bytes of one image tile in the vision encoder.

    `device` is where the model lies, in its library's own words (`cuda:1`, `cpu`); None is
    the backend's preferred device. The engine counts there, and nowhere else. Name it
    before `load` as well where the model's options tell it (`Sizable.profile_of`): what the
    device held before is known only then, and a release in this process is verified by it.

    `levers` are the fields of a plan that the model obeys, each with its lower bound: the
    least that is worth setting. A set of names stands for the usual bounds, `LEAST`. The
    engine begins wide, narrows a lever as far as memory asks for and never below its bound,
    tries no cheaper plan that turns another one, and counts on no saving from it. What a lever
    is worth are the figures above: `attention_per_pair` and `activations_per_token` of the
    prefill step, `per_tile` of the encoder batch, `kv_per_token` of the cache's bits.

    `image_longest_edge` is the bound on a picture, in pixels, that this model wants where the
    plan asked for has none. The engine puts it into the plan, so it is on every answer.
    """

    backend: str = "none"
    device: str | None = None
    weights: int | None = None
    kv_per_token: int | None = None
    image_tokens: ImageTokens | None = None
    attention_per_pair: int | None = None
    activations_per_token: int | None = None
    per_tile: int | None = None
    levers: Mapping[Lever, int] = field(default=LEVERS, converter=bounded)
    image_longest_edge: int | None = None
    strategies: tuple[CleanupStrategy, ...] = ()
    exact: bool = False


def portable(profile: MemoryProfile) -> MemoryProfile:
    """The profile as it crosses the process boundary: strategies as `Described`."""
    return evolve(profile, strategies=tuple(describe(one) for one in profile.strategies))
