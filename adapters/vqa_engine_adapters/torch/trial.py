"""Whether a model answers several questions together as it answers each alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from PIL import Image, ImageDraw

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.preparing import Prepared
from vqa_engine_adapters.torch.whole import generate_whole

log = logging.getLogger(__name__)

_PLAN = GenerationPlan(max_tokens=4)
"""How the drawn pictures are asked about: the length of a short answer."""

_TEXTS = ("What is this?", "Which colours are in the picture, and how many shapes?")
"""What is asked about them: of two lengths, so that rows are padded for every model."""

Prepare = Callable[[Sequence[Question]], Sequence[Prepared]]
"""Makes the trial's questions ready."""


def passed(loaded: Loaded, prepare: Prepare) -> bool:
    """Whether questions may go together.

    With a plain decoder they may by construction, unless its cache slides; any other is tried
    on drawn pictures. mlx-vlm #698 is what happens without: batches broken for some families.
    """
    if loaded.steps is not None:
        return _keeps_all(loaded)
    name = loaded.model.config.model_type
    try:
        same = _same_together(loaded, prepare)
    except Exception as error:  # noqa: BLE001  a model's own code may raise anything
        log.info("%s: questions are answered one by one, for a batch failed: %s", name, error)
        return False
    if not same:
        log.info("%s: questions are answered one by one, for a batch changed answers", name)
    return same


def _same_together(loaded: Loaded, prepare: Prepare) -> bool:
    """Whether the drawn pictures get the same ids in one batch as alone.

    An encoder-decoder is not tried: its padding is another matter.
    """
    asked = prepare(
        [
            Question(question_id=n, image=one, text=_TEXTS[n % 2])
            for n, one in enumerate(_pictures())
        ]
    )
    if loaded.model.config.is_encoder_decoder:
        return False
    alone = [generate_whole(loaded, [one], _PLAN)[0].ids for one in asked]
    return [one.ids for one in generate_whole(loaded, asked, _PLAN)] == alone


def _pictures() -> Iterator[Image.Image]:
    """Four drawn pictures of two sizes, no two alike."""
    for number, size in enumerate(((96, 64), (96, 64), (64, 160), (64, 160))):
        picture = Image.new("RGB", size, (40 + 50 * number, 200 - 40 * number, 90))
        corner = (8 + 6 * number, 10, 40 + 4 * number, 50)
        ImageDraw.Draw(picture).ellipse(corner, fill=(250, 240 - 60 * number, 20 * number))
        yield picture


def _keeps_all(loaded: Loaded) -> bool:
    from transformers import DynamicCache

    cache = DynamicCache(config=loaded.model.config)
    return not any(layer.is_sliding for layer in cache.layers)
