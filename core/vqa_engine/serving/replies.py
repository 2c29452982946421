"""What a client gets: completions, streams of them, and errors, as OpenAI's API has them."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

import msgspec

from vqa_engine.adapter import Answer, TokenCounts
from vqa_engine.errors import RequestError
from vqa_engine.results import Cause, Failure, Row
from vqa_engine.serving.requests import ChatRequest

_OF_THE_QUESTION: Mapping[Cause, int] = {
    "image": 400,
    "too_long": 400,
    "refused": 422,
    "too_big": 422,
}
"""Failures that are the question's own, and their HTTP status; all others are 500."""

_CODES: Mapping[Cause, str] = {"too_long": "context_length_exceeded"}
"""What OpenAI's API calls a failure, where clients look for its word."""

_AGAIN = 5
"""Seconds after which to try again when what answers behind an adapter is away."""

_encode = msgspec.json.Encoder().encode


def completion(row: Row, asked: ChatRequest, fingerprint: str) -> bytes:
    """The body of an answer.

    Raises:
        RequestError: there is no answer; the error says why.
    """
    answer = _answer(row)
    text, ended = _stopped(answer, asked.stop)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": ended,
    }
    whole = {
        **_head(row, "chat.completion", fingerprint),
        "choices": [choice],
        "usage": _usage(answer.tokens),
        "vqa_engine": _facts(row, answer),
    }
    return _encode(whole)


def stream(row: Row, asked: ChatRequest, fingerprint: str) -> bytes:
    """The same as server-sent events: role, text, end, token counts if asked for.

    Raises:
        RequestError: there is no answer; the error says why.
    """
    answer = _answer(row)
    text, ended = _stopped(answer, asked.stop)
    head = _head(row, "chat.completion.chunk", fingerprint)
    chunks = [
        {**head, "choices": [_delta({"role": "assistant", "content": ""})]},
        {**head, "choices": [_delta({"content": text})]},
        {**head, "choices": [_delta({}, ended)], "vqa_engine": _facts(row, answer)},
    ]
    if asked.usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**head, "choices": [], "usage": _usage(answer.tokens)})
    events = (b"data: %b\n\n" % _encode(chunk) for chunk in chunks)
    return b"".join(events) + b"data: [DONE]\n\n"


def error(refused: RequestError) -> tuple[bytes, dict[str, str]]:
    """The body of an error, and its headers: clients try again only where that may help."""
    status = refused.status
    kind = "invalid_request_error" if status < 500 else "server_error"
    told = {
        "message": str(refused),
        "type": "rate_limit_error" if status == 429 else kind,
        "param": refused.param,
        "code": refused.code,
    }
    if refused.retry_after is None:
        return _encode({"error": told}), {"x-should-retry": "false"}
    return _encode({"error": told}), {"retry-after": str(refused.retry_after)}


def models(labels: Mapping[str, str], started: int) -> bytes:
    """The list of models; `labels` maps each to its fingerprint."""
    return _encode({"object": "list", "data": [_listed(one, started) for one in labels]})


def model(label: str, started: int) -> bytes:
    """One entry of the list."""
    return _encode(_listed(label, started))


def _listed(label: str, started: int) -> dict[str, Any]:
    return {"id": label, "object": "model", "created": started, "owned_by": "vqa-engine"}


def _answer(row: Row) -> Answer:
    if row.answer is not None:
        return row.answer
    failure = row.failure or Failure(cause="adapter", message="it gave no answer")
    if failure.cause == "gone":
        raise RequestError(failure.message, status=503, code="gone", retry_after=_AGAIN)
    status = _OF_THE_QUESTION.get(failure.cause, 500)
    # `reason` of an image leaves out the question's id, which the client does not know.
    message = failure.reason if failure.cause == "image" else failure.message
    param = "messages" if status < 500 else None
    code = _CODES.get(failure.cause, failure.cause)
    raise RequestError(message or failure.message, status=status, code=code, param=param)


def _stopped(answer: Answer, stop: tuple[str, ...]) -> tuple[str, str]:
    """The text up to the first of the strings at which it is to end, and why it ended."""
    places = [place for mark in stop if (place := answer.text.find(mark)) >= 0]
    if not places:
        return answer.text, answer.finish_reason
    return answer.text[: min(places)], "stop"


def _head(row: Row, kind: str, fingerprint: str) -> dict[str, Any]:
    return {
        "id": str(row.question.question_id),
        "object": kind,
        "created": int(time()),
        "model": row.adapter,
        "system_fingerprint": fingerprint,
    }


def _delta(delta: dict[str, str], ended: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ended}


def _usage(tokens: TokenCounts | None) -> dict[str, Any] | None:
    if tokens is None:
        return None
    details = {"cached_tokens": tokens.reused}
    if tokens.image is not None:
        details["image_tokens"] = tokens.image  # an extension that several providers have
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": details,
    }


def _facts(row: Row, answer: Answer) -> dict[str, Any]:
    """The extension field: what this engine knows of an answer beyond the API."""
    memory = answer.memory
    return {
        "plan": answer.plan,
        "rung": answer.plan.rung,
        "degraded": row.degraded,
        "attempts": len(row.attempts) + 1,
        "peak": None if memory is None else memory.peak,
        "seconds": round(row.seconds, 6),
    }
