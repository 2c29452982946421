"""Which questions go together, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice

from vqa_engine.adapter import GenerationPlan, Question, QuestionCost
from vqa_engine_adapters.torch.ahead import source
from vqa_engine_adapters.torch.preparing import Prepared, fresh

EACH = 5
"""Questions about a picture that weigh no more than the picture: LLaVA's 600 tokens of image
cost a GPU 20 ms, a question's own 25 and its share of the decoding 3 ms (docs/backends.md,
"torch"). VQA v2 has 5.3 for each. A model that shares nothing computes a picture per question."""


def together(upcoming: Sequence[Question], size: int, each: int, rows: int) -> int:
    """How many of the leading questions make a batch of this size, in so many rows at most.

    `size` counts pictures, each with up to `each` questions on average. A picture's questions
    stay together, unless that halves the batch: very many about one are asked in parts. A
    question with several pictures goes alone.
    """
    several = (place for place, question in enumerate(upcoming) if question.images)
    upcoming = upcoming[: next(several, None)] or upcoming[:1]
    rows, count = min(rows, each * size, len(upcoming)), 0
    for _, same in islice(groupby(upcoming, key=source), size):
        more = sum(1 for _ in same)
        if count + more > rows:
            return count if 2 * count >= rows else rows
        count += more
    return count


def size(questions: Sequence[Question], each: int) -> int:
    """The size of a batch, as `together` counts it."""
    return max(len({source(one) for one in questions}), -(-len(questions) // each))


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
    return QuestionCost(
        prompt_tokens=whole,
        image_tiles=sum(one.tiles for one in (new if before else asked)),
        reused_tokens=whole - apart - count * rest,
        apart_tokens=apart,
        # One new prefix is kept as it is, and the questions' caches are copies that grow.
        # Several are let go of layer by layer while they are copied.
        cache_tokens=room if len(new) > 1 else room + apart,
        rows=count,
        apart_rows=max(1, len(new)),
    )
