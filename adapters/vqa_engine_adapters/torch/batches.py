"""Which questions go together, whether they may, and what they cost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from vqa_engine.adapter import GenerationPlan, Question, QuestionCost
from vqa_engine_adapters.torch.ahead import source
from vqa_engine_adapters.torch.generation import fresh
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.preparing import Prepared
from vqa_engine_adapters.torch.whole import same_together

log = logging.getLogger(__name__)


def whole_images(upcoming: Sequence[Question], size: int) -> int:
    """The size, or less so that the last image's questions are not torn apart.

    It is never less than half: an image with very many questions is asked about in parts.
    """
    if size == len(upcoming):
        return size
    cut = source(upcoming[size])
    end = next((n for n in range(size, 0, -1) if source(upcoming[n - 1]) != cut), 0)
    return end if 2 * end >= size else size


def possible(loaded: Loaded, trial: Callable[[], Sequence[Prepared]]) -> bool:
    """Whether this model answers several questions together as it answers each alone.

    A plain decoder does by construction, unless its cache slides; any other is tried on
    drawn pictures. mlx-vlm #698 is what happens without: batches broken for some families.
    """
    if loaded.steps is not None:
        return _keeps_all(loaded)
    name = loaded.model.config.model_type
    try:
        same = same_together(loaded, trial())
    except Exception as error:  # noqa: BLE001  a model's own code may raise anything
        log.info("%s: questions are answered one by one, for a batch failed: %s", name, error)
        return False
    if not same:
        log.info("%s: questions are answered one by one, for a batch changed answers", name)
    return same


def cost(asked: Sequence[Prepared], plan: GenerationPlan) -> QuestionCost:
    """What prepared questions need together, padding included.

    Prefixes and the rest of the prompts are padded to the longest. What rows share counts
    as reused.
    """
    count, new = len(asked), list(fresh(asked).values())
    before = max(one.split for one in asked)
    rest = max(len(one.ids) - one.split for one in asked)
    apart = len(new) * max((one.split for one in new), default=0)
    whole, room = count * (before + rest), count * (before + rest + plan.max_tokens)
    straight = len(new) == count > 1
    return QuestionCost(
        prompt_tokens=whole,
        image_tiles=sum(one.tiles for one in (new if before else asked)),
        reused_tokens=whole - apart - count * rest,
        apart_tokens=apart,
        # Prefixes are kept as they are, and the questions' caches are copies that grow.
        cache_tokens=room if straight else room + apart,
        rows=count,
        apart_rows=max(1, len(new)),
    )


def _keeps_all(loaded: Loaded) -> bool:
    from transformers import DynamicCache

    cache = DynamicCache(config=loaded.model.config)
    return not any(layer.is_sliding for layer in cache.layers)
