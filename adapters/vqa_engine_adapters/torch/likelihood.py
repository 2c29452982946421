"""How likely options are as answers to prepared questions, whichever way their model goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.continuing import OptionIds, Row, rows_of
from vqa_engine_adapters.torch.decoding import logprobs
from vqa_engine_adapters.torch.device import synchronise
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.prefill import Batch
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, kept
from vqa_engine_adapters.torch.whole import forced

_LOGITS = 512
"""Positions whose logits are computed at once: 150 MB in half precision for a vocabulary of
150,000."""


def score(
    loaded: Loaded,
    asked: Sequence[tuple[Prepared, OptionIds]],
    plan: GenerationPlan,
    prefixes: Prefixes,
    most: int,
) -> list[list[float]]:
    """The sum of the log-probabilities of each prepared question's options, behind its prompt.

    Those that can be cut at their image are rows of one batch behind the questions' prefixes,
    at most `most` at a time; the others go one by one.
    """
    cut = [pair for pair in asked if pair[0].split]
    together = iter(_behind_prefixes(loaded, cut, plan, prefixes, most) if cut else ())
    return [
        next(together) if one.split else _alone(loaded, one, options, plan)
        for one, options in asked
    ]


def _behind_prefixes(
    loaded: Loaded,
    asked: Sequence[tuple[Prepared, OptionIds]],
    plan: GenerationPlan,
    prefixes: Prefixes,
    most: int,
) -> list[list[float]]:
    options = [each for _, each in asked]
    every, found = rows_of(options), [[0.0] * len(each) for each in options]
    most = max(1, min(most, _LOGITS // max(1 + len(row.begun) for row in every)))
    for start in range(0, len(every), most):
        part = every[start : start + most]
        ready = [kept(one, prefixes) if start else one for one, _ in asked]
        for row, logits in zip(part, _logits(loaded, ready, part, plan, prefixes), strict=True):
            row.read(_logprobs(logits, row), found)
    return found


def _alone(
    loaded: Loaded, prepared: Prepared, options: OptionIds, plan: GenerationPlan
) -> list[float]:
    """The model is made to say the options, those that begin alike at once."""
    found = [[0.0] * len(options)]
    for row in rows_of([options]):
        logits = forced(loaded, prepared, options[row.options[0]], plan)
        row.read(_logprobs(logits, row), found)
    return found[0]


def _logprobs(logits: Any, row: Row) -> list[float]:
    """The log-probabilities of what the row wants, from the logits of its places."""
    places, tokens = zip(*row.wanted, strict=True)
    return [*logprobs(logits[list(places)], tokens).tolist()]


def _logits(
    loaded: Loaded,
    asked: Sequence[Prepared],
    part: Sequence[Row],
    plan: GenerationPlan,
    prefixes: Prefixes,
) -> list[Any]:
    """For each row the logits of what it begins with and of the token behind that."""
    import torch

    loaded.bound(plan)
    begun = [evolve(asked[row.asked], ids=(*asked[row.asked].ids, *row.begun)) for row in part]
    keep = 1 + max(len(row.begun) for row in part)
    with torch.inference_mode():
        batch = Batch(loaded, begun, 1, prefixes)
        logits = batch.prefill(keep).reshape(len(part), keep, -1)
        synchronise(loaded.device)
    return [one[keep - len(row.begun) - 1 :] for row, one in zip(part, logits, strict=True)]
