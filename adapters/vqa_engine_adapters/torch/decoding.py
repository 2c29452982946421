"""From the logits of a batch's prompts to its answers, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.stopping import ended_by
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.prefill import Batch


def decode(
    loaded: Loaded, batch: Batch, logits: Any, plan: GenerationPlan
) -> list[tuple[list[int], float]]:
    """The ids of each answer, and their log-probability if the plan asks for it.

    `logits` are those after the prompts. A row that has ended leaves the batch.
    """
    count = len(logits)
    said: list[list[int]] = [[] for _ in range(count)]
    likely, ended = [0.0] * count, ended_by(loaded.tokenizer, plan.stop)
    running, draws = list(range(count)), _draws(loaded, plan, count)
    while True:
        tokens = _next(logits, plan.temperature, [draws[number] for number in running])
        scores = logprobs(logits, tokens).tolist() if plan.logprobs else tokens
        on = []
        for at, (number, token) in enumerate(zip(running, tokens, strict=True)):
            if token in loaded.stop:
                continue
            said[number].append(token)
            likely[number] += scores[at]
            if len(said[number]) < plan.max_tokens and not ended(said[number]):
                on.append(at)
        if not on:
            return list(zip(said, likely, strict=True))
        if len(on) < len(running):
            batch.drop_all_but(on)
            running = [running[at] for at in on]
        logits = batch.follow([said[number][-1] for number in running])


def logprobs(logits: Any, tokens: Sequence[int]) -> Any:
    """The log-probability of one token of each row, computed in float32."""
    import torch

    wide = torch.log_softmax(logits.float(), dim=-1)
    return wide.gather(1, torch.tensor(tokens, dtype=torch.long, device=wide.device)[:, None])[:, 0]


def _next(logits: Any, temperature: float, draws: Sequence[Any]) -> list[int]:
    """The likeliest token of each row, or one drawn from the softened distribution."""
    if temperature == 0.0:
        return [int(token) for token in logits.argmax(dim=-1).tolist()]
    import torch

    chances = torch.softmax(logits.float() / temperature, dim=-1)
    return [
        int(torch.multinomial(row, 1, generator=draw))
        for row, draw in zip(chances, draws, strict=True)
    ]


def _draws(loaded: Loaded, plan: GenerationPlan, count: int) -> list[Any]:
    """A generator for each row, so that a question draws what it draws alone."""
    if plan.temperature == 0.0:
        return [None] * count
    import torch

    return [torch.Generator(device=loaded.device).manual_seed(plan.seed) for _ in range(count)]
