"""The endpoints, as a Starlette application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from time import time
from typing import Any

import msgspec
from attrs import field, frozen
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from vqa_engine.errors import RequestError
from vqa_engine.results import Row
from vqa_engine.serving import replies
from vqa_engine.serving.dispatcher import Dispatcher
from vqa_engine.serving.guard import Guard
from vqa_engine.serving.model import Model
from vqa_engine.serving.requests import ChatRequest, read
from vqa_engine.serving.waiting import Ticket

LARGEST_BODY = 64 << 20
"""Bytes of a request; a camera's JPEG takes 20 MB at most, and base64 adds a third."""

LARGE = 256 << 10
"""Bytes from which on a body is read in a thread of its own: a megabyte of base64 takes
milliseconds, in which nobody else would be answered."""

JSON, EVENTS = "application/json", "text/event-stream"

_LEFT = 499
"""nginx's status for a client that closed its connection; nobody receives it."""


@frozen(kw_only=True)
class Endpoints:
    """What the endpoints need. `fingerprints` are those of the models, by label."""

    dispatcher: Dispatcher
    guard: Guard
    fingerprints: Mapping[str, str]
    most_tokens: int
    started: int = field(factory=lambda: int(time()))

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        data = await _body(request)
        asked = await _read(data, self.most_tokens)
        ticket = self.dispatcher.submit(asked)
        row = await _answered(ticket, request)
        if row is None:
            return Response(status_code=_LEFT)
        fingerprint = self.fingerprints[asked.model]
        if asked.stream:
            return Response(replies.stream(row, asked, fingerprint), media_type=EVENTS)
        return Response(replies.completion(row, asked, fingerprint), media_type=JSON)

    async def models(self, _request: Request) -> Response:
        """GET /v1/models."""
        return Response(replies.models(self.fingerprints, self.started), media_type=JSON)

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        label = self.dispatcher.named(request.path_params["label"]).label
        return Response(replies.model(label, self.started), media_type=JSON)

    async def health(self, _request: Request) -> Response:
        """GET /health."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def running(self, _request: Request) -> Response:
        """GET /running: what is resident, what waits, and the last error."""
        dispatcher, record = self.dispatcher, self.dispatcher.record
        state = {
            "budget": dispatcher.budget,
            "waiting": dispatcher.waiting,
            "journal_error": record.error if record else "",
            "models": [_state(one) for one in dispatcher.models.values()],
        }
        return Response(msgspec.json.encode(state), media_type=JSON)

    async def unload(self, request: Request) -> Response:
        """POST /unload: let one idle model go, `{"model": NAME}`, or without a body all of them."""
        data = await _body(request)
        label = _label(data) if data else None
        models = self.dispatcher.models.values()
        chosen = [self.dispatcher.named(label)] if label else list(models)
        gone = [one.label for one in chosen if await self.dispatcher.unload(one)]
        return Response(msgspec.json.encode({"unloaded": gone}), media_type=JSON)


def application(server: Endpoints) -> Starlette:
    """The application; models are let go when it ends."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        server.dispatcher.start()
        try:
            yield
        finally:
            await server.dispatcher.close()

    def route(path: str, endpoint: Endpoint, method: str) -> Route:
        return Route(path, _guarded(endpoint, server.guard), methods=[method])

    return Starlette(
        lifespan=lifespan,
        routes=[
            route("/v1/chat/completions", server.chat, "POST"),
            route("/v1/models", server.models, "GET"),
            route("/v1/models/{label:path}", server.model, "GET"),
            route("/health", server.health, "GET"),
            route("/running", server.running, "GET"),
            route("/unload", server.unload, "POST"),
        ],
        exception_handlers={
            RequestError: _refused,
            HTTPException: _no_such_path,
            Exception: _unexpected,
        },
    )


Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def _guarded(endpoint: Endpoint, guard: Guard) -> Endpoint:
    async def guarded(request: Request) -> Response:
        guard.check(request)
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=_LEFT)

    return guarded


async def _body(request: Request) -> bytes:
    """The body, read no further than it may be long."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > LARGEST_BODY:
        raise _too_large()
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_BODY:
            raise _too_large()
    return bytes(data)


def _too_large() -> RequestError:
    return RequestError(f"The body is larger than {LARGEST_BODY:,} bytes.", status=413)


async def _read(data: bytes, most_tokens: int) -> ChatRequest:
    if len(data) < LARGE:
        return read(data, most_tokens)
    return await asyncio.to_thread(read, data, most_tokens)


async def _answered(ticket: Ticket, request: Request) -> Row | None:
    """The row; None when the client left, and then the question need not be asked any more."""
    left = asyncio.ensure_future(_left(request))
    first: set[asyncio.Future[Any]] = {ticket.row, left}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not ticket.row.done():
            return None
        return ticket.row.result()
    finally:
        left.cancel()
        ticket.row.cancel()


async def _left(request: Request) -> None:
    """Wait until the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _label(data: bytes) -> str | None:
    try:
        return msgspec.json.decode(data, type=dict[str, str]).get("model")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"The body is not valid: {error}.") from error


def _state(model: Model) -> dict[str, object]:
    loaded = model.loaded
    return {
        "model": model.label,
        "resident": model.resident,
        "need": model.need,
        "budget": loaded.budget if loaded else None,
        "active": loaded.memory.active if loaded else None,
        "waiting": len(model.waiting),
        "answered": model.answered,
        "last_error": model.last_error,
    }


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    body, headers = replies.error(error)
    return Response(body, error.status, headers, JSON)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}."
    return await _refused(request, RequestError(message, status=error.status_code))


async def _unexpected(request: Request, _error: Exception) -> Response:
    """Starlette raises the error again, and uvicorn logs it."""
    return await _refused(request, RequestError("The server failed.", status=500))
