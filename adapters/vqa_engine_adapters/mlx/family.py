"""What the MLX driver has to know about a family beside what holds on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from attrs import evolve, fields, frozen

from vqa_engine.adapter import CleanupStrategy
from vqa_engine_adapters.families.family import Config, Family
from vqa_engine_adapters.mlx.options import Options

if TYPE_CHECKING:
    from vqa_engine_adapters.checkpoints.checkpoint import Description
    from vqa_engine_adapters.mlx.encoding import Tower
    from vqa_engine_adapters.mlx.pixels import Cut, Narrow


AnyDescription = TypeVar("AnyDescription", bound="Description")


class Tail(Protocol):
    """The token ids that follow the image in a formatted prompt.

    `special` says whether the processor is asked for the tokenizer's own markers. The ids
    are those that the processor gives for the whole prompt (`vqa_engine_adapters.mlx.tail`).
    """

    def __call__(self, processor: Any, prompt: str, *, special: bool) -> list[int]: ...


@frozen(kw_only=True)
class MlxFamily(Family):
    """A family as mlx-vlm runs it.

    `lead` goes between the image's marker and the question, where mlx-vlm's message format
    leaves a needed separator out. `mend` corrects a loaded (model, processor) in place, where
    mlx-vlm does not do what the model was trained with; the third argument are the processor's
    settings. `options` are those it understands.

    `pixels` gives what an image processor makes of an image, as numpy's arrays; None where
    the processor has to be left to itself. `narrow` bounds, while its block runs, the tiles
    or crops that an image processor cuts, by a longest edge in pixels; needed where it
    enlarges what it is given. It goes with `pixels`. `tower` finds a loaded model's vision
    encoder so that it can be run in batches (`vqa_engine_adapters.mlx.encoding`), None where
    tiles look at each other or it is unknown.

    `tail` tokenises what follows the image, so that the processor need not run again for a
    second question about it; None if the whole prompt has to be processed each time.
    `branches` says that questions about one image may go through the model as branches
    behind one prefix: it accepts any mask, and turns positions in each layer's
    `self_attn.rope` and nowhere else (`vqa_engine_adapters.mlx.tree`).
    """

    generic: str = "mlx_vlm"
    lead: str = ""
    mend: Callable[[Any, Any, Config], None] | None = None
    options: type[Options] = Options
    pixels: Cut | None = None
    narrow: Narrow | None = None
    tower: Callable[[Any], Tower | None] | None = None
    tail: Tail | None = None
    branches: bool = False

    @classmethod
    def on(
        cls, family: Family, strategies: tuple[CleanupStrategy, ...], weights: int, **rest: Any
    ) -> Self:
        """A family with its default checkpoint of so many bytes, and what MLX adds to it."""
        known = {one.name: getattr(family, one.name) for one in fields(Family)}
        estimate = evolve(family.estimate, backend="mlx", weights=weights, strategies=strategies)
        return cls(**{**known, "generic": "mlx_vlm", "estimate": estimate, **rest})

    def settled(self, found: AnyDescription, options: Options) -> AnyDescription:
        """A checkpoint with what its config leaves unsaid and what the options say instead."""
        settings = {**found.settings, **options.settings}
        return evolve(found, config=self.complete(found.config), settings=settings)

    @property
    def quantises_kv(self) -> bool:
        """Whether the model's attention can read a quantised cache."""
        return "kv_bits" in self.estimate.levers
