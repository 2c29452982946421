"""What a backend generated for one question, before it is an answer."""

from __future__ import annotations

from attrs import frozen

from vqa_engine.adapter import FinishReason, Timings, TokenCounts


@frozen(kw_only=True)
class Generated:
    """What came out: ids without the end token, why it ended, counts and seconds.

    `logprob` is the sum of the ids' log-probabilities, None where it was not asked for.
    """

    ids: tuple[int, ...]
    finish_reason: FinishReason
    tokens: TokenCounts
    timings: Timings
    logprob: float | None = None
